"""The split lists of UCF101 and of HMDB51.

    trainlist01.txt                  ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1       class number from 1
    testlist01.txt                   ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi         class by its folder
    classInd.txt                     1 ApplyEyeMakeup                                    beside the lists
    brush_hair_test_split1.txt       April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1         1 train, 2 test, 0 neither

The three official splits are named train1, test1 ... train3, test3. classInd's order is not quite alphabetic.
"""

import re
from pathlib import Path, PurePosixPath

from vtk_cli.formats.rows import ListRow, Parsed, Problem, numbered_lines, read_text, whole_number

UCF101_LIST = re.compile(r"(train|test)list0?([0-9])\.txt")
HMDB51_LIST = re.compile(r"(.+)_test_split([0-9])\.txt")


def read_ucf101(path: Path) -> Parsed:
    """A train or test list; classes from the classInd.txt beside it, where there is one."""
    match = UCF101_LIST.fullmatch(path.name)
    splits = (f"{match[1]}{match[2]}",) if match else ()
    parsed = Parsed()
    index = path.parent / "classInd.txt"
    if index.is_file():
        parsed.classes = read_class_index(index)
        parsed.label_order = "the official order of classInd.txt"
    for number, line in numbered_lines(read_text(path)):
        name, _, last = line.rpartition(" ")
        label = whole_number(last) if name else None
        name = name.strip() if label is not None else line
        folder = PurePosixPath(name).parent.name
        if not folder or (label is not None and label < 1):
            reason = f"should be Class/video.avi, in train lists with a class number from 1; found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
            continue
        numbered = label is not None and parsed.classes is not None
        labels: tuple[int | str, ...] = (label - 1,) if numbered and label is not None else (folder,)
        parsed.rows.append(ListRow(line=number, path=name, labels=labels, splits=splits))
    return parsed


def read_class_index(path: Path) -> tuple[str, ...] | None:
    """Names of `1 ApplyEyeMakeup` lines in the order of their numbers; None when the numbers are not 1..n."""
    found: dict[int, str] = {}
    for _, line in numbered_lines(read_text(path)):
        number, _, name = line.partition(" ")
        value = whole_number(number)
        if value is None or not name.strip() or value in found:
            return None
        found[value] = name.strip()
    return tuple(found[i] for i in sorted(found)) if sorted(found) == list(range(1, len(found) + 1)) else None


def read_hmdb51(path: Path) -> Parsed:
    """One class's list of one split; videos of neither set are left out."""
    parsed = Parsed()
    match = HMDB51_LIST.fullmatch(path.name)
    if match is None:
        reason = "should be named <class>_test_split<1, 2 or 3>.txt, which gives the class and the split"
        parsed.problems.append(Problem(file=str(path), line=0, reason=reason))
        return parsed
    for number, line in numbered_lines(read_text(path)):
        name, _, use = line.rpartition(" ")
        if not name.strip() or use not in ("0", "1", "2"):
            reason = f"should be a file name and 0, 1 or 2, found {line[:80]!r}"
            parsed.problems.append(Problem(file=str(path), line=number, reason=reason))
        elif use != "0":
            split = f"{'train' if use == '1' else 'test'}{match[2]}"
            parsed.rows.append(ListRow(line=number, path=name.strip(), labels=(match[1],), splits=(split,)))
    return parsed
