"""RMSProp as Paddle's fluid computes it, which torch's cannot: its epsilon stands under the root.

    m = rho m + (1 - rho) g        s = rho s + (1 - rho) g^2
    v = momentum v + lr g / sqrt(s - m^2 + epsilon)        p = p - v

Source: PaddlePaddle fluid optimizer.py, `RMSPropOptimizer` with centered=True (facts: rho 0.95, epsilon 1e-6).
"""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor


class FluidRMSprop(torch.optim.Optimizer):
    """Centred RMSProp with coupled L2 weight decay."""

    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        rho: float = 0.95,
        epsilon: float = 1e-6,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "epsilon": epsilon, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            for name in ("mean", "mean_square", "velocity"):
                state[name] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        assert parameter.grad is not None
        gradient = parameter.grad.add(parameter, alpha=group["weight_decay"])
        rho = group["rho"]
        state["mean"].mul_(rho).add_(gradient, alpha=1 - rho)
        state["mean_square"].mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        # Rounding can leave a variance slightly below zero where a gradient hardly changes.
        variance = state["mean_square"].addcmul(state["mean"], state["mean"], value=-1).clamp_min_(0)
        update = gradient.mul_(group["lr"]).div_(variance.add_(group["epsilon"]).sqrt_())
        parameter.sub_(state["velocity"].mul_(group["momentum"]).add_(update))
