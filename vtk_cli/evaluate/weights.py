"""Files of weights: safetensors whose metadata say what they are, so that a file alone is enough to use a model.

    vtk.format       1
    vtk.kind         model: a whole model; trunk: an image network that models start from
    vtk.model        name in the group vtk.models (or vtk.trunks)
    vtk.config       JSON object: the model's configuration
    vtk.classes      JSON list: class names in label order
    vtk.label_order  whose order that is
    vtk.dataset      vtk.flip   vtk.multi_label   vtk.stores     as in run.json (JSON)
    vtk.provenance   JSON object: file, sha256, layout, url, licence of a foreign checkpoint
    vtk.check        JSON object of a file that was imported: what its model gives for a made input, see `verify`

A file is there whole or not at all. Nothing in it is executed.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vtk_cli.api.models import ModelSpec, StateDict
from vtk_cli.config import overlay, settable
from vtk_cli.errors import CheckpointError, MismatchError, UsageError
from vtk_cli.files import write_atomic
from vtk_cli.run_dir import RunInfo

FORMAT = "1"
MOST_NAMES = 6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WeightsInfo:
    """What the metadata of a file of weights say."""

    kind: Literal["model", "trunk"] = "model"
    model: str
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    label_order: str = ""
    dataset: str = ""
    flip: bool = True
    multi_label: bool = False
    stores: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    check: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """Every value as text; see the table above."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"vtk.format": FORMAT} | {
            f"vtk.{name}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in values.items()
        }

    @classmethod
    def from_metadata(cls, path: Path, metadata: Mapping[str, str]) -> "WeightsInfo":
        """Raises CheckpointError when `path` is no file of ours."""
        if metadata.get("vtk.format") != FORMAT:
            raise CheckpointError(
                f"{path} should be a file of weights that vtk wrote (vtk.format {FORMAT}), found "
                f"{metadata.get('vtk.format', 'none of its metadata')}. Bring a foreign checkpoint in with "
                "`vtk weights import`."
            )
        texts = {"kind", "model", "label_order", "dataset"}
        try:
            values: dict[str, Any] = {
                field.name: (text if field.name in texts else json.loads(text))
                for field in dataclasses.fields(cls)
                if (text := metadata.get(f"vtk.{field.name}")) is not None
            }
            return cls(**{**values, "classes": tuple(values.get("classes", ()))})
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"{path} has damaged metadata: {error}. Restore the file.") from error


def info_of(run: RunInfo, config: Any) -> WeightsInfo:
    """What travels with the weights of a run whose model has this configuration."""
    return WeightsInfo(
        model=run.model,
        config=config_values(config),
        classes=run.classes,
        label_order=run.label_order,
        dataset=run.dataset,
        flip=run.flip,
        multi_label=run.multi_label,
        stores=run.stores,
    )


def config_values(config: Any) -> dict[str, Any]:
    """The settable fields of a model's configuration."""
    return {name: getattr(config, name) for name in settable(config)}


def config_from(spec: ModelSpec[Any], info: WeightsInfo, path: Path) -> Any:
    """The configuration that weights were made with.

    Raises:
        CheckpointError: the installed model has no such setting, or does not take its value.
    """
    default = spec.config()
    unknown = sorted(set(info.config) - set(settable(default)))
    if unknown:
        raise CheckpointError(
            f"{path} was written for the model {info.model} with a setting {unknown[0]!r}; the installed one has no "
            "such setting. Install the version of its distribution that wrote the file."
        )
    try:
        return overlay("model", default, {f"model.{name}": (value, str(path)) for name, value in info.config.items()})
    except UsageError as error:
        raise CheckpointError(f"{path} does not fit the installed model {info.model}: {error}") from error


def encode_weights(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a safetensors file; tensors that share memory are written each on its own."""
    return save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}, dict(metadata))


def save_weights(path: Path, tensors: Mapping[str, Tensor], info: WeightsInfo) -> None:
    """Write a file of weights, whole or not at all; raises DataError when it cannot be written."""
    write_atomic(path, encode_weights(tensors, info.to_metadata()))


def load_weights(path: Path) -> tuple[StateDict, WeightsInfo]:
    """Tensors on the CPU and what they are.

    Raises:
        CheckpointError: the file is absent, damaged, or none of ours.
    """
    return read_weights(path), WeightsInfo.from_metadata(path, read_metadata(path))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file; raises CheckpointError as `load_weights`."""
    with _explained(path), safe_open(path, framework="pt") as file:
        return dict(file.metadata() or {})


def read_weights(path: Path) -> StateDict:
    """The tensors of a safetensors file; raises CheckpointError as `load_weights`."""
    with _explained(path), safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dict


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """Load every tensor of a module.

    Raises:
        CheckpointError: names or shapes differ; they are named.
    """
    check_fit(
        module.state_dict(),
        tensors,
        f"{path} does not fit the model",
        "Use the file with the model and configuration it was written for.",
    )
    module.load_state_dict(dict(tensors))


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str, to_do: str) -> None:
    """Raise a MismatchError, beginning with `what` and ending with `to_do`, where names or shapes differ."""
    parts = differing(expected, found)
    if any(parts.values()):
        raise MismatchError(
            f"{what}: {compare(expected, found)}. {to_do}",
            unexpected=parts["unexpected"],
            missing=parts["missing"],
            misshapen=parts["of another shape"],
        )


def compare(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """In what two sets of tensors differ, in words; empty when names and shapes agree."""
    return "; ".join(f"{what}: {listed(names)}" for what, names in differing(expected, found).items() if names)


def differing(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """In what two sets of tensors differ: the names that are missing, unexpected, of another shape."""
    shapes = [
        f"{name} ({_shape(found[name])} instead of {_shape(expected[name])})"
        for name in expected
        if name in found and found[name].shape != expected[name].shape
    ]
    return {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "of another shape": shapes,
    }


def listed(names: list[str]) -> str:
    """A few names, and how many more."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what safetensors raises into a CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"There is no file of weights at {path}. Check the path.")
    try:
        yield
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} should be a safetensors file, found: {error}. Restore it; bring a foreign checkpoint in with "
            "`vtk weights import`."
        ) from error
