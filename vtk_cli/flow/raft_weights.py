"""RAFT's weights: which file is meant, and whether it is whole.

torchvision publishes them for its networks; a sign of a file is the first eight digits of its SHA-256, at the end of
its name. Nothing is fetched here.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtk_cli.errors import CheckpointError, MismatchError

if TYPE_CHECKING:
    from torch import Tensor, nn

PUBLISHED = {
    "large": "https://download.pytorch.org/models/raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    "small": "https://download.pytorch.org/models/raft_small_C_T_V2-01064c6d.pth",
}
"""What torchvision takes for its default: trained on FlyingChairs and FlyingThings3D; the large one then on Sintel,
KITTI and HD1K too."""
DIGEST = "sha256:"
"""How a store names weights: by what they are, not where they lie."""
_COUNTERS = "num_batches_tracked"
"""Of batch norms; only training reads them, and some files lack them."""


def find_weights(weights: str, variant: str) -> Path:
    """The file that `flow.weights` means: a path, `sha256:` and a digest, or nothing for torchvision's default.

    Digests and the default are looked for where torch.hub keeps what it fetched.

    Raises:
        CheckpointError: it is not there.
    """
    folder = _hub_folder()
    if not weights:
        name = PUBLISHED[variant].rpartition("/")[2]
        return _there(
            folder / name,
            f"The weights of raft ({variant}) should be at {folder / name}, found none. Fetch {PUBLISHED[variant]} and "
            "put it there, or name the file that you have with --set flow.weights=FILE.",
        )
    if weights.startswith(DIGEST):
        for path in sorted(folder.glob("raft_*")):
            if digest(path) == weights:
                return path
        raise CheckpointError(
            f"The flow was made by raft ({variant}) with the weights {weights}; found no such file among "
            f"{folder / 'raft_*'}. Put it there. torchvision's default is {PUBLISHED[variant]}."
        )
    path = Path(weights).expanduser()
    return _there(
        path,
        f"flow.weights should be a file of torchvision's weights of raft_{variant}, found none at {path}. Look at the "
        f"path, or fetch {PUBLISHED[variant]}.",
    )


def digest(path: Path) -> str:
    """What a store records of weights: "sha256:" and the digest of the file.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return DIGEST + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"The weights {path} cannot be read: {error.strerror or error}. Look at its permissions."
        ) from error


def load_weights(network: "nn.Module", path: Path, variant: str) -> None:
    """Fill a network from a file of tensors by its names: all are there and of the right shapes, or none is used.

    Raises:
        CheckpointError: the file is damaged, or holds no tensors by name.
        MismatchError: it is of another network.
    """
    _check_sign(path)
    tensors = _read(path)
    _check_complete(tensors, network.state_dict(), path, variant)
    network.load_state_dict({name: tensors[name] for name in network.state_dict() if name in tensors}, strict=False)


def _hub_folder() -> Path:
    from torch import hub

    return Path(hub.get_dir()) / "checkpoints"


def _there(path: Path, message: str) -> Path:
    if not path.is_file():
        raise CheckpointError(message)
    return path


def _check_sign(path: Path) -> None:
    """Raises CheckpointError where a file is named as published and is not what was published."""
    sign = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    found = digest(path)
    if sign and not found.startswith(DIGEST + sign[1]):
        raise CheckpointError(
            f"{path} should have a SHA-256 that begins with {sign[1]}, as its name says; found {found}. It is damaged: "
            "fetch it again."
        )


def _read(path: Path) -> "Mapping[str, Tensor]":
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files make the readers raise anything
        # The first sentence; torch's second advises to load such files without the check.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].partition(". ")[0].rstrip(".")
        raise CheckpointError(
            f"{path} should be a file of tensors, found one that cannot be read safely: {reason}. Fetch it again."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in found.values()):
        raise CheckpointError(
            f"{path} should hold tensors by name, found {type(found).__name__} of other things. Save the network's "
            "state_dict() alone."
        )
    return found


def _check_complete(found: "Mapping[str, Tensor]", wanted: "Mapping[str, Tensor]", path: Path, variant: str) -> None:
    missing = [name for name in wanted if name not in found and not name.endswith(_COUNTERS)]
    unexpected = [name for name in found if name not in wanted and not name.endswith(_COUNTERS)]
    misshapen = [name for name, tensor in found.items() if name in wanted and tensor.shape != wanted[name].shape]
    if missing or unexpected or misshapen:
        lists = (("missing", missing), ("left over", unexpected), ("of another shape", misshapen))
        parts = [f"{len(names)} {what} ({', '.join(names[:3])})" for what, names in lists if names]
        raise MismatchError(
            f"{path} should hold the tensors of torchvision's raft_{variant}, found {', '.join(parts)}. Look at "
            f"flow.variant, or take {PUBLISHED[variant]}.",
            missing=missing,
            unexpected=unexpected,
            misshapen=misshapen,
        )
