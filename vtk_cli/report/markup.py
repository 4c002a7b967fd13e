"""HTML and SVG as values: text is escaped where it enters, so a class called <script> stays text."""

from html import escape


class Html(str):
    """Markup that is safe as it stands; every other string is text and gets escaped."""

    __slots__ = ()


Child = str | int | float | None


def tag(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Html:
    """One element. A trailing underscore frees Python's keywords (class_), inner ones become dashes.

    An attribute of True stands alone, one of None or False is left out.

    >>> tag("p", "a < b", tag("b", 3), class_="x", data_key='"')
    '<p class="x" data-key="&quot;">a &lt; b<b>3</b></p>'
    >>> tag("img", src="x.png", alt=None)
    '<img src="x.png">'
    """
    stated = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{stated}>")
    return Html(f"<{name}{stated}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after another, text escaped, None left out."""
    return Html("".join(_child(child) for child in children))


_VOID = frozenset({"br", "hr", "img", "meta"})


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(_text(value))}"'


def _child(child: Child) -> str:
    if child is None:
        return ""
    return child if isinstance(child, Html) else escape(_text(child), quote=False)


def _text(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
