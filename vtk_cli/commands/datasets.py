"""`vtk datasets`: list and show datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtk_cli.commands._options import Json, Listing, Root, complete_recipe
from vtk_cli.errors import DataError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtk_cli.api.datasets import DatasetRecipe
    from vtk_cli.workspace import Workspace

app = typer.Typer(cls=Listing, help="List and show datasets; plain `vtk datasets` lists them.")


@app.command("list")
def list_datasets(*, root: Root = None, as_json: Json = False) -> None:
    """List the datasets that can be downloaded and those in the workspace."""
    from vtk_cli import registry
    from vtk_cli.console import emit, table
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    names = registry.names("vtk.datasets")
    rows = [_tried(_row, name, workspace) for name in names]
    rows += [_tried(_own_row, name, workspace) for name in workspace.datasets() if name not in names]
    if as_json:
        emit(rows)
        return
    table(rows, ["name", "title", "classes", "videos", "size_gb", "gated", "here", "problem"])


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Dataset.", show_default=False, autocompletion=complete_recipe)],
    *,
    root: Root = None,
    as_json: Json = False,
) -> None:
    """Show a dataset: classes and their order, splits, licence, traps, and what is in the workspace."""
    from vtk_cli import registry
    from vtk_cli.console import emit
    from vtk_cli.download import recipe_of
    from vtk_cli.workspace import Workspace

    workspace = Workspace.locate(root)
    if name in workspace.datasets() and name not in registry.names("vtk.datasets"):
        facts = _own_facts(name, workspace)
    else:
        facts = _facts(name, recipe_of(name), workspace)
    if as_json:
        emit(facts)
        return
    for key, value in facts.items():
        _print(key, value)


def _tried(row: "Callable[[str, Workspace], dict[str, Any]]", name: str, workspace: "Workspace") -> dict[str, Any]:
    try:
        return row(name, workspace)
    except (PluginError, DataError) as error:  # a broken plugin or catalog is one line and disturbs no other
        return {"name": name, "problem": str(error)}


def _row(name: str, workspace: "Workspace") -> dict[str, Any]:
    from vtk_cli import registry
    from vtk_cli.download import recipe_of

    plugin = registry.find("vtk.datasets", name)
    if not plugin.first_party:
        title = f"of {plugin.distribution} {plugin.version}: `vtk datasets show {name}`"
        return {"name": name, "title": title, "here": _here(name, workspace)}
    recipe = recipe_of(name)
    return {
        "name": name,
        "title": recipe.title,
        "classes": len(recipe.classes()),
        "videos": recipe.videos,
        "size_gb": recipe.size_gb,
        "gated": "yes" if recipe.gate else "no",
        "here": _here(name, workspace),
    }


def _own_row(name: str, workspace: "Workspace") -> dict[str, Any]:
    from vtk_cli.catalog import Catalog

    with Catalog(workspace.dataset(name).catalog) as catalog:
        videos = sum(catalog.counts().values())
        return {
            "name": name,
            "title": "(your own)",
            "classes": len(catalog.classes),
            "videos": videos,
            "here": _here(name, workspace),
        }


def _here(name: str, workspace: "Workspace") -> str:
    if name not in workspace.datasets():
        return ""
    from vtk_cli.catalog import Catalog

    with Catalog(workspace.dataset(name).catalog) as catalog:
        here = f"{catalog.counts()['ready']} clips"
    return f"{here} (current)" if workspace.current() == name else here


def _facts(name: str, recipe: "DatasetRecipe", workspace: "Workspace") -> dict[str, Any]:
    classes = recipe.classes()
    traps = [*([f"{recipe.missing[0].upper()}{recipe.missing[1:]}."] if recipe.missing else []), *recipe.notes]
    facts: dict[str, Any] = {
        "name": name,
        "title": recipe.title,
        "home": recipe.home,
        "videos": recipe.videos,
        "size_gb": recipe.size_gb,
        "licence": recipe.licence,
        "gate": recipe.gate,
        "splits": list(recipe.splits),
        "trains_on": recipe.train_split,
        "validates_on": recipe.val_split,
        "tests_on": recipe.test_split,
        "flip": recipe.flip,
        "label_order": recipe.label_order,
        "traps": traps,
        "classes": list(classes),
    }
    if name in workspace.datasets():
        facts["here"] = _contents(name, workspace)
    return facts


def _own_facts(name: str, workspace: "Workspace") -> dict[str, Any]:
    from vtk_cli.catalog import Catalog

    with Catalog(workspace.dataset(name).catalog) as catalog:
        return {"name": name, "classes": list(catalog.classes), "here": _contents(name, workspace)}


def _contents(name: str, workspace: "Workspace") -> dict[str, Any]:
    """What the workspace holds of a dataset."""
    from vtk_cli.catalog import Catalog

    folder = workspace.dataset(name)
    with Catalog(folder.catalog) as catalog:
        return {
            "folder": str(folder.path),
            "splits": {split: catalog.counts(split) for split in catalog.splits()},
            "stores": folder.stores(),
            "disk_bytes": _disk_bytes(folder.path),
        }


def _disk_bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _print(key: str, value: Any) -> None:
    if value in (None, "", []):
        return
    if key == "classes":
        typer.echo(f"classes ({len(value)}):")
        for number, name in enumerate(value):
            typer.echo(f"  {number} {name}")
    elif isinstance(value, dict):
        typer.echo(f"{key}:")
        for inner, found in value.items():
            typer.echo(f"  {inner.replace('_', ' ')}: {_said(found)}")
    elif isinstance(value, list) and key == "traps":
        typer.echo(f"{key}:")
        for line in value:
            typer.echo(f"  - {line}")
    else:
        typer.echo(f"{key.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}")


def _said(found: Any) -> str:
    """Splits with their counts per status, names of stores, or one value."""
    if isinstance(found, dict):
        return "; ".join(f"{split} {_counted(counts)}" for split, counts in found.items())
    return ", ".join(found) if isinstance(found, list) else str(found)


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "empty"
