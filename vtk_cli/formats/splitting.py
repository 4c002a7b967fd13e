"""Splitting clips that come without splits, by a hash of their ids."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

from vtk_cli.errors import UsageError


def stratified_splits(
    ids: Sequence[str], strata: Sequence[object], *, val_fraction: float, test_fraction: float, seed: int
) -> list[str]:
    """One of train, val and test for each id; every class is divided in the same proportion.

    The clips of a class are put in the order of hash(seed, id); the first go to test, the next to val, the rest to
    train. A class of three or more clips gives at least one to each split that is wanted; train always keeps one. The
    result depends on neither the order of the clips nor the machine.

    Clips cut from one source video can land in different splits, which flatters the result; only the user knows them.

    >>> stratified_splits(["a", "b", "c", "d"], [0, 0, 0, 0], val_fraction=0.25, test_fraction=0.25, seed=0)
    ['val', 'train', 'train', 'test']

    Raises:
        UsageError: the fractions leave nothing for train.
    """
    if not (val_fraction >= 0 and test_fraction >= 0 and val_fraction + test_fraction < 1):  # so NaN is refused too
        raise UsageError(
            f"The fractions of val and test are 0 or more and below 1 together, found {val_fraction} and "
            f"{test_fraction}. Lower them."
        )
    members: dict[object, list[int]] = defaultdict(list)
    for place, stratum in enumerate(strata):
        members[stratum].append(place)
    result = ["train"] * len(ids)
    for places in members.values():
        ordered = sorted(places, key=lambda place: (_draw(seed, ids[place]), ids[place]))
        test, val = _quotas(len(places), test_fraction, val_fraction)
        for place in ordered[:test]:
            result[place] = "test"
        for place in ordered[test : test + val]:
            result[place] = "val"
    return result


def share_no_clip(one: str, other: str) -> bool:
    """Whether a clip in both of these splits is a leak: train and val or test of the same division.

    >>> share_no_clip("train", "val"), share_no_clip("val", "test"), share_no_clip("train1", "test2")
    (True, False, False)
    """
    kinds = [name.rstrip("0123456789") for name in (one, other)]
    divisions = [name[len(kind) :] for name, kind in zip((one, other), kinds, strict=True)]
    return divisions[0] == divisions[1] and (kinds[0] == "train") != (kinds[1] == "train")


def _quotas(count: int, test_fraction: float, val_fraction: float) -> tuple[int, int]:
    """Clips of a class that go to test and to val.

    >>> _quotas(10, 0.1, 0.1), _quotas(3, 0.1, 0.1), _quotas(1, 0.1, 0.1)
    ((1, 1), (1, 1), (0, 0))
    """
    least = 1 if count >= 3 else 0
    test = max(least, round(count * test_fraction)) if test_fraction else 0
    val = max(least, round(count * val_fraction)) if val_fraction else 0
    while test + val >= count and test + val > 0:
        test, val = (test - 1, val) if test >= val else (test, val - 1)
    return test, val


def _draw(seed: int, name: str) -> bytes:
    return sha256(f"{seed}:{name}".encode()).digest()
