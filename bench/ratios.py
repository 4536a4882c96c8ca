"""Pairs in turn: what is compared is measured alternately, since the machine's mood changes by the minute."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

Rounds = tuple[float, ...]
"""One value a round."""


def alternate(contestants: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, Rounds]:
    """Measure each contestant once a round, A B A B.

    Args:
        contestants: by name, from the round's number to what was measured in it.
        rounds: at least 1.

    Raises:
        ValueError: there is nothing to do.
    """
    if rounds < 1 or not contestants:
        raise ValueError("a comparison needs a contestant and a round")
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, measure in contestants.items():
            found[name].append(measure(number))
    return {name: tuple(values) for name, values in found.items()}


def times_as_fast(values: Sequence[float], base: Sequence[float], *, rate: bool) -> float:
    """How many times as fast as `base`: the median of the rounds' own ratios.

    Args:
        values: one a round, above 0.
        base: of the same rounds.
        rate: values are amounts a second; else seconds an amount.

    Raises:
        ValueError: the rounds differ in number, or there are none.
    """
    if len(values) != len(base) or not values:
        raise ValueError("a ratio needs the same rounds of both")
    return median(one / other if rate else other / one for one, other in zip(values, base, strict=True))
