"""Model cards: written from the evaluation's figures, never by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.oddness_card import section
from models.registry import CARDS, Network
from neurobatch.codes import DISCLAIMER

TITLES = {
    "mobilenet": "MobileNet classifier: tumour on a slice",
    "resnet50v2": "ResNet50V2 classifier: tumour on a slice",
    "unet": "MobileNetV2-U-Net: where the tumour is",
}
PARTS = {
    "lgg": "LGG, composite of three sequences",
    "lgg-flair": "LGG, FLAIR alone",
    "t1ce": "T1 after contrast",
    "navoneel": "web, 253-image set",
    "sartaj": "web, four-class set",
    "brisc": "web, healthy (BRISC)",
    "web": "web, all three",
}
CLASSIFIER_COLUMNS = (
    ("auc", "AUC"),
    ("accuracy", "accuracy"),
    ("recall", "recall"),
    ("specificity", "specificity"),
    ("ece", "ECE"),
    ("needs_review", "in review band"),
)
OUTLINE_COLUMNS = (("dice_mean", "Dice, mean"), ("dice_median", "Dice, median"), ("iou_mean", "IoU, mean"))

TEXT = """# {title}

{disclaimer}

| | |
|---|---|
| weights | `{file}`, {megabytes:.1f} MB, float16, sha256 `{sha256}` |
| input | {size}×{size}×3 grey levels, profile `{profile}` |
| output | {output} |
| licence of the weights | {licence} |
| measured with | {engine}, {precision}, {processor} |
| trained with | `models/configs/{configuration}`, seed {seed} |

## Data

Trained on the training part of three sets, chosen by patient or by group of near-duplicates; measured on their
validation part, which also chose the epoch{calibrated}, so the figures are a little flattered.

- LGG: Buda et al., Computers in Biology and Medicine 109 (2019), TCGA-LGG; FLAIR abnormality outlined; CC BY-NC-SA 4.0.
- T1 after contrast: Cheng et al., PLoS ONE 10(10) e0140381 (2015); every slice has a tumour; CC BY 4.0. Healthy slices
  of this look were made for training by mirroring the half of the head without tumour.
- Web pictures: the 253-image set, a four-class set without the slices above, healthy slices of BRISC 2025; labels
  partly doubtful, licences mostly not stated.

## Figures on the validation part

In brackets the 95 % interval by bootstrap over patients or groups.

{table}

{more}

{odd}## Limits

- Adults' heads on MR with glioma, meningioma or pituitary tumour; nothing is known of children, of other lesions
  (metastases, abscess, infarct, multiple sclerosis), of treated brains, of low fields or of other sequences than those
  above. Most of what was learnt of healthy slices comes from patients who have a tumour on other slices.
- Any picture gets an answer, also one that shows no brain.
- Meant for research and for sorting what a qualified person reads anyway, never for ruling a tumour out.
"""


def write_card(network: Network, figures: Mapping[str, Any], folder: Path = CARDS) -> Path:
    """Write `{name}.md` from the figures that `evaluate` gave."""
    file = folder / f"{network.name}.md"
    file.write_text(card_text(network, figures), encoding="utf-8")
    return file


def card_text(network: Network, figures: Mapping[str, Any]) -> str:
    """The card as Markdown; the same figures give the same text."""
    classifies = network.kind == "classifier"
    return TEXT.format(
        title=TITLES[network.name],
        disclaimer=DISCLAIMER,
        file=network.file,
        megabytes=network.bytes / 1e6,
        sha256=network.sha256,
        size=network.size,
        profile=network.profile,
        licence=network.licence,
        output=_classifier_output(network) if classifies else _segmenter_output(network),
        engine=figures["engine"],
        precision=figures["precision"],
        processor=figures["processor"],
        configuration=figures["training"]["configuration"],
        seed=figures["training"]["seed"],
        calibrated=", the temperature and the threshold" if classifies else "",
        table=_table(figures["parts"], CLASSIFIER_COLUMNS if classifies else OUTLINE_COLUMNS),
        more=_false_slices(figures["parts"]) if classifies else _false_masks(figures["parts"]),
        odd=section(figures),
    )


def _classifier_output(network: Network) -> str:
    return (
        f"one logit; probability = logistic(logit / {network.temperature}); positive from {network.threshold}; "
        f"to be reviewed between {network.review_low} and {network.review_high}"
    )


def _segmenter_output(network: Network) -> str:
    channels = "; ".join(f"channel {number}: {meaning}" for number, meaning in enumerate(network.channels))
    return f"a probability a pixel, tumour from {network.threshold}; {channels}"


def _table(parts: Mapping[str, Any], columns: tuple[tuple[str, str], ...]) -> str:
    lines = [
        "| part | pictures | " + " | ".join(title for _, title in columns) + " |",
        "|---|---" + "|---" * len(columns) + "|",
    ]
    for name, figures in parts.items():
        cells = [_cell(figures, key) for key, _ in columns]
        if any(cell != "–" for cell in cells):
            lines.append(f"| {PARTS.get(name, name)} | {_count(figures)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _count(figures: Mapping[str, Any]) -> str:
    if "pictures" in figures:
        return f"{figures['pictures']} ({figures['tumour']} with tumour)"
    return f"{figures['patients']} patients" if "patients" in figures else f"{figures.get('slices', 0)} outlined"


def _cell(figures: Mapping[str, Any], key: str) -> str:
    value, interval = figures.get(key), figures.get(f"{key}_95")
    if value is None:
        return "–"
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _balances(parts: Mapping[str, Any]) -> list[str]:
    """Recall and specificity at other thresholds."""
    thresholds = next(iter(parts.values()))["by_threshold"]
    lines = [
        "Recall / specificity at other thresholds:",
        "",
        "| part | " + " | ".join(thresholds) + " |",
        "|---" * (len(thresholds) + 1) + "|",
    ]
    for name, figures in parts.items():
        cells = (f"{_short(at['recall'])} / {_short(at['specificity'])}" for at in figures["by_threshold"].values())
        lines.append(f"| {PARTS.get(name, name)} | " + " | ".join(cells) + " |")
    return lines


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _false_slices(parts: Mapping[str, Any]) -> str:
    lines = [*_balances(parts), "", "Slices without tumour of patients with one, called positive:", ""]
    for name, figures in parts.items():
        healthy = figures.get("healthy_slices")
        if healthy:
            runs = ", ".join(map(str, healthy["longest_false_run_by_patient"]))
            lines.append(
                f"- {PARTS.get(name, name)}: {healthy['false_rate_mean']:.3f} of them on the mean over "
                f"{healthy['patients']} patients; longest runs of neighbours by patient: {runs}."
            )
    return "\n".join(lines)


def _false_masks(parts: Mapping[str, Any]) -> str:
    lines = ["Pictures without tumour that get a mask, by its least size in px of the picture:", ""]
    for name, figures in parts.items():
        if figures.get("healthy"):
            rates = ", ".join(f"{px} px: {rate:.3f}" for px, rate in figures["false_mask_rate_by_px"].items())
            lines.append(f"- {PARTS.get(name, name)} ({figures['healthy']} pictures): {rates}.")
    readers = parts.get("t1ce", {}).get("dice_with_second_reader")
    if readers is not None:
        lines += ["", f"On T1 after contrast the mean Dice with the second reader's outlines is {readers:.3f}."]
    return "\n".join(lines)
