"""TV-L1 in torch: batches of pairs on a GPU, and any pair where there is no compiled kernel.

Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow (DAGM 2007); scheme, order and defaults
as OpenCV's DualTVL1OpticalFlow (see tvl1.py). Pyramid, warps and medians are here, the arithmetic in tvl1_scheme.py.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from vtk_cli import console
from vtk_cli.errors import UsageError, VideoError
from vtk_cli.flow.tvl1_ops import gradients, pyramid_sizes, resize
from vtk_cli.flow.tvl1_scheme import Scheme, linearise, smooth

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from vtk_cli.flow.tvl1 import TvL1Config

MOST_STEPS = 5
"""Iterations between two looks at a GPU if all pairs are done; each costs compile time once and spares a wait."""


@dataclass(frozen=True, slots=True)
class Stages:
    """What a solver spends its time on; each may be compiled."""

    linearise: Callable[..., list["Tensor"]]
    smooth: Callable[["Tensor", "Tensor"], "Tensor"]
    iterate: Callable[..., tuple[Sequence["Tensor"], "Tensor"]]
    steps: int
    """Iterations in a call of `iterate`."""


class TorchTvL1:
    """A solver. On the CPU pairs are computed one after the other: their planes stay in the cache that way."""

    def __init__(
        self,
        config: "TvL1Config",
        device: str = "cpu",
        batch: int = 1,
        *,
        dtype: "torch.dtype | None" = None,
        compiled: bool | None = None,
    ) -> None:
        """Prepare for a device.

        Args:
            config: parameters of the method.
            device: as torch names it.
            batch: pairs computed at once on a GPU.
            dtype: of all computation; float32.
            compiled: whether to fuse with torch.compile, which takes its time here; on a GPU if not said.

        Raises:
            UsageError: this machine does not have the device.
        """
        import torch

        self._config = config
        self._device = _device(device)
        self._dtype = dtype or torch.float32
        self.batch = 1 if self._device.type == "cpu" else batch
        self._least = 1
        self._stages = self._eager()
        if self._device.type == "cuda" if compiled is None else compiled:
            self._compile()

    def __call__(self, previous_HW: "NDArray[np.uint8]", following_HW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        flow_2HW: NDArray[np.float32] = self.many(previous_HW[None], following_HW[None])[0]
        return flow_2HW

    def many(self, previous_NHW: "NDArray[np.uint8]", following_NHW: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """flow_N2HW in pixels.

        Raises:
            VideoError: the pictures differ in size, or are empty.
        """
        import numpy as np
        import torch

        if previous_NHW.shape != following_NHW.shape or not previous_NHW[:1].size:
            raise VideoError(
                f"TV-L1 needs pictures of one size with at least one pixel, found {previous_NHW.shape} and "
                f"{following_NHW.shape}. Decode the clip at one size."
            )
        flow_N2HW = np.empty((len(previous_NHW), 2, *previous_NHW.shape[1:]), np.float32)
        for start in range(0, len(flow_N2HW), self.batch):
            part = slice(start, start + self.batch)
            pictures = np.stack((previous_NHW[part], following_NHW[part]))
            flow_N2HW[part] = self.solve(torch.from_numpy(pictures)).float().cpu().numpy()
        return flow_N2HW

    def solve(self, pictures_2NHW: "Tensor") -> "Tensor":
        """flow_N2HW on the device, of pairs of pictures on any; all of them at once."""
        import torch

        count = pictures_2NHW.shape[1]
        if count < self._least:
            pictures_2NHW = pictures_2NHW.repeat(1, self._least, 1, 1)
        with torch.no_grad(), _no_denormals():
            return self._from_coarse_to_fine(pictures_2NHW.to(self._device, self._dtype))[:count]

    def _from_coarse_to_fine(self, pictures_2NHW: "Tensor") -> "Tensor":
        import torch

        step = self._config.scale_step
        _, _, height, width = pictures_2NHW.shape
        sizes = pyramid_sizes(height, width, self._config.scales, step)
        levels = [pictures_2NHW]
        for size in sizes[1:]:
            levels.append(resize(levels[-1], size, (1 / step, 1 / step)))
        flow_2NHW = torch.zeros_like(levels[-1])
        while True:
            flow_2NHW = self._level(levels.pop(), flow_2NHW)
            if not levels:
                return flow_2NHW.transpose(0, 1).contiguous()
            old, new = flow_2NHW.shape[2:], levels[-1].shape[2:]
            flow_2NHW = resize(flow_2NHW, (new[0], new[1]), (old[0] / new[0], old[1] / new[1])) / step

    def _level(self, pictures_2NHW: "Tensor", flow_2NHW: "Tensor") -> "Tensor":
        import torch

        first, second = pictures_2NHW
        surroundings = [second, *gradients(second)]
        moving: Sequence[Tensor] = [*flow_2NHW, *torch.zeros((4, *first.shape), dtype=first.dtype, device=first.device)]
        for _ in range(self._config.warps):
            data = self._stages.linearise(first, surroundings, moving[0], moving[1])
            moving = self._warp(moving, data)
        return torch.stack((moving[0], moving[1]))

    def _warp(self, moving: Sequence["Tensor"], data: Sequence["Tensor"]) -> Sequence["Tensor"]:
        """Iterate until every pair is at its end.

        Where half of the pairs or more are done the others go on without them.
        """
        import torch

        config, first = self._config, moving[0]
        area = first.shape[1] * first.shape[2]
        limit = torch.tensor(config.epsilon**2 * area, dtype=first.dtype, device=first.device)
        active = torch.ones((len(first), 1, 1), dtype=first.dtype, device=first.device)
        everyone: Sequence[Tensor] = ()
        rows = torch.arange(len(first), device=first.device)
        for _ in range(config.outer_iterations):
            if config.median > 1:
                moving = [*(self._stages.smooth(plane, active) for plane in moving[:2]), *moving[2:]]
            for _ in range(config.inner_iterations // self._stages.steps):
                moving, active = self._stages.iterate(moving, data, active, limit)
                left = int(active.sum())
                if not left:
                    return _put_back(everyone, moving, rows)
                if max(left, self._least) * 2 <= len(active):
                    everyone = _put_back(everyone, moving, rows)
                    going = active.view(-1).argsort(descending=True)[: max(left, self._least)]
                    rows, active = rows[going], active[going]
                    moving, data = ([plane[going] for plane in planes] for planes in (moving, data))
        return _put_back(everyone, moving, rows)

    def _eager(self) -> Stages:
        config = self._config
        looks = self._device.type == "cpu"
        steps = config.inner_iterations if looks else _divisor(config.inner_iterations, MOST_STEPS)
        scheme = Scheme(config.tau, config.theta, config.lambda_ * config.theta, steps, looks)
        return Stages(linearise, partial(smooth, side=config.median), scheme.iterate, steps)

    def _compile(self) -> None:
        """Compile everything once, for pictures and batches of any size; where that fails stay as we are and say so.

        Sizes are unknown to the compiled code, or each size of video and each level of its pyramid would be compiled
        anew. A batch of one is the exception that torch makes, so it is computed as two.
        """
        import torch

        config = self._config
        steps = _divisor(config.inner_iterations, MOST_STEPS)
        scheme = Scheme(config.tau, config.theta, config.lambda_ * config.theta, steps)
        fuse: Callable[..., Any] = partial(torch.compile, fullgraph=True, dynamic=True)
        eager = self._stages
        self._stages = Stages(
            fuse(linearise), fuse(partial(smooth, side=config.median)), fuse(scheme.iterate_fused), steps
        )
        self._least = 2
        try:
            # Different sizes, or torch would take them for one.
            self.solve(torch.zeros((2, 3, 17, 19)))
        except Exception as error:  # noqa: BLE001  the compiler and the programs that it runs fail in their own ways
            first_line = next(iter(str(error).splitlines()), "")
            console.warn(
                f"torch.compile does not work here ({type(error).__name__}: {first_line}); TV-L1 runs uncompiled."
            )
            self._stages, self._least = eager, 1


def _put_back(everyone: Sequence["Tensor"], moving: Sequence["Tensor"], rows: "Tensor") -> Sequence["Tensor"]:
    """Planes of all pairs, those of `rows` replaced by `moving`; there is no everyone while none was left out."""
    if not everyone:
        return moving
    return [whole.index_copy(0, rows, part) for whole, part in zip(everyone, moving, strict=True)]


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is at most `most`: calls of one length make up any number of iterations.

    >>> _divisor(30, 5), _divisor(31, 5), _divisor(8, 5)
    (5, 1, 4)
    """
    return next(divisor for divisor in range(most, 0, -1) if number % divisor == 0)


def _device(name: str) -> "torch.device":
    """The device of that name, if it is there.

    Raises:
        UsageError: this machine does not have it.
    """
    import torch

    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built with CUDA
        raise UsageError(
            f'flow.device takes cpu, cuda or cuda:N of this machine, found "{name}". See `vtk doctor`.'
        ) from error
    return torch.device(name)


@contextmanager
def _no_denormals() -> Iterator[None]:
    """Numbers below 1e-38 count as zero. Where nothing moves duals fall towards it, and denormal numbers are slow."""
    import torch

    smallest = torch.full((1,), torch.finfo(torch.float32).tiny)
    before = bool((smallest / 2 == 0).item())
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
