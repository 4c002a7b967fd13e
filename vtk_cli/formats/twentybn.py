"""The lists of Something-Something and Jester.

    {"id": "78687", "label": "...", "template": "Holding [something] next to [something]", "placeholders": [...]}
    34870;Drumming Fingers                              Jester and Something-Something v1; test sets have no label

Classes come from the file of labels beside the list: something-something-v2-labels.json ({"template": "0"}), or
jester-v1-labels.csv (one name per line, its order is MMAction2's; TSM sorts first).
"""

import json
from pathlib import Path

from vtk_cli.errors import DataError
from vtk_cli.formats.rows import ListRow, Parsed, Problem, entries, numbered_lines, read_text, split_of, whole_number


def read_something(path: Path) -> Parsed:
    """Something-Something v2's json; the class is the template without its brackets."""
    parsed = Parsed()
    labels = _beside(path, "*labels*.json")
    if labels is not None:
        parsed.classes = _numbered_classes(labels)
        parsed.label_order = f"the numbers of {labels.name}"
    split = split_of(path.name)
    for line, _, entry in entries(path, read_text(path)):
        name = entry.get("id") if isinstance(entry, dict) else None
        template = entry.get("template", "") if isinstance(entry, dict) else None
        if not isinstance(name, str | int) or isinstance(name, bool) or not str(name) or not isinstance(template, str):
            reason = f'should hold "id" and "template", found {json.dumps(entry)[:80]}'
            parsed.problems.append(Problem(file=str(path), line=line, reason=reason))
            continue
        label = template.replace("[", "").replace("]", "").strip()
        found = (label,) if label else ()
        parsed.rows.append(ListRow(line=line, path=str(name), labels=found, splits=(split,) if split else ()))
    return parsed


def read_csv(path: Path) -> Parsed:
    """Jester's csv."""
    parsed = Parsed()
    labels = _beside(path, "*labels*.csv")
    if labels is not None:
        parsed.classes = tuple(dict.fromkeys(line for _, line in numbered_lines(read_text(labels))))
        parsed.label_order = f"the order of {labels.name}"
    split = split_of(path.name)
    for number, line in numbered_lines(read_text(path)):
        name, _, label = (part.strip() for part in line.partition(";"))
        if not name:
            reason = f"should be a number, a semicolon and a class name, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        found = (label,) if label else ()
        parsed.rows.append(ListRow(line=number, path=name, labels=found, splits=(split,) if split else ()))
    return parsed


def _beside(path: Path, pattern: str) -> Path | None:
    found = sorted(other for other in path.parent.glob(pattern) if other != path)
    return found[0] if found else None


def _numbered_classes(path: Path) -> tuple[str, ...]:
    found = {}
    for _, name, value in entries(path, read_text(path)):
        number = whole_number(value) if isinstance(value, str) else value
        if isinstance(number, int) and not isinstance(number, bool):
            found[number] = name
    if not found or sorted(found) != list(range(len(found))):
        raise DataError(f"{path} should give the numbers 0 to n-1 to the class names. Mend it or use --classes.")
    return tuple(found[number] for number in range(len(found)))
