"""A trained model in Python: load it, and ask it what happens in a video.

import vtk_cli
classifier = vtk_cli.load("runs/20261120-1200-stnet-ucf101-1a2b")
classifier.predict("clip.mp4")              # [("Archery", 0.93), ("Bowling", 0.02), ...]
classifier.classes, classifier.inputs, classifier.module

"""

from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from vtk_cli.api.inputs import FeatureSpec, InputSpec
from vtk_cli.api.loaders import Clip, FeatureSource, FrameSource, Source
from vtk_cli.api.models import ModelSpec
from vtk_cli.errors import CheckpointError, UsageError
from vtk_cli.evaluate.feature_windows import FeatureWindows
from vtk_cli.evaluate.features import ComputedFeatures, Extractor, find_origin
from vtk_cli.evaluate.files import open_files
from vtk_cli.evaluate.foreign import load_model_spec
from vtk_cli.evaluate.views import Scorer, change_views, default_device
from vtk_cli.evaluate.weights import WeightsInfo, config_from, load_into, load_weights
from vtk_cli.loader.feature_loader import video_features
from vtk_cli.loader.source import own_file
from vtk_cli.loader.transforms import all_views
from vtk_cli.run_dir import RunDir
from vtk_cli.workspace import Workspace

Crops = Literal[1, 3, 5, 10]
Prediction = list[tuple[str, float]]
"""(class name, probability), the likeliest first."""


