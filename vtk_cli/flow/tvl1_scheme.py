"""TV-L1's numerical scheme in torch: the linearised data term of a warp and the iterations on it.

Sanchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation (IPOL 2013), algorithm 1 and equations 13 to 16.

    step = clamp(-rho / |grad|^2, -lambda theta, lambda theta)        rho = offset + Ix u + Iy v
    u    = u + step Ix + theta div p                                  backward differences; v alike with Iy
    p    = (p + tau/theta grad u) / (1 + tau/theta |grad u|)          forward differences, 0 past the border

Duals are kept as theta p, which spares the first theta and makes the second numerator theta p + tau grad u.

The iterations stand here twice. `iterate` is for where every operation is a pass over memory: in place, into five
planes that are used again and again, and over planes seen as one line, in which the right neighbour is the next place
and the one below is `width` places on. (Duals across the last column and the last row are zero and stay zero, so what
a line holds left of the first column is the zero that belongs there.) `iterate_fused` is for torch.compile, which
wants values that do not change and neighbours by rows and columns; it makes four passes of an iteration.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtk_cli.flow.tvl1_median import median
from vtk_cli.flow.tvl1_ops import remap_cubic

if TYPE_CHECKING:
    from torch import Tensor

_LEAST_GRADIENT = 1.1920929e-07
"""FLT_EPSILON: where the squared gradient is not larger there is no data term."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Iterations of one configuration, `steps` of them in a call.

    Both forms take and give the planes that change (u, v, and theta times the duals of u along x and y and of v along
    x and y, NHW each) and who is active ((N, 1, 1): 1, or 0 for a pair that has come to its end and is left as it is).
    A pair is at its end when its squared change of one iteration, summed over the picture, is at most `limit`.
    """

    tau: float
    theta: float
    bound: float
    """lambda theta."""
    steps: int
    looks: bool = False
    """Whether `iterate` looks after each iteration if all are at their end. On a GPU that would mean to wait for it."""

    def iterate(
        self, moving: Sequence["Tensor"], data: Sequence["Tensor"], active: "Tensor", limit: "Tensor"
    ) -> tuple[Sequence["Tensor"], "Tensor"]:
        """In place; `data` is what `linearise` gives."""
        import torch

        u, v, *duals = moving
        gradient_x, gradient_y, offset, inverse = data
        step, change_u, change_v, dx, dy = torch.empty((5, *u.shape), dtype=u.dtype, device=u.device)
        for _ in range(self.steps):
            torch.addcmul(offset, gradient_x, u, out=step).addcmul_(gradient_y, v)
            step.mul_(inverse).clamp_(-self.bound, self.bound)
            _divergence(duals[0], duals[1], change_u).addcmul_(step, gradient_x)
            _divergence(duals[2], duals[3], change_v).addcmul_(step, gradient_y)
            rate, shrinking = active * self.tau, active * (self.tau / self.theta)
            for plane, change, along_x, along_y in ((u, change_u, *duals[:2]), (v, change_v, *duals[2:])):
                plane.addcmul_(change, active)
                _forward_differences(plane, dx, dy)
                shrink = torch.mul(dx, dx, out=step).addcmul_(dy, dy).sqrt_().mul_(shrinking).add_(1)
                along_x.addcmul_(dx, rate).div_(shrink)
                along_y.addcmul_(dy, rate).div_(shrink)
            active = active * (_summed(change_u.mul_(change_u).addcmul_(change_v, change_v)) > limit)
            if self.looks and not active.any():
                break
        return moving, active

    def iterate_fused(
        self, moving: Sequence["Tensor"], data: Sequence["Tensor"], active: "Tensor", limit: "Tensor"
    ) -> tuple[Sequence["Tensor"], "Tensor"]:
        """The same without changing anything. The batch is one tall picture, so that no pass has more than two axes."""
        import torch
        from torch.nn.functional import pad

        count, height, width = moving[0].shape
        u, v, ux, uy, vx, vy = (plane.reshape(-1, width) for plane in moving)
        gradient_x, gradient_y, offset, inverse = (plane.reshape(-1, width) for plane in data)
        below = torch.arange(count * height, device=u.device)[:, None] % height < height - 1

        def divergence(along_x: "Tensor", along_y: "Tensor") -> "Tensor":
            return along_x - pad(along_x[:, :-1], (1, 0)) + along_y - pad(along_y[:-1], (0, 0, 1, 0))

        def ascend(plane: "Tensor", along_x: "Tensor", along_y: "Tensor", going: "Tensor") -> list["Tensor"]:
            dx = pad(plane[:, 1:] - plane[:, :-1], (0, 1))
            dy = torch.where(below, pad(plane[1:] - plane[:-1], (0, 0, 0, 1)), 0.0)
            shrink = 1 + (dx * dx + dy * dy).sqrt() * (going * (self.tau / self.theta))
            return [(along_x + dx * (going * self.tau)) / shrink, (along_y + dy * (going * self.tau)) / shrink]

        for _ in range(self.steps):
            going = active.expand(count, height, 1).reshape(-1, 1)
            step = ((offset + gradient_x * u + gradient_y * v) * inverse).clamp(-self.bound, self.bound)
            change_u, change_v = divergence(ux, uy) + step * gradient_x, divergence(vx, vy) + step * gradient_y
            u, v = u + change_u * going, v + change_v * going
            (ux, uy), (vx, vy) = ascend(u, ux, uy, going), ascend(v, vx, vy, going)
            rows = (change_u * change_u + change_v * change_v).sum(-1)
            active = active * (rows.view(count, height, 1).sum(1, keepdim=True) > limit)
        return [plane.view(count, height, width) for plane in (u, v, ux, uy, vx, vy)], active


def linearise(first: "Tensor", second: Sequence["Tensor"], u: "Tensor", v: "Tensor") -> list["Tensor"]:
    """The data term around a flow: its gradient along x and y, rho without Ix u + Iy v, and -1 / |gradient|^2.

    Args:
        first: the picture before, NHW.
        second: the picture after and its gradients along x and along y.
        u: flow along x.
        v: flow along y.
    """
    import torch

    warped, gradient_x, gradient_y = remap_cubic(second, u, v)
    square = gradient_x * gradient_x + gradient_y * gradient_y
    inverse = torch.where(square > _LEAST_GRADIENT, -1 / square, torch.zeros_like(square))
    return [gradient_x, gradient_y, warped - gradient_x * u - gradient_y * v - first, inverse]


def smooth(plane: "Tensor", active: "Tensor", side: int) -> "Tensor":
    """The median of the pairs that are active."""
    import torch

    return torch.where(active > 0, median(plane, side), plane)


def _summed(plane: "Tensor") -> "Tensor":
    """Over each picture, (N, 1, 1); rows first, so that the order does not hang on the number of pictures."""
    return plane.sum(-1, keepdim=True).sum(-2, keepdim=True)


def _divergence(along_x: "Tensor", along_y: "Tensor", out: "Tensor") -> "Tensor":
    import torch

    width = along_x.shape[-1]
    line = torch.add(along_x, along_y, out=out).view(-1)
    line[1:].sub_(along_x.view(-1)[:-1])
    line[width:].sub_(along_y.view(-1)[:-width])
    return out


def _forward_differences(plane: "Tensor", dx: "Tensor", dy: "Tensor") -> None:
    """Into dx and dy."""
    import torch

    width = plane.shape[-1]
    line = plane.view(-1)
    torch.sub(line[1:], line[:-1], out=dx.view(-1)[:-1])
    torch.sub(line[width:], line[:-width], out=dy.view(-1)[:-width])
    dx[..., -1] = 0
    dy[..., -1, :] = 0
