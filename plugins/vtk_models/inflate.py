"""Image weights for video networks: every frame sees the same kernel, and their sum answers a still as the image did.

Source: Carreira and Zisserman, Quo Vadis, Action Recognition?, CVPR 2017, section 2.4.
"""

from collections.abc import Mapping

from torch import Size, Tensor

from vtk_cli.api.models import StateDict
from vtk_cli.errors import CheckpointError


def inflate(image: StateDict, shapes: Mapping[str, Size]) -> StateDict:
    """The tensors of an image network under the same names in the shapes of a video network.

    A 2D kernel is repeated over the T frames of the 3D one and divided by T. Where the 3D one reads more channels,
    those of a lateral connection, they get zeros, as MMAction2's ResNet3dPathway does. What the video network does not
    have (a classifier) is left out.

    Raises:
        CheckpointError: a tensor has a shape from which the video network's cannot be made.
    """
    return {name: _inflated(name, tensor, shapes[name]) for name, tensor in image.items() if name in shapes}


def _inflated(name: str, tensor: Tensor, shape: Size) -> Tensor:
    if _fits(tensor, shape):
        kernel = tensor.new_zeros(shape)
        kernel[:, : tensor.shape[1]] = tensor[:, :, None] / shape[2]
        return kernel
    if tensor.shape != shape:
        raise CheckpointError(
            f"Inflating {name} takes a tensor that fits {tuple(shape)}, found {tuple(tensor.shape)}. "
            "Use the image network of the same depth and width."
        )
    return tensor


def _fits(image: Tensor, shape: Size) -> bool:
    """Whether a kernel [O, I, H, W] makes one of `shape` [O, I or more, T, H, W]."""
    return (
        image.dim() == 4 and (image.shape[0], *image.shape[2:]) == (shape[0], *shape[3:]) and image.shape[1] <= shape[1]
    )
