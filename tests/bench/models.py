"""Every model on one core: size, arithmetic, speed forward and in training, memory; beside the originals where they run.

    python tests/bench/models.py                                  every model in its default configuration
    python tests/bench/models.py --only slowfast resnet3d
    python tests/bench/models.py --peers --originals DIR          and the originals: torchvision where it imports, and
                                                                  checkouts DIR/temporal-shift-module, DIR/3D-ResNets-PyTorch

Each model has a process of its own, so that its peak memory is its own. Ours and a peer take turns within one process;
medians over the repeats. One clip of the training view per step; an idle machine is needed.
"""

import argparse
import contextlib
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtk_cli import registry
from vtk_cli.api.models import ModelSpec
from vtk_cli.testing.made_inputs import made_inputs, views_of
from vtk_cli.train.cost import CLIP_CLASSES, cost

WARM_UP = 1


def main() -> None:
    """Print a table, one line as soon as a model is done."""
    options = arguments()
    if options.one:
        print(json.dumps(measure(options.one, options)))
        return
    names = options.only or registry.names("vtk.models")
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, one clip, float32")
    columns = ("model", "parameters", "GMACs", "forward s", "train step s", "clips/s", "peak MiB")
    print(("{:<18}" + "{:>13}" * (len(columns) - 1)).format(*columns))
    for name in names:
        found = json.loads(child(name, options))
        numbers = (f"{found['parameters']:,}", f"{found['gmacs']:.2f}", f"{found['forward']:.3f}")
        more = (f"{found['train']:.3f}", f"{1 / found['train']:.2f}", f"{found['peak_mib']:.0f}")
        print(f"{name:<18}" + "".join(f"{text:>13}" for text in (*numbers, *more)), flush=True)
        for peer in found["peers"]:
            print(
                f"    {peer['peer']}: forward {peer['forward']:.3f} s, train step {peer['train']:.3f} s; "
                f"ours takes {peer['forward_ratio']:.2f} and {peer['train_ratio']:.2f} of that",
                flush=True,
            )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="MODEL")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--originals", type=Path, metavar="DIR")
    parser.add_argument("--tiny", action="store_true", help="the models' tiny configurations: to try this script")
    parser.add_argument("--one", metavar="MODEL", help=argparse.SUPPRESS)
    return parser.parse_args()


def child(name: str, options: argparse.Namespace) -> str:
    """The last line that this script prints for one model."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", name]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Numbers of one model, and of its peers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = registry.load("vtk.models", name)
    assert isinstance(spec, ModelSpec)
    config = spec.tiny if options.tiny else spec.config()
    inputs = spec.inputs(config)
    given = made_inputs(inputs, views_of(inputs)[0], 2)
    size = cost(spec, config)
    before = peak_mib()
    model = spec.build(config, size.classes)
    timed = {"forward": forward(model, given), "train": train(model, given)}
    seconds = {key: median(step, options.repeats) / len(given[0]) for key, step in timed.items()}
    found = {"parameters": size.parameters, "gmacs": size.train_gmacs, **seconds, "peak_mib": peak_mib() - before}
    peers = [
        beside(title, peer, timed, given, options.repeats)
        for title, peer in (PEERS.get(name, no_peers)(config, options) if options.peers else ())
    ]
    return {**found, "peers": peers}


def beside(
    title: str,
    peer: tuple[nn.Module, Callable[[Tensor], Tensor]],
    ours: dict[str, Callable[[], None]],
    given: tuple[Tensor, ...],
    repeats: int,
) -> dict[str, Any]:
    """Seconds of a peer, and how ours compares, taking turns."""
    module, arranged = peer
    clip = (arranged(given[0]).contiguous(),)
    found: dict[str, Any] = {"peer": title}
    for key, step in {"forward": forward(module, clip), "train": train(module, clip)}.items():
        pairs = [(seconds(step), seconds(ours[key])) for _ in range(WARM_UP + repeats)][WARM_UP:]
        found[key] = statistics.median(theirs for theirs, _ in pairs) / len(given[0])
        found[f"{key}_ratio"] = statistics.median(own / theirs for theirs, own in pairs)
    return found


def forward(module: nn.Module, given: tuple[Tensor, ...]) -> Callable[[], None]:
    def step() -> None:
        module.eval()
        with torch.inference_mode():
            module(*given)

    return step


def train(module: nn.Module, given: tuple[Tensor, ...]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-4, momentum=0.9)
    label_B = torch.zeros(len(given[0]), dtype=torch.long)

    def step() -> None:
        module.train()
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(module(*given), label_B).backward()
        optimizer.step()

    return step


def seconds(step: Callable[[], None]) -> float:
    """Processor time: others on the machine take less of it than of the clock's."""
    begin = time.process_time()
    step()
    return time.process_time() - begin


def median(step: Callable[[], None], repeats: int) -> float:
    return statistics.median([seconds(step) for _ in range(WARM_UP + repeats)][WARM_UP:])


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def no_peers(_config: Any, _options: argparse.Namespace) -> list[tuple[str, Any]]:
    return []


def as_2d(clip_BTNCHW: Tensor) -> Tensor:
    """TSN's and TSM's own layout: all frames of a video along the channels."""
    return clip_BTNCHW.flatten(1, 3)


def as_3d(clip_BTNCHW: Tensor) -> Tensor:
    """x_BCTHW."""
    return clip_BTNCHW.flatten(1, 2).transpose(1, 2)


def tsm_peers(config: Any, options: argparse.Namespace) -> list[tuple[str, Any]]:
    """temporal-shift-module's own network; it takes its ResNet from torchvision."""
    if options.originals is None:
        return []
    sys.path.insert(0, str(options.originals / "temporal-shift-module"))
    from ops.models import TSN

    with contextlib.redirect_stdout(io.StringIO()):
        model = TSN(
            CLIP_CLASSES,
            config.segments,
            "RGB",
            base_model=config.trunk,
            consensus_type="avg",
            is_shift=True,
            partial_bn=False,
            pretrain=False,
        )
    return [("temporal-shift-module", (Quiet(model), as_2d))]


def resnet3d_peers(config: Any, options: argparse.Namespace) -> list[tuple[str, Any]]:
    if options.originals is None:
        return []
    sys.path.insert(0, str(options.originals / "3D-ResNets-PyTorch"))
    from models import resnet

    return [("3D-ResNets-PyTorch", (resnet.generate_model(config.depth, n_classes=CLIP_CLASSES), as_3d))]


def r2plus1d_peers(config: Any, options: argparse.Namespace) -> list[tuple[str, Any]]:
    if options.originals is None:
        return []
    sys.path.insert(0, str(options.originals / "3D-ResNets-PyTorch"))
    from models import resnet2p1d

    return [("3D-ResNets-PyTorch", (resnet2p1d.generate_model(config.depth, n_classes=CLIP_CLASSES), as_3d))]


class Quiet(nn.Module):
    """An original whose `train()` returns None, and whose forward reshapes with the number of segments."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def train(self, mode: bool = True) -> "Quiet":
        self.module.train(mode)
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.module(x)
        return out


PEERS: dict[str, Callable[[Any, argparse.Namespace], list[tuple[str, Any]]]] = {
    "tsm": tsm_peers,
    "resnet3d": resnet3d_peers,
    "r2plus1d": r2plus1d_peers,
}

if __name__ == "__main__":
    main()
