"""Other splits of a set than its table's own: to repeat what others did, and to show what a leaking split flatters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from models.data import Item

Split = Literal["given", "slice", "group"]
NAMES = ("train", "val", "test")


def split_anew(items: Sequence[Item], by: Split, parts: Sequence[float], seed: int) -> list[Item]:
    """The same pictures under another split.

    Args:
        items: pictures.
        by: `given` leaves them as they are; `slice` draws each picture by itself, so that neighbours of one patient
            fall on both sides; `group` keeps patients and near-duplicates together.
        parts: shares of train, val and test, together 1.
        seed: what the draw follows from.

    Raises:
        ValueError: `parts` are not two or three shares of a whole.
    """
    if by == "given":
        return list(items)
    if not 2 <= len(parts) <= len(NAMES) or abs(sum(parts) - 1) > 1e-6:
        raise ValueError("parts are two or three shares of a whole")
    keys = [f"{place:06d}" if by == "slice" else f"{item.source} {item.group}" for place, item in enumerate(items)]
    unique = sorted(set(keys))
    order = np.random.default_rng(seed).permutation(len(unique))
    bounds = np.round(np.cumsum(parts) * len(unique)).astype(int)
    place = np.searchsorted(bounds, np.argsort(order), side="right")
    chosen = {key: NAMES[min(int(at), len(parts) - 1)] for key, at in zip(unique, place, strict=True)}
    return [replace(item, split=chosen[key]) for item, key in zip(items, keys, strict=True)]
