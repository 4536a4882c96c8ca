"""The README's figures: those of the cards, which `neurobatch evaluate` measured, in two small tables."""

import json
from pathlib import Path
from typing import Any

CARDS = Path(__file__).resolve().parents[1] / "models" / "cards"
BEGIN, END = "<!-- figures: made by `python docs/pages.py` from models/cards -->", "<!-- end of figures -->"
PARTS = {
    "lgg": "low-grade glioma, T1 + FLAIR + T1 after contrast",
    "lgg-flair": "low-grade glioma, FLAIR alone",
    "t1ce": "T1 after contrast: glioma, meningioma, pituitary",
    "web": "pictures from the web",
}
TOLD = """
All were measured on the validation part of the [data](models/cards/mobilenet.md#data), split by patient, which also
chose epoch, temperature and threshold: so they flatter a little, and say nothing of other hospitals' scans. The web
pictures with and without tumour differ in size and grey levels too, so theirs say least. In brackets: 95 % intervals.

"""


def figures() -> str:
    """Both tables with what they are, as Markdown."""
    cards = {path.stem: json.loads(path.read_text()) for path in sorted(CARDS.glob("*.json"))}
    judged = [row for name in ("mobilenet", "resnet50v2") if name in cards for row in _judged(name, cards[name])]
    drawn = _drawn(cards["unet"]) if "unet" in cards else []
    return TOLD + "\n".join(
        [
            "| classifier | slices | AUC | found of those with tumour | passed of those without |",
            "|---|---|---|---|---|",
            *judged,
            "",
            "| segmentation | measured on | Dice, mean |",
            "|---|---|---|",
            *drawn,
            "",
            "Each network's [card](models/cards) has more: calibration, other thresholds, limits.",
        ]
    )


def _judged(name: str, card: dict[str, Any]) -> list[str]:
    return [
        f"| {name}: {title} | {part['pictures']:,} | {_between(part, 'auc')} | {_between(part, 'recall')} "
        f"| {_between(part, 'specificity')} |"
        for key, title in PARTS.items()
        if (part := card["parts"].get(key))
    ]


def _drawn(card: dict[str, Any]) -> list[str]:
    return [
        f"| {title} | {part['patients']} patients | {_between(part, 'dice_mean')} |"
        if "patients" in part
        else f"| {title} | {part['slices']} slices | {_between(part, 'dice_mean')} |"
        for key, title in PARTS.items()
        if (part := card["parts"].get(key))
    ]


def _between(part: dict[str, Any], name: str) -> str:
    if part.get(name) is None:
        return "–"
    low, high = part[f"{name}_95"]
    return f"{part[name]:.2f} [{low:.2f}, {high:.2f}]"


def filled(page: str) -> str:
    """A page with its figures made anew, between the two marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{figures()}\n{END}{after}"
