"""Reading sets, changing pictures, drawing batches."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from models.augment import Ranges, mirrored, one_sided, pose, posed, toned
from models.data import Item, View, open_cache, read_plane
from models.sampling import UNKNOWN, Batches, Sampler
from models.sets import read_sets
from neurobatch.errors import Refused


def head(side: int = 96) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.where((y / 1.2) ** 2 + x**2 < (side * 0.35) ** 2, 90, 0).astype(np.uint8)


def table(file: Path, rows: list[dict[str, object]]) -> None:
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A set of each layout: two LGG slices, two T1ce slices, two web pictures."""
    lesion = np.zeros((96, 96), np.uint8)
    lesion[40:56, 20:34] = 255
    for name in ("lgg", "t1ce", "web"):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "mask.png"), lesion)
        cv2.imwrite(str(tmp_path / name / "empty.png"), lesion * 0)
        picture = head() + lesion // 4
        colour = np.dstack([picture // 2, picture, picture // 3])  # blue after, green FLAIR, red before
        cv2.imwrite(str(tmp_path / name / "yes.png"), colour if name == "lgg" else picture)
        cv2.imwrite(str(tmp_path / name / "no.png"), np.dstack([head()] * 3) if name == "lgg" else head())
    table(
        tmp_path / "lgg" / "slices.csv",
        [
            {"patient": "a", "slice": 1, "file": "yes.png", "mask": "mask.png", "tumour_pixels": 224, "split": "train"},
            {"patient": "a", "slice": 2, "file": "no.png", "mask": "empty.png", "tumour_pixels": 0, "split": "train"},
        ],
    )
    table(
        tmp_path / "t1ce" / "slices.csv",
        [
            {
                "n": n,
                "patient": "b",
                "class": "glioma",
                "file": "yes.png",
                "mask": "mask.png",
                "tumour_pixels": 224,
                "split": split,
                "plane": "axial",
                "mask2": "",
            }
            for n, split in ((1, "train"), (2, "val"))
        ],
    )
    table(
        tmp_path / "web" / "images.csv",
        [
            {
                "file": f"{label}.png",
                "label": label,
                "source": "navoneel",
                "group": label,
                "split": "train",
                "mask": "mask.png" if label == "yes" else "",
                "note": "",
            }
            for label in ("yes", "no")
        ],
    )
    return tmp_path


def test_a_view_is_the_channel_of_its_sequence(sets: Path) -> None:
    centre = {view: int(read_plane(sets / "lgg" / "yes.png", view)[48, 48]) for view in VIEWS}
    assert centre == {"pre": 90 // 3, "flair": 90, "post": 90 // 2}


VIEWS: tuple[View, ...] = ("pre", "flair", "post")


def test_a_cache_is_filled_once_and_told_apart_by_profile(sets: Path, tmp_path: Path) -> None:
    rows: list[tuple[Item, View]] = [(item, "colour") for item in read_sets(sets)]
    first = open_cache(rows, "plain", 64, tmp_path / "cache")
    (sets / "lgg" / "yes.png").unlink()
    again = open_cache(rows, "plain", 64, tmp_path / "cache")
    assert np.array_equal(first.pictures, again.pictures)
    with pytest.raises(Refused):
        open_cache(rows, "nlm-clahe", 64, tmp_path / "cache")


def sampler(sets: Path) -> Sampler:
    rows: list[tuple[Item, View]] = [(item, "colour") for item in read_sets(sets)]
    kinds = {"lgg_tumour": 2, "lgg_healthy": 1, "t1ce_tumour": 1, "t1ce_mirrored": 1, "web_tumour": 1, "web_healthy": 1}
    return Sampler(open_cache(rows, "plain", 64, sets / "cache"), kinds, Ranges())


def test_validation_pictures_are_never_drawn(sets: Path) -> None:
    drawn = sampler(sets)
    chosen = {index for pool in drawn.pools.values() for index in pool}
    assert {drawn.cache.items[index].split for index in chosen} == {"train"}


def test_an_outline_tells_of_its_own_definition_everywhere_and_of_the_other_what_follows(sets: Path) -> None:
    drawn, rng = sampler(sets), np.random.default_rng(0)
    around, core = np.moveaxis(drawn.draw("t1ce_tumour", rng, 64).target, 2, 0)
    assert set(np.unique(core)) == {0, 1}
    assert (around == core).all()
    assert not drawn.draw("lgg_healthy", rng, 64).target.any()


def test_no_core_lies_beyond_an_outlined_abnormality(sets: Path) -> None:
    drawn = sampler(sets)
    for seed in range(5):
        abnormality, core = np.moveaxis(drawn.draw("lgg_tumour", np.random.default_rng(seed), 64).target, 2, 0)
        assert set(np.unique(abnormality)) == {0, 1}
        assert (core[abnormality == 0] == 0).all()
        assert (core[abnormality == 1] == UNKNOWN).all()


def test_a_mirrored_slice_has_no_tumour_and_the_head_stays(sets: Path) -> None:
    example = sampler(sets).draw("t1ce_mirrored", np.random.default_rng(1), 64)
    assert not example.tumour
    assert not example.target.any()
    assert (example.picture > 20).mean() > 0.1


def test_a_batch_follows_from_seed_and_number_alone(sets: Path) -> None:
    def batch(seed: int, index: int) -> NDArray[np.float32]:
        return Batches(sampler(sets), seed=seed, epoch=0, steps=3, side=64, outlines=False)[index][0]

    assert np.array_equal(batch(1, 2), batch(1, 2))
    assert not np.array_equal(batch(1, 2), batch(1, 1))
    assert not np.array_equal(batch(1, 2), batch(2, 2))


def test_half_of_a_head_replaces_the_other() -> None:
    picture, mask = np.dstack([head()] * 3), np.zeros((96, 96), np.uint8)
    mask[40:50, 20:30] = 255
    assert one_sided(mask, picture) == "left"
    kept, twice = mirrored(picture, mask, keep_left=True)
    assert np.count_nonzero(twice) == 2 * np.count_nonzero(mask)
    healthy, none = mirrored(picture, mask, keep_left=False)
    assert not none.any()
    for made in (kept, healthy):
        assert abs(int((made > 0).sum()) - int((picture > 0).sum())) < 0.05 * (picture > 0).sum()


def test_picture_and_outline_move_together() -> None:
    rng = np.random.default_rng(5)
    picture = head()
    matrix = pose(rng, 96, 128, Ranges())
    moved, outline = posed(picture, matrix, 128) > 45, posed((picture > 0).astype(np.uint8) * 255, matrix, 128) > 127
    assert np.count_nonzero(moved ^ outline) < 0.01 * np.count_nonzero(outline)


def test_a_grey_picture_stays_grey() -> None:
    grey = np.dstack([head()] * 3)
    for seed in range(20):
        changed = toned(grey, np.random.default_rng(seed), Ranges())
        assert np.array_equal(changed[:, :, 0], changed[:, :, 2])
