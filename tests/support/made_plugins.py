"""Installed distributions with entry points, made on the fly: a dist-info folder and modules."""

from pathlib import Path


def write_distribution(site: Path, distribution: str, groups: dict, version: str = "1.0", **modules: str) -> Path:
    """Put a distribution into `site`, a folder for sys.path; `modules` are file names and sources."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = []
    for group, points in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for name, text in modules.items():
        (site / f"{name}.py").write_text(text)
    return site
