"""Configuration with its origins, environment, and the commands that make the run again."""

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtk_cli.report.markup import Html, join, tag
from vtk_cli.report.parts import heading, missing, section, table
from vtk_cli.run_dir import RunDir, RunInfo


def configuration_section(run: RunDir) -> Html:
    """Every value of config.toml and where it came from."""
    try:
        text = run.config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return section("configuration", "Configuration", missing("The run has no config.toml that can be read."))
    values = read_origins(text)
    changed = [value for value in values if value[2] != "default"]
    said = _values(changed) if changed else tag("p", "Every value is the model's own default.", class_="note")
    every = tag("details", tag("summary", f"All {len(values)} values"), _values(values))
    return section("configuration", "Configuration", said, every)


def _values(values: Sequence[tuple[str, str, str]]) -> Html:
    rows = [
        tag("tr", tag("td", key, class_="mono"), tag("td", value, class_="mono"), _origin(origin))
        for key, value, origin in values
    ]
    return table([heading("key"), heading("value"), heading("from")], rows)


def _origin(origin: str) -> Html:
    return tag("td", origin, class_="default" if origin == "default" else "changed")


def read_origins(text: str) -> list[tuple[str, str, str]]:
    r"""(dotted key, value as TOML, origin) of each line that `config.to_toml` wrote.

    >>> read_origins('[train]\nlr = 0.1  # --set\nepochs = 3\n')
    [('train.lr', '0.1', '--set'), ('train.epochs', '3', 'default')]
    """
    found = []
    section_name = ""
    for line in text.splitlines():
        if line.startswith("["):
            section_name = line.strip("[] ")
        elif " = " in line:
            statement, _, remark = line.rpartition("  # ")
            if not statement or not _is_toml(statement):
                statement, remark = line, "default"
            key, _, value = statement.partition(" = ")
            found.append((f"{section_name}.{key}", value, remark))
    return found


def _is_toml(line: str) -> bool:
    try:
        tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return False
    return True


def environment_section(run: RunDir) -> Html:
    """What env.json says of the machine and the versions."""
    env = run.env()
    if not env:
        return section("environment", "Environment", missing("The run has no env.json."))
    rows = [tag("tr", tag("td", key, class_="mono"), tag("td", value)) for key, value in _flat(env)]
    return section("environment", "Environment", table([heading("what"), heading("value")], rows))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", " ".join(map(str, value))
        else:
            yield f"{prefix}{key}", str(value)


def reproduce_section(run: RunDir, info: RunInfo, tested: list[str], fusion: Mapping[str, Any] | None = None) -> Html:
    """The commands that lead to this run; `fusion`: what `vtk fuse` wrote of it."""
    if fusion is None:
        config = shlex.quote(_short(run.config))
        lines = [*_extraction(info), f"vtk train {info.model} {info.dataset} --config {config}"]
        lines += [f"vtk test {run.name} --split {split}" for split in tested] or [f"vtk test {run.name}"]
    else:
        lines = [str(fusion["command"])]
    lines.append(f"vtk report {run.name}")
    asked = run.env().get("command")
    command = " ".join(map(str, asked)) if isinstance(asked, list) else asked
    return section(
        "reproduce",
        "Make it again",
        tag("pre", tag("code", "\n".join(lines))),
        join(tag("p", "This run was started by:", class_="note"), tag("pre", tag("code", command)))
        if command
        else None,
    )


def _short(path: Path) -> str:
    """Relative to the working folder where that is shorter."""
    relative = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return str(relative)


def _extraction(info: RunInfo) -> list[str]:
    """`vtk extract` with what each store's meta.json says."""
    lines = []
    for name, meta in info.stores.items():
        words = ["vtk", "extract", info.dataset]
        if meta["modality"] == "features":
            origin = meta.get("origin", {})
            if origin:
                spacing = "windows" if origin.get("windows") else "stride"
                words += ["--features", origin.get("run") or origin["file"], f"--{spacing}", str(origin[spacing])]
                lines.append(shlex.join([*words, "--dtype", meta["dtype"], "--as", name.removeprefix("features-")]))
            continue
        if meta["modality"] != "rgb":
            words += ["--no-frames", "--flow", meta["method"]]
            words += [word for key, value in meta["parameters"].items() for word in ("--set", f"flow.{key}={value}")]
        words += ["--short-side", str(meta["short_side"]), "--quality", str(meta["quality"])]
        words += [] if meta["square_pixels"] else ["--no-square-pixels"]
        words += [] if meta["decoder"] == "pyav" else ["--decoder", meta["decoder"]]
        lines.append(shlex.join(words))
    return lines
