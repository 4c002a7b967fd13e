"""Medians of 5x5 and 3x3 neighbourhoods, as minima and maxima of whole planes.

A median is a selection, so no value is computed and the result is OpenCV's medianBlur bit for bit. What neighbouring
windows share is done once per picture (side 5):

    columns   each pixel with the two above and below it, sorted               18 operations
    pairs     the sorted columns of x and x+1, merged: serves two windows      26
    window    the pairs of x-2 and x+1 merged, only ranks 7 to 12 of them,     36
              and rank 12 of these and the column of x                         10

    x-2 x-1   x   x+1 x+2
    [ pair ] col  [ pair ]        25 values, the median is rank 12 (from 0)

Merging is Batcher's (Knuth, The Art of Computer Programming 3, section 5.3.4); a comparator whose minimum or maximum
nobody reads loses that half. torch.median over the 25 shifted planes took 9 times as long (one core, 340x256).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Network:
    """Minima and maxima in order. Wires have numbers: inputs first, then the result of each step."""

    steps: tuple[tuple[bool, int, int], ...]
    """(maximum rather than minimum, wire, wire)."""
    outputs: tuple[int, ...]
    dead: tuple[tuple[int, ...], ...]
    """Wires that nothing reads after the step, by step."""

    def run(self, inputs: Sequence["Tensor"]) -> list["Tensor"]:
        """The outputs; what is not read any more is freed on the way."""
        import torch

        wires: list[Any] = list(inputs)
        for (larger, first, second), dead in zip(self.steps, self.dead, strict=True):
            wires.append((torch.maximum if larger else torch.minimum)(wires[first], wires[second]))
            for wire in dead:
                wires[wire] = None
        return [wires[wire] for wire in self.outputs]


class _Builder:
    def __init__(self, inputs: int) -> None:
        self.inputs = inputs
        self.steps: list[tuple[bool, int, int]] = []

    def step(self, larger: bool, first: int, second: int) -> int:
        self.steps.append((larger, first, second))
        return self.inputs + len(self.steps) - 1

    def merge(self, left: Sequence[int], right: Sequence[int]) -> list[int]:
        """Batcher's odd-even merge of sorted lists: merge the even and the odd places, then put neighbours right."""
        if not left or not right:
            return [*left, *right]
        if len(left) == len(right) == 1:
            return [self.step(larger, left[0], right[0]) for larger in (False, True)]
        even, odd = self.merge(left[::2], right[::2]), self.merge(left[1::2], right[1::2])
        merged = even[:1]
        for low, high in zip_longest(odd, even[1:]):
            if low is None or high is None:
                merged.append(high if low is None else low)
            else:
                merged += [self.step(larger, low, high) for larger in (False, True)]
        return merged

    def sort(self, wires: Sequence[int]) -> list[int]:
        if len(wires) == 1:
            return list(wires)
        half = len(wires) // 2
        return self.merge(self.sort(wires[:half]), self.sort(wires[half:]))

    def select(self, left: Sequence[int], right: Sequence[int], rank: int) -> int:
        """The value of that rank in two sorted lists: the least, over i, of max(left[i - 1], right[rank - i])."""
        found: int | None = None
        for taken in range(len(left) + 1):
            if not 0 <= rank + 1 - taken <= len(right):
                continue
            ends = [left[taken - 1]] * (taken > 0) + [right[rank - taken]] * (rank + 1 - taken > 0)
            largest = ends[0] if len(ends) == 1 else self.step(True, ends[0], ends[1])
            found = largest if found is None else self.step(False, found, largest)
        assert found is not None
        return found

    def network(self, outputs: Sequence[int]) -> Network:
        """Only the steps that the outputs need."""
        needed = set(outputs)
        for wire in range(self.inputs + len(self.steps) - 1, self.inputs - 1, -1):
            if wire in needed:
                needed.update(self.steps[wire - self.inputs][1:])
        kept = [number for number in range(len(self.steps)) if self.inputs + number in needed]
        new = {wire: wire for wire in range(self.inputs)}
        new.update({self.inputs + number: self.inputs + place for place, number in enumerate(kept)})
        steps = tuple((self.steps[n][0], new[self.steps[n][1]], new[self.steps[n][2]]) for n in kept)
        last = {wire: place for place, step in enumerate(steps) for wire in step[1:]}
        ends = tuple(new[wire] for wire in outputs)
        dead = tuple(tuple(w for w, at in last.items() if at == place and w not in ends) for place in range(len(steps)))
        return Network(steps, ends, dead)


def _built(inputs: int, build: Callable[[_Builder, range], Sequence[int]]) -> Network:
    builder = _Builder(inputs)
    return builder.network(build(builder, range(inputs)))


def _networks(side: int) -> tuple[Network, Network, Network]:
    """What sorts a column, merges two columns, and picks the median out of the pairs and the column that is left."""
    pairs = side // 2

    def window(builder: _Builder, wires: range) -> list[int]:
        merged: list[int] = []
        for pair in range(pairs):
            merged = builder.merge(merged, wires[2 * side * pair : 2 * side * (pair + 1)])
        return [builder.select(wires[2 * side * pairs :], merged, side * side // 2)]

    return (
        _built(side, lambda builder, wires: builder.sort(wires)),
        _built(2 * side, lambda builder, wires: builder.merge(wires[:side], wires[side:])),
        _built(side * side, window),
    )


NETWORKS = {side: _networks(side) for side in (3, 5)}


def median(plane_NHW: "Tensor", side: int) -> "Tensor":
    """The median of each pixel's neighbourhood of side x side (3 or 5), pictures continued by their border pixels."""
    from torch.nn.functional import pad

    _, height, width = plane_NHW.shape
    wide = pad(plane_NHW[:, None], (side // 2,) * 4, mode="replicate")[:, 0]
    column, pair, window = NETWORKS[side]
    columns = column.run([wide[:, row : row + height] for row in range(side)])
    pairs = pair.run([c[..., :-1] for c in columns] + [c[..., 1:] for c in columns])
    # Side 5: pairs at 0 and 3, the column at 2. Side 3: the pair at 0, the column at 2.
    starts = [(pairs, start) for start in range(0, side - 1, 3)] + [(columns, 2)]
    return window.run([plane[..., start : start + width] for planes, start in starts for plane in planes])[0]
