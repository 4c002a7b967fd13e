"""The pages are true: generated ones are up to date, links lead somewhere, every plugin is documented."""

import re
import sys
from pathlib import Path

import pytest

from vtk_cli import registry
from vtk_cli.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def test_the_command_page_is_what_the_commands_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_cli

    sys.modules.pop("make_cli")
    assert make_cli.PAGE.read_text() == make_cli.render(), "run: python docs/make_cli.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    local = [target for target in targets if not target.startswith(("http://", "https://", "mailto:"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    missing = [
        p.name for p in (ROOT / "docs" / "decisions").glob("*.md") if p.name not in index and p.name != "README.md"
    ]
    assert not missing


@pytest.mark.parametrize("group", sorted(registry.GROUPS))
def test_every_first_party_plugin_is_documented(group: str) -> None:
    documented = "\n".join(page.read_text() for page in PAGES)
    ours = [plugin.name for plugin in registry.plugins(group) if plugin.distribution == "vtk-cli"]
    assert [name for name in ours if f"`{name}`" not in documented] == []


def test_every_command_is_in_the_readme_or_tutorial() -> None:
    text = (ROOT / "README.md").read_text() + (ROOT / "docs" / "tutorial.md").read_text()
    assert [name for name in COMMANDS if f"vtk {name}" not in text] == []


def test_no_page_names_a_machine_path() -> None:
    found = [
        (page.name, m) for page in PAGES for m in re.findall(r"(?<![\w.])/(?:work|opt|root)/\S+", page.read_text())
    ]
    assert not found