class Classifier:
    """A model with its weights, ready to use; made by `load`."""

    def __init__(
        self,
        path: Path,
        scorer: Scorer,
        spec: ModelSpec[Any],
        config: Any,
        info: WeightsInfo,
        workspaces: tuple[Workspace, ...] = (),
    ) -> None:
        """`workspaces`: where the network is looked for that made the features a sequence model reads."""
        self.path = path
        """The file of weights."""
        self.scorer = scorer
        self.spec = spec
        self.config = config
        self.info = info
        self._workspaces = workspaces
        self._source: Source | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the scores."""
        return self.info.classes

    @property
    def inputs(self) -> InputSpec | FeatureSpec:
        """What the model eats, with the test views in use."""
        return self.scorer.inputs

    @property
    def module(self) -> nn.Module:
        """The torch module: normalised float clip_BTNCHW, or feature_BFD and mask_BF -> logits_BK; in eval mode."""
        return self.scorer.module

    def predict(self, video: str | Path, *, top: int | None = None) -> Prediction:
        """The classes of a video file, the likeliest first; all of them, or the `top` ones.

        Raises:
            VideoError: the file is missing or cannot be decoded.
            UsageError: the model reads something that cannot be computed from a file alone.
            CheckpointError: the weights that its features were made with are gone.
        """
        return self.predict_clip(own_file(Path(video)), top=top)

    def predict_clip(self, clip: Clip, *, top: int | None = None) -> Prediction:
        """As `predict`, for a part of a file."""
        loaded = self._loaded(clip)
        probability_K = self.probabilities(*(tensor[None] for tensor in loaded))[0]
        order = probability_K.argsort(descending=True, stable=True)[:top].tolist()
        return [(self.classes[number], float(probability_K[number])) for number in order]

    def probabilities(self, *loaded: Tensor) -> Tensor:
        """probability_BK of uint8 clip_BVTNCHW, averaged over their views; or of feature_BFD and mask_BF."""
        return self.scorer.probabilities(self.scorer.scores(*loaded))

    @property
    def source(self) -> Source:
        """Where pictures, or features, of video files come from, as the model was trained to see them."""
        if self._source is None:
            if isinstance(self.inputs, FeatureSpec):
                self._source = self._computed(self.inputs)
            else:
                self._source = open_files(self.inputs, self.info.stores)
        return self._source

    def _loaded(self, clip: Clip) -> tuple[Tensor, ...]:
        """clip_VTNCHW, or feature_FD and mask_F."""
        if isinstance(self.inputs, FeatureSpec):
            return video_features(cast("FeatureSource", self.source), clip, self.inputs, None)
        return (all_views(cast("FrameSource", self.source), clip, self.inputs),)

    def _computed(self, spec: FeatureSpec) -> ComputedFeatures:
        """Features made by the network that made those of the training store."""
        meta: dict[str, Any] = dict(next(iter(self.info.stores.values()), {}))
        network = load_file(find_origin(meta, self._workspaces), device=self.scorer.device)
        extractor = Extractor(network.scorer, network.spec.classifier, FeatureWindows.of(meta["origin"]))
        return ComputedFeatures(extractor, cast("FrameSource", network.source), meta, spec)


def load(
    run_or_weights: str | Path,
    *,
    root: Path | None = None,
    weights: str = "best",
    device: str = "auto",
    clips: int | None = None,
    crops: Crops | None = None,
    segments: int | None = None,
    view_batch: int = 16,
) -> Classifier:
    """A trained model from a run (folder, name, its beginning, `latest`) or from a file of weights.

    `weights` chooses the run's checkpoint: best, last or a file; `clips`, `crops` and `segments` replace the test views
    of the model's paper.

    Raises:
        UsageError: there is no such run, or the views cannot be.
        CheckpointError: the weights are missing, damaged, or do not fit the installed model.
        PluginError: the model's plugin is missing or broken.
    """
    workspace = Workspace.locate(root)
    path = weights_file(run_or_weights, workspace, weights)
    return load_file(
        path,
        device=default_device(device),
        workspaces=(workspace, *_around(path)),
        clips=clips,
        crops=crops,
        segments=segments,
        view_batch=view_batch,
    )


def load_file(
    path: Path,
    *,
    device: torch.device,
    workspaces: tuple[Workspace, ...] = (),
    clips: int | None = None,
    crops: Crops | None = None,
    segments: int | None = None,
    view_batch: int = 16,
) -> Classifier:
    """As `load`, from a file of weights."""
    tensors, info = load_weights(path)
    if info.kind != "model":
        raise CheckpointError(f"{path} should hold a whole model, found the trunk {info.model}. Train a model with it.")
    spec = load_model_spec(info.model)
    config = config_from(spec, info, path)
    module = spec.build(config, len(info.classes))
    load_into(module, tensors, path)
    scorer = Scorer(
        module=module.to(device).eval(),
        inputs=change_views(spec.inputs(config), clips=clips, crops=crops, segments=segments),
        device=device,
        multi_label=info.multi_label,
        view_batch=view_batch,
    )
    return Classifier(path, scorer, spec, config, info, workspaces)


def _around(path: Path) -> list[Workspace]:
    """The workspace that a run's checkpoint lies in: <root>/runs/<run>/checkpoints/<file>."""
    folders = path.absolute().parents
    return [Workspace(folders[3])] if len(folders) > 3 and folders[2].name == "runs" else []


def weights_file(run_or_weights: str | Path, workspace: Workspace, weights: str) -> Path:
    """The file that a user means by a run and `best`, `last` or a path, or by a file of weights itself.

    Raises:
        UsageError: there is no such run or file.
        CheckpointError: the run has no such checkpoint.
    """
    given = Path(run_or_weights)
    kept = workspace.weights / f"{run_or_weights}.safetensors"
    for file in (given, kept):
        if file.is_file() and file.name != "run.json":
            return file
    run = RunDir.find(workspace.runs, run_or_weights)
    if weights not in ("best", "last"):
        if not Path(weights).is_file():
            raise UsageError(f'--weights takes best, last or a file; there is no "{weights}". Check the path.')
        return Path(weights)
    best, last = (run.checkpoints / f"{name}.safetensors" for name in ("best", "last"))
    path = best if weights == "best" and best.is_file() else last  # a run without validation has no best
    if not path.is_file() and not run.config.exists() and not run.checkpoints.exists():
        raise CheckpointError(
            f"The run {run.name} should have a model, found only scores: `vtk fuse` made it of other runs. Name one of "
            "those; `vtk runs` lists them."
        )
    if not path.is_file():
        raise CheckpointError(
            f"The run {run.name} has no checkpoint yet in {run.checkpoints}. Go on: `vtk train --resume {run.name}`."
        )
    return path
