"""The check of odd pictures: what lies near the training pictures passes, and every engine says the same of it."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines.choice import choose
from models.engines.openvino import OpenVino
from models.engines.seam import SIDE
from models.engines.timed import Timed
from models.gaussian import Gaussian, fitted, read, write
from models.networks import NETWORKS, load, look
from models.oddness import threshold_of
from models.registry import networks, open_check, open_weights
from models.weightfile import digest
from neurobatch.codes import Code
from neurobatch.errors import Broken

CHECKED = [name for name, network in networks().items() if network.oddness is not None]
LARGEST = 300_000  # bytes of a check


def cloud(count: int, seed: int) -> NDArray[np.float64]:
    """Vectors that vary in two directions of six much more than in the others."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))[0]
    return np.asarray(3.0 + (rng.normal(size=(count, 6)) * [9, 5, 1, 1, 1, 1]) @ axes.T)


def gaussian(vectors: NDArray[np.float64], directions: int = 2) -> Gaussian:
    return fitted(vectors, np.ones(len(vectors)), directions)


def drawn() -> NDArray[np.uint8]:
    """What is no head: noise, a page with lines, a gradient, a white sheet, a chequerboard in colour."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE]
    page = np.where((y % 12 < 4) & (rng.random((SIDE, SIDE)) < 0.6), 0, 255)
    colour = np.stack([(x // 28 + y // 28) % 2 * 255, x % 256, 255 - y], axis=-1)
    grey = [rng.integers(0, 256, (SIDE, SIDE)), page, x, np.full((SIDE, SIDE), 250)]
    return np.stack([*(np.repeat(each[..., None], 3, axis=2) for each in grey), colour]).astype(np.uint8)


def test_vectors_like_those_seen_lie_near_one_and_others_far() -> None:
    seen = gaussian(cloud(4000, 1))
    assert np.sqrt(np.mean(seen.distance(cloud(2000, 2)) ** 2)) == pytest.approx(1, abs=0.05)
    along, across = seen.directions[:, 0], np.linalg.svd(seen.directions.T)[2][-1]
    near, far = (seen.mean + 3 * each * seen.scale for each in (along, across))
    assert seen.distance(far[None])[0] > 2 * seen.distance(near[None])[0]


def test_each_vector_counts_as_much_as_its_weight_says() -> None:
    vectors = cloud(50, 1)
    twice = fitted(np.concatenate([vectors, vectors[:10]]), np.ones(60), 2)
    weighted = fitted(vectors, np.where(np.arange(50) < 10, 2.0, 1.0), 2)
    assert np.allclose(twice.mean, weighted.mean)
    assert np.allclose(twice.variances, weighted.variances, rtol=1e-4)


def test_few_validation_pictures_reach_the_threshold_and_each_part_weighs_the_same() -> None:
    parts = [np.linspace(0, 1, 2000), np.linspace(0, 10, 100)]
    threshold = threshold_of(parts)
    flagged = np.mean([np.mean(part >= threshold) for part in parts])
    assert 0.004 < flagged <= 0.01


def test_a_check_is_read_as_it_was_written(tmp_path: Path) -> None:
    seen = gaussian(cloud(300, 1))
    for name in ("one.h5", "two.h5"):
        write(seen, tmp_path / name, "ab" * 32)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    again = read(tmp_path / "one.h5", "ab" * 32)
    assert np.array_equal(again.distance(cloud(5, 2)), seen.distance(cloud(5, 2)))


def test_a_check_of_other_weights_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    write(gaussian(cloud(300, 1)), tmp_path / "check.h5", "ab" * 32)
    (tmp_path / "rubbish.h5").write_bytes(b"not HDF5")
    for name, fitted_on in (("check.h5", "cd" * 32), ("rubbish.h5", "ab" * 32), ("absent.h5", "ab" * 32)):
        with pytest.raises(Broken) as refusal:
            read(tmp_path / name, fitted_on)
        assert refusal.value.code == Code.WEIGHTS_DAMAGED


def test_a_converted_network_is_made_anew_when_its_check_changes(tmp_path: Path) -> None:
    engine, weights = OpenVino(cache=tmp_path), tmp_path / "weights.h5"
    weights.write_bytes(b"weights")
    places = set()
    for content in (None, b"one", b"two"):
        check = tmp_path / "check.h5" if content else None
        if check and content:
            check.write_bytes(content)
        places.add(engine.place("mobilenet", weights, check))
    assert len(places) == 3


@pytest.mark.parametrize("name", sorted(networks()))
def test_a_shipped_check_is_small_and_was_fitted_on_the_shipped_weights(name: str) -> None:
    check, file = networks()[name].oddness, open_check(name)
    if check is None or file is None:
        assert networks()[name].pin().oddness is None
        return
    assert file.stat().st_size == check.bytes <= LARGEST
    assert hashlib.sha256(file.read_bytes()).hexdigest() == check.sha256
    read(file, digest(open_weights(name)))
    pin = networks()[name].pin().oddness
    assert pin is not None
    assert (pin.sha256, pin.threshold) == (check.sha256, check.threshold)


@pytest.mark.parametrize("name", CHECKED)
def test_a_forced_profile_has_no_check(name: str) -> None:
    network = networks()[name]
    other = "nlm-clahe" if network.profile == "plain" else "plain"
    assert network.pin(other).oddness is None


def test_the_timed_engine_finds_nothing_odd() -> None:
    predictor = Timed(seconds=0).load("mobilenet", Path(), 2, Path("check"))
    assert predictor.predict(drawn())[:, 1].tolist() == [0.0] * len(drawn())


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKED)
def test_every_engine_finds_what_is_no_head_odd_and_says_the_same_of_it(name: str, tmp_path: Path) -> None:
    weights, check, shown = open_weights(name), open_check(name), drawn()
    assert check is not None
    pin = networks()[name].pin().oddness
    assert pin is not None
    ours = choose("openvino", tmp_path).load(name, weights, 4, check).predict(shown)
    theirs = choose("tensorflow", tmp_path).load(name, weights, 4, check).predict(shown)
    assert ours.shape == (len(shown), 2)
    assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-3)
    assert (ours[:, 1] >= pin.threshold).all()
    model = load(name, weights)
    eye = keras.Model(model.input, look(model, NETWORKS[name].looks))
    vectors = keras.ops.convert_to_numpy(eye(shown.astype(np.float32), training=False))
    assert np.allclose(ours[:, 1], read(check, digest(weights)).distance(vectors), rtol=1e-3)
    plain = choose("tensorflow", tmp_path).load(name, weights, 4).predict(shown)
    assert np.allclose(theirs[:, :1], plain, rtol=1e-4, atol=1e-4)
