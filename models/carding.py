"""Model cards: written from the evaluation's figures, never by hand.

What a card says follows CLAIM (Tejani et al., Radiology: Artificial Intelligence 6(4) e240300, 2024) and the example of
a card in the FDA's draft guidance on AI-enabled device software functions (January 2025).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.bfloat16_card import bfloat16_section
from models.oddness_card import section
from models.plots import reliability
from models.registry import CARDS, Network
from models.series_card import series_section
from models.summary import as_json, as_markdown, tables, title_of
from neurobatch.codes import DISCLAIMER

TITLES = {
    "mobilenet": "MobileNet classifier: tumour on a slice",
    "resnet50v2": "ResNet50V2 classifier: tumour on a slice",
    "unet": "MobileNetV2-U-Net: where the tumour is",
}
ARCHITECTURES = {
    "mobilenet": "MobileNet (Howard et al., arXiv 1704.04861), pretrained on ImageNet, one logit",
    "resnet50v2": "ResNet50V2 (He et al., ECCV 2016), pretrained on ImageNet, one logit",
    "unet": "U-Net on a MobileNetV2 (Sandler et al., CVPR 2018) pretrained on ImageNet, two maps",
}
LEFT_TO_JSON = ("roc", "precision_recall")  # curves, far longer than all figures together: `evaluate --json` gives them

SECTIONS = ("training", "oddness", "bfloat16")  # of a card's figures: what evaluating anew does not measure

TEXT = """# {title}

{disclaimer}

| | |
|---|---|
| what | {architecture} |
| weights | `{file}`, {megabytes:.1f} MB, float16, sha256 `{sha256}` |
| input | {size}×{size}×3 grey levels, profile `{profile}` |
| output | {output} |
| licence of the weights | {licence} |
| measured with | {engine}, {precision}, {processor} |
| trained with | `models/configs/{configuration}`, seed {seed} |

## Intended use

- For: {purpose}.
- By: researchers, and readers of MR who look at every scan anyway. It sorts and points; a person decides.
- On: slices of adults' heads on MR (pictures, DICOM, NIfTI), axial most of all: FLAIR, T1 after contrast, or three
  sequences as one colour picture.
- Not for: ruling a tumour out, telling kinds of tumour apart, measuring growth, planning treatment, children, other
  organs, CT.

## Data

Trained on the training part of three sets, chosen by patient or by group of near-duplicates; measured on their
validation part, which also chose the epoch{calibrated}, so the figures are a little flattered.

- LGG: Buda et al., Computers in Biology and Medicine 109 (2019), TCGA-LGG; FLAIR abnormality outlined; CC BY-NC-SA 4.0.
- T1 after contrast: Cheng et al., PLoS ONE 10(10) e0140381 (2015); every slice has a tumour; CC BY 4.0. Healthy slices
  of this look were made for training by mirroring the half of the head without tumour.
- Web pictures: the 253-image set, a four-class set without the slices above, healthy slices of BRISC 2025; labels
  partly doubtful, licences mostly not stated.

The truth is what the sets' readers drew or wrote, not a biopsy: one reader for most, two for most slices after
contrast. Age, sex, origin, scanner and field strength are known for none of the sets in whole, so nothing is measured
by them. Where tumours are rarer than in these sets, precision is lower than here.

## Figures on the validation part

{figures}
{more}
{series}{odd}{rounded}## Limits and risks

- Nothing is known of children, of other lesions (metastases, abscess, infarct, multiple sclerosis), of treated brains,
  of low fields or of other sequences than those above. Most of what was learnt of healthy slices comes from patients
  who have a tumour on other slices.
- Any picture gets an answer from the network itself, also one that shows no brain.
- A missed tumour may calm a reader who trusts the finding; a false alarm costs time and worry.
- Web pictures with and without tumour differ in size and grey levels, so figures on them say least.

## In use

