"""Opening one split of a dataset for a model: which source it is read from, which of its videos are there."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from vtk_cli import registry
from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.loaders import Clip, FrameSource, Loader, LoaderSpec, LoaderTask, Source
from vtk_cli.api.stores import StoreMeta
from vtk_cli.catalog import Catalog, CatalogRow
from vtk_cli.console import warn
from vtk_cli.errors import DataError, PluginError, StoreError, UsageError, did_you_mean
from vtk_cli.loader.feature_source import StoredFeatures, open_features
from vtk_cli.loader.options import DataOptions
from vtk_cli.loader.source import StoreSource, VideoSource, choose_store
from vtk_cli.store.lmdb_store import StoreReader
from vtk_cli.store.meta import meta_values
from vtk_cli.workspace import DatasetDir

STORED_AS = {"rgb": "rgb", "rgbdiff": "rgb", "flow": "flow", "warped": "warped"}
"""Modality of a model -> modality of the store that it reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A split that can be read."""

    name: str
    clips: tuple[Clip, ...]
    left_out: dict[str, str]
    """id -> why a video of the split cannot be used."""
    source: Source
    classes: tuple[str, ...]
    label_order: str
    flip: bool
    multi_label: bool

    @property
    def stores(self) -> dict[str, dict[str, Any]]:
        """Name and meta of the store that is read; empty for the files themselves. What `RunInfo.stores` keeps."""
        return stores_of(self.source)


def open_split(
    dataset: DatasetDir,
    split: str,
    inputs: InputSpec | FeatureSpec,
    options: DataOptions,
    *,
    training: bool,
    prefer: Collection[str] = (),
) -> Split:
    """Open a split and leave out, with one warning, the videos that are not there.

    `prefer`: names of stores to take where several fit (those that a run was trained on).

    Raises:
        UsageError: there is no such split, or `data.store` names no fitting store.
        StoreError: no store fits the model.
        DataError: more of the split is absent than `data.max_missing` allows.
    """
    with Catalog(dataset.catalog) as catalog:
        rows = catalog.rows(split)
        meta, classes = catalog.meta, catalog.classes
    source: Source
    if isinstance(inputs, FeatureSpec):
        source = open_features(dataset, inputs, options.store, prefer)
    else:
        source = open_source(dataset, inputs, options, training=training, prefer=prefer)
    left_out = {row.id: cause for row in rows if (cause := absent(row, source) if row.labels else "no label")}
    if isinstance(source, StoreSource | StoredFeatures):
        failures = dict(source.reader.failures()) if left_out else {}
        left_out = {id_: failures.get(id_, cause) for id_, cause in left_out.items()}
    _tell(dataset.name, split, len(rows), left_out, options)
    return Split(
        name=split,
        clips=tuple(clip_of(dataset, row) for row in rows if row.id not in left_out),
        left_out=left_out,
        source=source,
        classes=classes,
        label_order=str(meta.get("label_order", "")),
        flip=bool(meta.get("flip", True)),
        multi_label=bool(meta.get("multi_label", False)),
    )


def make_loader(
    split: Split, inputs: InputSpec | FeatureSpec, options: DataOptions, *, training: bool, batch_size: int, seed: int
) -> Loader:
    """A loader over a split, of the plugin that `data.loader` names."""
    spec = registry.load("vtk.loaders", options.loader)
    if not isinstance(spec, LoaderSpec):
        raise PluginError(
            f'The loader "{options.loader}" should be a LoaderSpec, found {type(spec).__name__}. Ask its author.'
        )
    if isinstance(inputs, FeatureSpec):
        if not spec.features:
            raise UsageError(
                f'The model reads features, which the loader "{options.loader}" does not serve. Drop data.loader.'
            )
    elif not training and not split.flip and inputs.test.crops == 10:
        raise UsageError(
            "Labels of this dataset change under mirroring and 10 crops include mirrored ones. Test with 5 or fewer."
        )
    return spec.build(
        LoaderTask(
            clips=split.clips,
            source=split.source,
            inputs=inputs,
            training=training,
            batch_size=batch_size,
            seed=seed,
            flip=split.flip,
            num_classes=len(split.classes),
            multi_label=split.multi_label,
            options=options,
        )
    )


def open_source(
    dataset: DatasetDir,
    inputs: InputSpec,
    options: DataOptions,
    *,
    training: bool,
    prefer: Collection[str] = (),
) -> FrameSource:
    """The store that fits the model, the files where no frames were extracted; see `open_split` for what is raised."""
    view = inputs.train if training else inputs.test
    wanted = STORED_AS[inputs.modality]
    if options.store == "videos":
        if wanted != "rgb":
            raise UsageError(f"The model reads {wanted}, which only a store has. Drop --set data.store=videos.")
        return VideoSource(options.decoder, view.short_side, exact=not training)
    if options.store != "auto":
        return _named_store(dataset, options.store, wanted, view.short_side)
    metas = _metas(dataset)
    sides = {name: meta.short_side for name, meta in metas.items() if _fits(meta, wanted, view.short_side)}
    fitting = [name for name, side in sides.items() if side == min(sides.values())]
    name = choose_store(dataset.name, fitting, prefer)
    if name is not None:
        return StoreSource(name, StoreReader(dataset.store(name)))
    if wanted == "rgb" and all(meta.modality != "rgb" for meta in metas.values()):
        return VideoSource(options.decoder, view.short_side, exact=not training)
    raise StoreError(_none_fits(dataset, metas, wanted, view.short_side))


def _named_store(dataset: DatasetDir, name: str, modality: str, short_side: int) -> StoreSource:
    if name not in dataset.stores():
        raise UsageError(
            f'The dataset {dataset.name} has no store "{name}". {did_you_mean(name, dataset.stores())} '
            f"Make one: {_command(dataset.name, modality, short_side)}."
        )
    reader = StoreReader(dataset.store(name))
    if not _fits(reader.meta, modality, short_side):
        raise StoreError(
            f"The model reads {modality} at short side {short_side}, the store {name} of {dataset.name} holds "
            f"{reader.meta.modality} at short side {reader.meta.short_side}. Make the right one: "
            f"{_command(dataset.name, modality, short_side)}."
        )
    return StoreSource(name, reader)


def _metas(dataset: DatasetDir) -> dict[str, StoreMeta]:
    metas = {}
    for name in dataset.stores():
        if name.startswith(("frames-", "flow-", "warped-")):
            metas[name] = StoreReader(dataset.store(name)).meta
    return metas


def _fits(meta: StoreMeta, modality: str, short_side: int) -> bool:
    """Larger pictures are brought to size when they are read; flow cannot be, as its values are lengths in pixels."""
    if meta.modality != modality:
        return False
    return meta.short_side == short_side or (modality == "rgb" and meta.short_side > short_side)


def _none_fits(dataset: DatasetDir, metas: dict[str, StoreMeta], modality: str, short_side: int) -> str:
    there = ", ".join(f"{name} ({meta.modality}, short side {meta.short_side})" for name, meta in metas.items())
    files = ", or decode the video files with --set data.store=videos" if modality == "rgb" else ""
    return (
        f"The model reads {modality} at short side {short_side} from a store; {dataset.name} has "
        f"{there or 'no store'}. Make the right one: {_command(dataset.name, modality, short_side)}{files}."
    )


def _command(dataset: str, modality: str, short_side: int) -> str:
    what = {"rgb": "", "flow": " --flow tvl1", "warped": " --flow tvl1 --warped"}[modality]
    return f"vtk extract {dataset}{what} --short-side {short_side}"


def stores_of(source: Source) -> dict[str, dict[str, Any]]:
    """Name and meta of the store that a source reads; empty for the files themselves."""
    if isinstance(source, StoreSource | StoredFeatures):
        return {source.name: meta_values(source.meta)}
    return {}


def absent(row: CatalogRow, source: Source) -> str:
    """Why a video cannot be read; empty if it can."""
    if isinstance(source, StoreSource | StoredFeatures):
        if row.id in source.reader:
            return ""
        return row.cause or ("not extracted" if row.status == "ready" else row.status)
    return "" if row.status == "ready" else row.cause or row.status


def clip_of(dataset: DatasetDir, row: CatalogRow) -> Clip:
    """A video of the catalog as loaders know it."""
    frames = row.probe.get("frames")
    return Clip(
        id=row.id,
        labels=row.labels,
        path=dataset.video(row.path),
        start_seconds=row.start_seconds,
        end_seconds=row.end_seconds,
        frames=frames if isinstance(frames, int) and frames > 0 else None,
    )


def _tell(dataset: str, split: str, total: int, left_out: dict[str, str], options: DataOptions) -> None:
    if not left_out:
        return
    found = f"{len(left_out)} of {total} videos of {dataset}'s split {split} cannot be used ({_why(left_out)})"
    advice = "`vtk extract` and `vtk download` go on where they stopped; `vtk check` lists every cause."
    if len(left_out) == total or len(left_out) > options.max_missing * total:
        raise DataError(f"{found}; at most {options.max_missing:.0%} may be absent (data.max_missing). {advice}")
    warn(f"{found}; they are left out. {advice}")


def _why(left_out: dict[str, str]) -> str:
    """The causes that several videos share, and one of the others, which name files and so are as many as videos."""
    common = {cause: count for cause, count in Counter(left_out.values()).most_common(3) if count > 1}
    parts = [f"{count} {cause}" for cause, count in common.items()]
    others = [id_ for id_, cause in left_out.items() if cause not in common]
    if not others:
        return "; ".join([*parts, f"the first is {next(iter(left_out))}"])
    more = f"{len(others)} for other causes, such as " if len(others) > 1 else ""
    return "; ".join([*parts, f"{more}{others[0]}: {left_out[others[0]].rstrip('.')}"])
