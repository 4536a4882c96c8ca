"""95 % intervals by bootstrap over patients or groups: pictures of one patient are drawn together, never apart."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
OUTSIDE = 0.05  # share of the resamples that lies outside of an interval
DIGITS = 4

Rows = NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval."""

    value: float  # NaN where there is nothing to measure
    low: float | None = None
    high: float | None = None

    def named(self, name: str) -> dict[str, Any]:
        """As two entries of a JSON tree: the figure (null where there is none) and its interval."""
        interval = (
            None if self.low is None or self.high is None else [round(self.low, DIGITS), round(self.high, DIGITS)]
        )
        return {name: rounded(self.value), f"{name}_95": interval}


class Bootstrap:
    """Draws groups with replacement; the same groups and seed give the same intervals, whatever the rows' order."""

    def __init__(self, groups: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> None:
        names, self._place = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
        self._groups, self._seed, self._resamples = len(names), seed, resamples
        order = np.argsort(self._place, kind="stable")
        self._clusters = np.split(order, np.cumsum(np.bincount(self._place, minlength=self._groups))[:-1])

    @property
    def groups(self) -> int:
        """How many there are."""
        return self._groups

    def mean(self, values: NDArray[Any], among: NDArray[np.bool_] | None = None) -> Estimate:
        """The mean of `values` `(n,)` over the rows `among` which they count.

        A share that is 0 or 1 in the sample is so in every resample too; then the interval is the exact one (Clopper
        and Pearson, Biometrika 1934) of as many independent trials as there are groups that count.
        """
        counted = np.ones(len(values), bool) if among is None else among
        sums = np.bincount(self._place, np.where(counted, values, 0), self._groups)
        sizes = np.bincount(self._place, counted, self._groups)
        value = float(sums.sum() / sizes.sum()) if sizes.any() else float("nan")
        if values.dtype == np.bool_ and value in (0.0, 1.0):
            reach = (OUTSIDE / 2) ** (1 / np.count_nonzero(sizes))
            return Estimate(value=value, low=reach if value else 0.0, high=1.0 if value else 1 - reach)
        with np.errstate(invalid="ignore"):
            drawn = np.array([sums[draw].sum() / sizes[draw].sum() for draw in self._draws()])
        return _between(value, drawn)

    def of(self, measure: Callable[[Rows], float]) -> Estimate:
        """Any measure over rows, such as a median or an AUC."""
        every = np.concatenate(self._clusters) if self._groups else np.array([], np.intp)
        drawn = np.array([measure(np.concatenate([self._clusters[k] for k in draw])) for draw in self._draws()])
        return _between(measure(every), drawn)

    def _draws(self) -> Iterator[Rows]:
        rng = np.random.default_rng(self._seed)
        if self._groups > 1:  # one group alone says nothing of others
            for _ in range(self._resamples):
                yield rng.integers(self._groups, size=self._groups)


def rounded(value: float) -> float | None:
    """A figure as it is written; None for NaN."""
    return round(float(value), DIGITS) if np.isfinite(value) else None


def _between(value: float, drawn: NDArray[np.float64]) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if not known.size or not np.isfinite(value):
        return Estimate(value=value)
    low, high = np.quantile(known, [OUTSIDE / 2, 1 - OUTSIDE / 2])
    return Estimate(value=value, low=float(low), high=float(high))
