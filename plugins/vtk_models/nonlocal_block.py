"""The non-local block (Wang et al., Non-local Neural Networks, CVPR 2018): every position looks at every other.

    z_i = x_i + W y_i        y_i = sum_j f(x_i, x_j) g(x_j) / C(x)                        (eq. 6 and 1)

    kind                f(x_i, x_j)                                     C(x)
    gaussian            exp(x_i . x_j)                                  sum_j f      (eq. 2)
    embedded_gaussian   exp(theta(x_i) . phi(x_j))                      sum_j f      (eq. 3)
    dot_product         theta(x_i) . phi(x_j)                           number of j  (eq. 4)
    concatenation       relu(w . [theta(x_i), phi(x_j)])                number of j  (eq. 5)

Letters of the shapes: D the channels inside, Q the positions i, P the positions j (a quarter of them where the map is
pooled), `...` the map's one to three dimensions.
"""

from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from vtk_cli.errors import UsageError

Kind = Literal["embedded_gaussian", "gaussian", "dot_product", "concatenation"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Pool = Literal["none", "before", "after"]
POOLS: tuple[Pool, ...] = get_args(Pool)

_CONV: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, type[nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d]] = {
    1: nn.BatchNorm1d,
    2: nn.BatchNorm2d,
    3: nn.BatchNorm3d,
}
_POOL = {1: nn.MaxPool1d(2), 2: nn.MaxPool2d(2), 3: nn.MaxPool3d((1, 2, 2))}


class NonLocalBlock(nn.Module):
    """forward(x_BC...) -> z_BC..., the same shape. Right after building it returns its input."""

    def __init__(
        self,
        channels: int,
        *,
        dims: Literal[1, 2, 3] = 3,
        kind: Kind = "embedded_gaussian",
        inner: int | None = None,
        pool: Pool = "before",
        scale: bool = True,
        bias: bool = True,
        norm: bool = True,
        group: int | None = None,
        std: float | None = 0.01,
    ) -> None:
        """Build the block for maps of `dims` dimensions (time, picture, or both).

        Args:
            channels: C, of the map.
            dims: dimensions of the map.
            kind: the pairwise function f.
            inner: D; None is half the channels (section 3.3).
            pool: the "subsampling trick" of section 3.3, a max pool of 2 (2x2 of the picture) for phi and g. `before`:
                of x, which both share (Caffe2, Paddle, PySlowFast); `after`: of phi(x) and g(x) (AlexHex7, MIT's TSM).
            scale: whether the Gaussians' exponents are divided by the root of the vectors' length (Caffe2, Paddle and
                PySlowFast do, AlexHex7 and MIT's TSM do not).
            bias: of all convolutions.
            norm: a batch norm after the last convolution W; its weight begins at 0. Without, W itself does.
            group: of a 3D map, frames that see one another; None is all (Caffe2's `add_nonlocal_group`).
            std: of the convolutions' normal initialisation, biases begin at 0 (section 4); None keeps torch's own.

        Raises:
            UsageError: the kind, the pooling or the number of dimensions is unknown.
        """
        super().__init__()
        _check(dims, kind, pool)
        self.kind, self.pool, self.scale, self.group = kind, pool, scale, group
        self.subsample = _POOL[dims] if pool != "none" else nn.Identity()
        inner = inner or max(1, channels // 2)
        conv = _CONV[dims]
        self.g = conv(channels, inner, 1, bias=bias)
        if kind != "gaussian":
            self.theta = conv(channels, inner, 1, bias=bias)
            self.phi = conv(channels, inner, 1, bias=bias)
        if kind == "concatenation":
            self.affinity = nn.Linear(2 * inner, 1, bias=False)
        self.out = conv(inner, channels, 1, bias=bias)
        self.bn = _NORM[dims](channels) if norm else nn.Identity()
        self.initialise(std)

    def forward(self, x: Tensor) -> Tensor:
        if self.group is None:
            return self._whole(x)
        batch, channels, time, height, width = x.shape
        parts = x.reshape(batch, channels, -1, self.group, height, width).transpose(1, 2).flatten(0, 1)
        z = self._whole(parts).reshape(batch, -1, channels, self.group, height, width)
        return z.transpose(1, 2).reshape(batch, channels, time, height, width)

    def initialise(self, std: float | None) -> None:
        """Draw the convolutions anew from N(0, std), None leaves them, and let the block return its input."""
        for conv in self.children():
            if std is not None and isinstance(conv, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
                nn.init.normal_(conv.weight, std=std)
                if conv.bias is not None:
                    nn.init.zeros_(conv.bias)
        last = self.out if isinstance(self.bn, nn.Identity) else self.bn
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    def _whole(self, x: Tensor) -> Tensor:
        shared = self.subsample(x) if self.pool == "before" else x
        theta_BQD = _positions(x if self.kind == "gaussian" else self.theta(x))
        phi, g = shared if self.kind == "gaussian" else self.phi(shared), self.g(shared)
        if self.pool == "after":
            phi, g = self.subsample(phi), self.subsample(g)
        y_BQD = self._attend(theta_BQD, _positions(phi), _positions(g))
        y = y_BQD.transpose(1, 2).reshape(x.shape[0], -1, *x.shape[2:])
        z: Tensor = x + self.bn(self.out(y))
        return z

    def _attend(self, theta_BQD: Tensor, phi_BPD: Tensor, g_BPD: Tensor) -> Tensor:
        """y_BQD; for the Gaussians and the dot product no matrix of Q x P numbers is kept."""
        if self.kind == "dot_product":
            # The product is associative: D x D numbers instead of Q x P.
            return theta_BQD @ (phi_BPD.transpose(1, 2) @ (g_BPD / g_BPD.shape[1]))
        if self.kind == "concatenation":
            # w . [theta, phi] is a sum of a number per i and a number per j: no pair is ever written out.
            w_theta_D, w_phi_D = self.affinity.weight[0].chunk(2)
            affinity_BQP = functional.relu((theta_BQD @ w_theta_D)[:, :, None] + (phi_BPD @ w_phi_D)[:, None])
            return affinity_BQP @ (g_BPD / g_BPD.shape[1])
        # One head: the fused kernels take four dimensions.
        heads = (theta_BQD[:, None], phi_BPD[:, None], g_BPD[:, None])
        return functional.scaled_dot_product_attention(*heads, scale=None if self.scale else 1.0)[:, 0]


def _positions(x: Tensor) -> Tensor:
    """x_BC... -> x_BPC, a row per position."""
    return x.flatten(2).transpose(1, 2).contiguous()


def _check(dims: int, kind: str, pool: str) -> None:
    if kind not in KINDS:
        raise UsageError(f'A non-local block is one of {", ".join(KINDS)}, found "{kind}". Name one of them.')
    if pool not in POOLS:
        raise UsageError(f'A non-local block pools {", ".join(POOLS)}, found "{pool}". Name one of them.')
    if dims not in _CONV:
        raise UsageError(f"A non-local block works on maps of 1, 2 or 3 dimensions, found {dims}. Name one of them.")
