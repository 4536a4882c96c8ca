"""Phantoms have the brightness, size and sharpness that clinical pictures have, since networks learnt from those."""

import csv
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from phantom import anatomy
from phantom.lesions import LesionKind
from phantom.scan import Scan
from phantom.scanner import to_uint8
from phantom.sequences import Look, Sequence, brightness
from phantom.tissues import Tissue, share_of

Picture = npt.NDArray[np.uint8]  # (h, w)


def of(seed: int, look: Look, lesion: LesionKind | None = None) -> tuple[Picture, npt.NDArray[np.bool_]]:
    """A picture's (first or FLAIR) channel, and where its lesion is."""
    scan = Scan.draw(seed, look=look, lesion=lesion or False)
    image = scan.image(scan.best_level())
    return to_uint8(image.channels[len(image.channels) // 2]), image.mask > 0


def figures(picture: Picture, ill: npt.NDArray[np.bool_]) -> tuple[float, float, float, float, float]:
    """Brightness of the brain, of the scalp and of the lesion (of the brain's), the head's height, and sharpness."""
    head = (cv2.GaussianBlur(picture, (0, 0), 2) > 18).astype(np.uint8)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(head)
    left, top, width, height, _ = boxes[1 + int(np.argmax(boxes[1:, 4]))]
    row, column = top + height // 2, left + width // 2
    middle = np.s_[row - height // 4 : row + height // 4, column - width // 4 : column + width // 4]
    brain = float(np.median(picture[middle][~ill[middle]]))
    scalp = float(np.percentile(picture[top : top + height, left : left + width], 98))
    lesion = float(np.median(picture[ill])) / brain if ill.any() else 1.0
    edges = float(cv2.Laplacian(picture.astype(np.float64), cv2.CV_64F)[middle].std()) / brain
    return brain, scalp, lesion, float(height), edges


def middle_slices(folder: Path) -> list[tuple[Picture, npt.NDArray[np.bool_]]]:
    """The FLAIR channel of one slice of each patient of the set of low-grade gliomas, a little above the middle."""
    patients: dict[str, list[dict[str, str]]] = defaultdict(list)
    with (folder / "slices.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            patients[row["patient"]].append(row)
    chosen = [rows[int(0.62 * len(rows))] for rows in patients.values()]
    pairs = [(cv2.imread(str(folder / row["file"])), cv2.imread(str(folder / row["mask"]), 0)) for row in chosen]
    return [
        (np.asarray(picture[..., 1], np.uint8), np.asarray(mask) > 0)
        for picture, mask in pairs
        if picture is not None and mask is not None
    ]


def test_phantoms_are_like_clinical_flair_pictures_in_what_a_network_sees(test_data: Path) -> None:
    real = np.array([figures(*each) for each in middle_slices(test_data / "lgg")])
    ours = np.array([figures(*of(seed, Look.COMPOSITE, LesionKind.GLIOMA)) for seed in range(24)])
    low, high = np.percentile(real, [5, 95], axis=0)
    middle = np.median(ours, axis=0)
    assert ((low < middle) & (middle < high)).all(), (low, middle, high)


@pytest.mark.parametrize("look", [Look.FLAIR, Look.T2, Look.T1CE])
def test_the_background_is_dark_and_only_noise(look: Look) -> None:
    for seed in range(4):
        corner = of(seed, look)[0][:16, :16]
        assert corner.mean() < 8
        assert 0 < corner.std() < 6


@pytest.mark.parametrize(
    ("look", "kind"),
    [(Look.FLAIR, LesionKind.GLIOMA), (Look.T2, LesionKind.GLIOBLASTOMA), (Look.T1CE, LesionKind.MENINGIOMA)],
)
def test_a_lesion_stands_out_of_the_brain(look: Look, kind: LesionKind) -> None:
    for seed in range(6):
        assert figures(*of(seed, look, kind))[2] > 1.25


def test_tissues_have_the_contrast_that_their_sequence_is_known_for() -> None:
    def order(sequence: Sequence, *tissues: Tissue) -> bool:
        values = [brightness(tissue, sequence) for tissue in tissues]
        return values == sorted(values) and len(set(values)) == len(values)

    assert order(Sequence.T1, Tissue.BONE, Tissue.CSF, Tissue.GREY, Tissue.WHITE, Tissue.FAT)
    assert order(Sequence.T2, Tissue.BONE, Tissue.WHITE, Tissue.GREY, Tissue.OEDEMA, Tissue.CSF)
    assert order(Sequence.FLAIR, Tissue.CSF, Tissue.WHITE, Tissue.GREY, Tissue.OEDEMA)
    assert order(Sequence.PD, Tissue.BONE, Tissue.WHITE, Tissue.GREY)
    assert order(Sequence.T1CE, Tissue.NECROSIS, Tissue.WHITE, Tissue.ENHANCING)


def test_a_head_has_the_tissues_of_a_head_in_plausible_amounts() -> None:
    for seed in range(6):
        scan = Scan.draw(seed, look=Look.T1, lesion=False)
        section = anatomy.cut(scan.subject, scan.plane(18.0))
        area = {
            tissue: share_of(section.layers, {tissue}, section.inside.shape).sum() * scan.pitch**2 / 100
            for tissue in (Tissue.GREY, Tissue.WHITE, Tissue.CSF)
        }  # cm²
        brain = sum(area.values())
        assert 120 < brain < 215  # a cavity of 130 x 160 to 145 x 185 mm
        assert 0.25 < area[Tissue.GREY] / brain < 0.6
        assert 0.28 < area[Tissue.WHITE] / brain < 0.75
        assert 0.04 < area[Tissue.CSF] / brain < 0.3


def test_heads_differ_in_size_and_shape() -> None:
    heights = [figures(*of(seed, Look.T1))[3] for seed in range(12)]
    assert max(heights) - min(heights) > 15
