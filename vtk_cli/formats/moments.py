"""The csv of Moments in Time.

blocking/getty-karate-video-id635808620_4.mp4,blocking,3,0          path, class, votes for, votes against
clapping,0                                                          moments_categories.txt: class, number
"""

from pathlib import Path

from vtk_cli.formats.rows import ListRow, Parsed, Problem, numbered_lines, read_text, split_of, whole_number

CATEGORIES = "moments_categories.txt"


def read(path: Path) -> Parsed:
    """A training or validation set."""
    parsed = Parsed()
    categories = path.parent / CATEGORIES
    if categories.is_file():
        parsed.classes = _classes(categories, parsed)
        parsed.label_order = f"the numbers of {CATEGORIES}"
    split = split_of(path.name)
    for number, line in numbered_lines(read_text(path)):
        fields = [field.strip() for field in line.rsplit(",", 3)]
        if len(fields) != 4 or not fields[0] or not fields[1] or None in map(whole_number, fields[2:]):
            reason = f"should be path,class,votes,votes, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        parsed.rows.append(ListRow(line=number, path=fields[0], labels=(fields[1],), splits=(split,) if split else ()))
    return parsed


def _classes(path: Path, parsed: Parsed) -> tuple[str, ...] | None:
    found: dict[int, str] = {}
    for number, line in numbered_lines(read_text(path)):
        name, _, text = line.rpartition(",")
        value = whole_number(text.strip())
        if value is None or not name.strip() or value in found:
            reason = f"should be a class name and its own number, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
        else:
            found[value] = name.strip()
    return tuple(found[value] for value in range(len(found))) if sorted(found) == list(range(len(found))) else None
