"""Reading sets, changing pictures, drawing batches."""

from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.augment import (
    BLUR,
    MIRROR,
    OF_CORE,
    PLACE,
    SAYS,
    SEEN,
    UNKNOWN,
    Changed,
    Ranges,
    drawn,
    one_sided,
    unchanged,
)
from models.configuring import CONFIGS, read_config
from models.data import Item, View, open_cache, read_plane
from models.sampling import Batch, Batches, Sampler
from models.sets import read_sets
from neurobatch.errors import Refused
from tests.models.labelled import head, item, write_picture, write_table


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
    write_table(
        tmp_path / "lgg" / "slices.csv",
        [
            {"patient": "a", "slice": 1, "file": "yes.png", "mask": "mask.png", "tumour_pixels": 224, "split": "train"},
            {"patient": "a", "slice": 2, "file": "no.png", "mask": "empty.png", "tumour_pixels": 0, "split": "train"},
        ],
    )
    write_table(
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
    write_table(
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


def sampler(sets: Path, **kinds: int) -> Sampler:
    rows: list[tuple[Item, View]] = [(item, "colour") for item in read_sets(sets)]
    everything = dict.fromkeys(("lgg_tumour", "lgg_healthy", "t1ce_tumour", "web_tumour", "web_healthy"), 1)
    return Sampler(open_cache(rows, "plain", 64, sets / "cache"), kinds or everything, Ranges())


def changed(batch: Batch, side: int = 64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pictures and targets as the network sees them."""
    picture, target = Changed(batch.sources.shape[1], side)([batch.sources, batch.changes])
    return keras.ops.convert_to_numpy(picture), keras.ops.convert_to_numpy(target)


def only(
    sets: Path, kind: str, seed: int = 0, count: int = 4
) -> tuple[Batch, NDArray[np.float32], NDArray[np.float32]]:
    batch = sampler(sets, **{kind: count}).batch(np.random.default_rng(seed), 64)
    return batch, *changed(batch)


def test_validation_pictures_are_never_drawn(sets: Path) -> None:
    draws = sampler(sets)
    chosen = {index for pool in draws.pools.values() for index in pool}
    assert {draws.cache.items[index].split for index in chosen} == {"train"}


def test_an_outline_tells_of_its_own_definition_everywhere_and_of_the_other_what_follows(sets: Path) -> None:
    around, core = np.moveaxis(only(sets, "t1ce_tumour")[2], 3, 0)
    assert set(np.unique(core)) == {0, 1}
    assert (around == core).all()
    assert not only(sets, "lgg_healthy")[2].any()


def test_no_core_lies_beyond_an_outlined_abnormality(sets: Path) -> None:
    abnormality, core = np.moveaxis(only(sets, "lgg_tumour", count=8)[2], 3, 0)
    told = abnormality >= 0  # all but pictures on which the abnormality cannot be seen
    assert set(np.unique(abnormality[told])) == {0, 1}
    assert (core[abnormality == 0] == 0).all()
    assert (core[abnormality == 1] == UNKNOWN).all()


def test_a_mirrored_slice_has_no_tumour_and_the_head_stays(sets: Path) -> None:
    batch, pictures, targets = only(sets, "t1ce_mirrored")
    assert not batch.tumour.any()
    assert not targets.any()
    assert (pictures > 20).mean() > 0.1


def test_a_healthy_slice_near_a_tumour_is_told_from_others(sets: Path) -> None:
    near = sampler(sets, lgg_near=1)
    assert [near.cache.items[index].number for index in near.pools["lgg_near"]] == [2]


def test_each_patient_is_as_likely_however_many_slices_there_are_or_each_slice(sets: Path, tmp_path: Path) -> None:
    rows: list[tuple[Item, View]] = []
    for number in range(10):
        file = write_picture(tmp_path / f"{number}.png", head())
        group = "many" if number else "one"
        rows.append((replace(item(group, tumour=True), file=tmp_path / file, split="train"), "colour"))
    cache = open_cache(rows, "plain", 64, tmp_path / "cache")
    for alike, least, most in ((True, 430, 570), (False, 60, 140)):
        draws = Sampler(cache, {"lgg_tumour": 1}, Ranges(), alike=alike)
        rng = np.random.default_rng(0)
        drawn_rows = [draws.row("lgg_tumour", rng) for _ in range(1000)]
        assert least < drawn_rows.count(0) < most
        assert set(drawn_rows) == set(range(10))


def test_a_missing_sequence_of_a_composite_is_flair_and_levels_differ(sets: Path) -> None:
    batch = sampler(sets, lgg_healthy=400).batch(np.random.default_rng(0), 64)
    seen = batch.changes[:, SEEN].reshape(-1, 3, 3)
    composites = seen[(seen.max(axis=1) != 1).all(axis=1)]
    assert 80 < len(composites) < 200  # the others are a sequence alone, at the levels that it has
    assert (np.count_nonzero(composites, axis=1) == 1).all()  # each channel shows one sequence
    pre, flair, post = (composites[:, :, channel].argmax(axis=1) for channel in range(3))
    assert set(pre) == {0, 1}
    assert set(flair) == {1}
    assert set(post) == {2, 1}
    levels = composites.max(axis=1)
    assert levels.min() >= 0.7 - 1e-6
    assert levels.max() <= 1.3 + 1e-6
    assert levels.std(axis=1).max() > 0.1


@pytest.mark.parametrize("name", ["idea-one-mobilenet", "idea-one-unet"])
def test_an_idea_without_augmentation_sees_composites_as_they_are(name: str, sets: Path) -> None:
    config = read_config(CONFIGS / f"{name}.toml", data=sets, out=sets)
    rows: list[tuple[Item, View]] = [(item, "colour") for item in read_sets(sets)]
    cache = open_cache(rows, "plain", 64, sets / "cache")
    draws = Sampler(cache, {"lgg_healthy": 400}, config.ranges, alike=config.alike)
    seen = draws.batch(np.random.default_rng(0), 64).changes[:, SEEN].reshape(-1, 3, 3)
    composites = seen[np.count_nonzero(seen.any(axis=2), axis=1) > 1]
    assert len(composites) > 80
    assert (composites == np.eye(3)).all()


def test_a_batch_follows_from_seed_and_number_alone(sets: Path) -> None:
    def batch(seed: int, index: int) -> NDArray[np.float32]:
        given = Batches(sampler(sets), seed=[seed, 0], steps=3, side=64)[index][0]
        return given["changes"].astype(np.float32)

    assert np.array_equal(batch(1, 2), batch(1, 2))
    assert not np.array_equal(batch(1, 2), batch(1, 1))
    assert not np.array_equal(batch(1, 2), batch(2, 2))


def sources(picture: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    colour = picture if picture.ndim == 3 else np.dstack([picture] * 3)
    return np.dstack([colour, mask])[None]


def test_what_shall_not_change_does_not(sets: Path) -> None:
    rng = np.random.default_rng(0)
    given = rng.integers(0, 256, (2, 40, 40, 4), np.uint8)
    numbers = unchanged(2)
    numbers[:, SAYS] = OF_CORE
    picture, target = changed(Batch(sources=given, changes=numbers, tumour=np.ones(2, bool)), 40)
    assert np.abs(picture - given[..., :3]).max() < 0.05
    assert np.array_equal(target[..., 0], given[..., 3] > 127)


def test_the_device_moves_pictures_as_opencv_does() -> None:
    picture = np.dstack([head(), head() // 2, head() // 3])
    numbers = unchanged(1)
    numbers[:, PLACE] = drawn(np.random.default_rng(7), 1, 96, 64, Ranges())[:, PLACE]
    given = Batch(sources=sources(picture, head()), changes=numbers, tumour=np.ones(1, bool))
    back = numbers[0, PLACE].reshape(2, 3).astype(np.float64)
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    expected = cv2.warpAffine(picture, back, (64, 64), flags=how).astype(np.float32)
    assert np.abs(changed(given)[0][0] - expected).mean() < 0.5


def test_a_sequence_is_seen_alone_in_all_channels(sets: Path) -> None:
    picture = np.dstack([head(), head() // 2, head() // 3])
    numbers = unchanged(1)
    numbers[:, SEEN] = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0]], np.float32).ravel()
    seen = changed(Batch(sources=sources(picture, head()), changes=numbers, tumour=np.ones(1, bool)), 96)[0]
    assert np.abs(seen[0] - (head() // 2)[:, :, None]).max() < 0.05


def test_half_of_a_head_replaces_the_other() -> None:
    mask = np.zeros((96, 96), np.uint8)
    mask[40:50, 20:30] = 255
    middle, half = one_sided(mask, np.dstack([head()] * 3))
    assert half == -1
    outlines = {}
    for side in (-1, 1):
        numbers = unchanged(1)
        numbers[:, MIRROR], numbers[:, SAYS] = (middle, side), OF_CORE
        given = Batch(sources=sources(head(), mask), changes=numbers, tumour=np.ones(1, bool))
        picture, target = changed(given, 96)
        outlines[side] = int(target[..., 1].sum())
        assert abs(int((picture[0, :, :, 0] > 1).sum()) - int((head() > 0).sum())) < 0.05 * (head() > 0).sum()
    assert outlines == {-1: 0, 1: 200}


def test_a_blur_keeps_the_mean_and_takes_the_edge_off() -> None:
    numbers = unchanged(1)
    numbers[:, BLUR] = 1.0
    given = Batch(sources=sources(head(), head()), changes=numbers, tumour=np.ones(1, bool))
    blurred = changed(given, 96)[0][0, :, :, 0]
    reference = cv2.GaussianBlur(head().astype(np.float32), (5, 5), 1.0)
    assert np.abs(blurred - reference).max() < 0.1


def test_a_grey_picture_stays_grey() -> None:
    numbers = drawn(np.random.default_rng(1), 20, 96, 64, Ranges())
    given = np.repeat(sources(head(), head()), 20, axis=0)
    pictures = changed(Batch(sources=given, changes=numbers, tumour=np.ones(20, bool)))[0]
    assert np.abs(pictures[..., 0] - pictures[..., 2]).max() < 1e-3
    assert pictures.min() >= 0
    assert pictures.max() <= 255
