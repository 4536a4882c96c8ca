"""Which cases a person should look at first: where a network was most wrong, with what is needed to draw them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.data import Item, View, read_mask, read_plane
from models.judging import CHANNEL, Judged, Outlined, Outlining, Verdicts

EACH = 6  # cases of a kind that are drawn: missed, false, badly outlined

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One picture with outlines to draw over it."""

    part: str
    caption: str  # names the row of the table, never a patient or a file
    picture: NDArray[np.uint8]  # (h, w) or (h, w, 3)
    outlines: dict[str, Mask] = field(default_factory=dict)  # (h, w), by who drew it: reader, second reader, network


def wrong_verdicts(judged: Judged, verdicts: Verdicts) -> list[Case]:
    """The missed with the lowest probability and the false alarms with the highest, the worst first."""
    missed = np.flatnonzero(verdicts.truth & ~verdicts.positive)
    false = np.flatnonzero(~verdicts.truth & verdicts.positive)
    chosen = [
        *((place, "missed") for place in _first(missed[np.argsort(verdicts.score[missed], kind="stable")], verdicts)),
        *(
            (place, "false alarm")
            for place in _first(false[np.argsort(-verdicts.score[false], kind="stable")], verdicts)
        ),
    ]
    part = judged.part
    return [
        Case(
            part=part.name,
            caption=f"row {part.items[place].row}: {what}, probability {verdicts.chance[place]:.3f}",
            picture=read_plane(part.items[place].file, part.view),
            outlines=_readers(part.items[place]),
        )
        for place, what in chosen
    ]


def bad_outlines(outlining: Outlining, masks_of: Callable[[Item, View], NDArray[np.bool_]]) -> list[Case]:
    """The worst outlined tumours, one a patient, and the largest masks where there is none.

    Args:
        outlining: as it was compared.
        masks_of: gives the segmenter's masks of a picture once more, `(c, h, w)`.
    """
    part = outlining.part
    drawn = [one for one in outlining.rows if one.drawn]
    if part.volumes:
        order = sorted(drawn, key=lambda one: _dice(one)[1], reverse=True)  # the slice with most px wrong
    else:
        order = sorted(drawn, key=lambda one: _dice(one)[0])
    false = sorted((one for one in outlining.rows if not one.item.tumour and one.largest), key=lambda one: -one.largest)
    cases = [(one, f"Dice {_dice(one)[0]:.2f}") for one in _one_a_group(order)[:EACH]]
    cases += [(one, f"no tumour, {one.largest} px drawn") for one in _one_a_group(false)[:EACH]]
    return [_outlined(part.name, part.view, one, told, masks_of) for one, told in cases]


def _first(places: NDArray[np.intp], verdicts: Verdicts) -> list[int]:
    """The first of each group, `EACH` at most: six slices of one patient would show one mistake."""
    seen: dict[str, int] = {}
    for place in places:
        seen.setdefault(verdicts.groups[place], int(place))
    return list(seen.values())[:EACH]


def _outlined(
    part: str, view: View, one: Outlined, told: str, masks_of: Callable[[Item, View], NDArray[np.bool_]]
) -> Case:
    masks = masks_of(one.item, view)
    ours: Mask = masks[CHANNEL[one.item.definition or "core"]] if one.drawn else np.asarray(masks.any(axis=0))
    return Case(
        part=part,
        caption=f"row {one.item.row}: {told}",
        picture=read_plane(one.item.file, view),
        outlines={**_readers(one.item), "network": ours},
    )


def _readers(item: Item) -> dict[str, Mask]:
    outlines: dict[str, Mask] = {}
    if item.tumour and item.mask is not None:
        outlines["reader"] = read_mask(item.mask)
    if item.tumour and item.mask2 is not None:
        outlines["second reader"] = read_mask(item.mask2)
    return outlines


def _one_a_group(rows: Iterable[Outlined]) -> Sequence[Outlined]:
    first: dict[str, Outlined] = {}
    for one in rows:
        first.setdefault(one.item.group, one)
    return list(first.values())


def _dice(one: Outlined) -> tuple[float, int]:
    """Dice of one picture, and how many px are wrong."""
    drawn, wrong = one.drawn or 0, (one.drawn or 0) + one.found - 2 * one.common
    return 2 * one.common / max(drawn + one.found, 1), wrong
