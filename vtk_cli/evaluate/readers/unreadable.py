"""What the readers raise; `read_foreign` makes a sentence of it that names the file."""


class Unreadable(ValueError):
    """A file that is not what it seems: what was found, as the end of a sentence."""
