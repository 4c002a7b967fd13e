"""Small pieces that several sections of the report are made of."""

from collections.abc import Sequence

from vtk_cli.report.markup import Child, Html, tag


def section(anchor: str, title: str, *children: Child) -> Html:
    """A titled box that links can point to."""
    return tag("section", tag("h2", title), *children, id=anchor)


def missing(*words: Child) -> Html:
    """What is not there, and how to get it."""
    return tag("p", *words, class_="missing")


def percent(share: float | None) -> str:
    r"""A share in [0, 1] with one decimal.

    >>> percent(0.9333), percent(None)
    ('93.3\xa0%', '-')
    """
    return "-" if share is None else f"{share * 100:.1f}\u00a0%"


def bar(share: float, *, bad: bool = False) -> Html:
    """A horizontal bar, full at 1."""
    return tag("span", tag("i", style=f"width:{share:.1%}"), class_="bar bad" if bad else "bar")


def heading(name: str, *, numeric: bool = False, sortable: bool = False) -> Html:
    """A column's heading; page.js sorts by it when it holds a button."""
    shown = tag("button", name, type="button") if sortable else name
    return tag("th", shown, class_="n" if numeric else None, aria_sort="none" if sortable else None, scope="col")


def table(headings: Sequence[Html], rows: Sequence[Html]) -> Html:
    return tag("table", tag("thead", tag("tr", *headings)), tag("tbody", *rows))