- `neurobatch evaluate {name} --data FOLDER` measures it on a set of one's own, and `neurobatch evaluate --batch ID
  --labels FILE` compares a finished batch with labels: do so before relying on it, and again when scanners or
  protocols change.
- {threshold}
- A network never learns from what it judges. Another weight file has another digest, and a card of its own.
"""


def write_card(network: Network, figures: Mapping[str, Any], folder: Path = CARDS) -> Path:
    """Write `{name}.json`, `{name}.md` and the calibration plot from the figures that `evaluate` gave."""
    kept = {**figures, "parts": {name: _kept(part) for name, part in figures["parts"].items()}}
    (folder / f"{network.name}.json").write_text(as_json(kept), encoding="utf-8")
    reliability(figures["parts"], folder / _plot(network))
    file = folder / f"{network.name}.md"
    file.write_text(card_text(network, kept), encoding="utf-8")
    return file


def put_on_card(network: Network, what: str, found: Mapping[str, Any]) -> None:
    """Put what was measured besides (`SECTIONS`) on a shipped network's card, and leave the rest of it as it is."""
    card = CARDS / f"{network.name}.json"
    figures = json.loads(card.read_text(encoding="utf-8")) | {what: found}
    card.write_text(as_json(figures), encoding="utf-8")
    network.card.write_text(card_text(network, figures), encoding="utf-8")


def card_text(network: Network, figures: Mapping[str, Any]) -> str:
    """The card as Markdown; the same figures give the same text."""
    classifies = network.kind == "classifier"
    shown = [f"### {table.title}\n\n{as_markdown(table)}" for table in tables(figures)]
    return TEXT.format(
        name=network.name,
        title=TITLES[network.name],
        architecture=ARCHITECTURES[network.name],
        disclaimer=DISCLAIMER,
        file=network.file,
        megabytes=network.bytes / 1e6,
        sha256=network.sha256,
        size=network.size,
        profile=network.profile,
        licence=network.licence,
        output=_classifier_output(network) if classifies else _segmenter_output(network),
        purpose=_PURPOSES[network.kind],
        engine=figures["engine"],
        precision=figures["precision"],
        processor=figures["processor"],
        configuration=figures["training"]["configuration"],
        seed=figures["training"]["seed"],
        calibrated=", the temperature and the threshold" if classifies else "",
        figures="\n\n".join(shown),
        more=_calibration(network) + _false_slices(figures["parts"]) if classifies else "",
        series=_series(network),
        odd=section(figures),
        rounded=bfloat16_section(figures),
        threshold=_THRESHOLDS[network.kind],
    )


_PURPOSES = {
    "classifier": "a probability that a slice shows a tumour, to sort what a qualified person reads",
    "segmenter": "an outline of where a tumour may be, to point a qualified reader at it",
}
_THRESHOLDS = {
    "classifier": "A site may set a threshold of its own (`NEUROBATCH_THRESHOLD`); results then say that it is not "
    "this card's.",
    "segmenter": "Its threshold is the same everywhere; small specks may be false.",
}


def _plot(network: Network) -> str:
    return f"{network.name}-reliability.png"


def _series(network: Network) -> str:
    """The section on series, and an empty line behind it; nothing where no rule is fitted to this network."""
    text = series_section(network.name)
    return f"{text}\n\n" if text else ""


def _kept(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in LEFT_TO_JSON}


def _classifier_output(network: Network) -> str:
    return (
        f"one logit; probability = logistic(logit / {network.temperature}); positive from {network.threshold}; "
        f"to be reviewed between {network.review_low} and {network.review_high}"
    )


def _segmenter_output(network: Network) -> str:
    channels = "; ".join(f"channel {number}: {meaning}" for number, meaning in enumerate(network.channels))
    return f"a probability a pixel, tumour from {network.threshold}; {channels}"


def _calibration(network: Network) -> str:
    return (
        "\n### Calibration\n\nHow often there is a tumour where the calibrated probability says so; the larger a dot, "
        "the\nmore pictures. Parts in which all or none have a tumour are left out.\n\n"
        f"![Reliability of {network.name} by part]({_plot(network)})\n\n"
    )


def _false_slices(parts: Mapping[str, Any]) -> str:
    lines = ["### Slices without tumour of patients with one, called positive", ""]
    for name, figures in parts.items():
        healthy = figures.get("healthy_slices")
        if healthy:
            runs = ", ".join(map(str, healthy["longest_false_run_by_patient"]))
            lines.append(
                f"- {title_of(name)}: {healthy['false_rate_mean']:.3f} of them on the mean over "
                f"{healthy['patients']} patients; longest runs of neighbours by patient: {runs}."
            )
    return "\n".join([*lines, ""])
