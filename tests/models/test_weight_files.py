"""Weight files hold numbers and nothing else; the registry knows each by its digest."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from models import registry
from models.registry import networks, open_weights
from models.weightfile import check, shrink
from neurobatch.codes import Code
from neurobatch.errors import Broken

MEGABYTE = 1_000_000
LARGEST = {"mobilenet": 20, "unet": 20, "resnet50v2": 50}  # MB


def weights(file: Path) -> Path:
    with h5py.File(file, "w") as content:
        content.create_dataset("layers/conv/vars/0", data=np.linspace(-1, 1, 100, dtype=np.float32))
        content.create_dataset("optimizer/vars/0", data=np.ones(3, np.float32))
    return file


def test_a_shipped_file_is_half_as_precise_and_has_no_optimiser(tmp_path: Path) -> None:
    shrink(weights(tmp_path / "trained.h5"), tmp_path / "shipped.h5")
    with h5py.File(tmp_path / "shipped.h5") as content:
        assert list(content) == ["layers"]
        assert content["layers/conv/vars/0"].dtype == np.float16


def test_the_same_weights_give_the_same_file(tmp_path: Path) -> None:
    source = weights(tmp_path / "trained.h5")
    for name in ("one.h5", "two.h5"):
        shrink(source, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_weight_too_large_for_half_precision_is_not_shipped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "trained.h5", "w") as content:
        content["layers/vars/0"] = np.full(4, 1e6, np.float32)
    with pytest.raises(ValueError, match="does not fit float16"):
        shrink(tmp_path / "trained.h5", tmp_path / "shipped.h5")


def test_links_objects_and_rubbish_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "link.h5", "w") as content:
        content["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    with h5py.File(tmp_path / "text.h5", "w") as content:
        content["layers"] = "os.system('true')"
    (tmp_path / "rubbish.h5").write_bytes(b"not HDF5")
    check(weights(tmp_path / "good.h5"))
    for name in ("link.h5", "text.h5", "rubbish.h5", "absent.h5"):
        with pytest.raises(Broken) as refusal:
            check(tmp_path / name)
        assert refusal.value.code == Code.WEIGHTS_DAMAGED


@pytest.mark.parametrize("name", sorted(LARGEST))
def test_every_network_is_shipped_within_its_size(name: str) -> None:
    network = networks()[name]
    file = open_weights(name)
    assert file.stat().st_size == network.bytes <= LARGEST[name] * MEGABYTE
    assert hashlib.sha256(file.read_bytes()).hexdigest() == network.sha256
    check(file)


def test_a_changed_weight_file_is_not_opened(tmp_path: Path) -> None:
    network = networks()["mobilenet"]
    content = bytearray((registry.WEIGHTS / network.file).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / network.file).write_bytes(content)
    with pytest.raises(Broken) as refusal:
        open_weights("mobilenet", tmp_path)
    assert refusal.value.code == Code.WEIGHTS_DAMAGED


def test_a_batch_is_pinned_to_all_that_a_verdict_depends_on() -> None:
    network = networks()["resnet50v2"]
    assert not network.pin().forced
    forced = network.pin("plain")
    assert forced.forced
    assert (forced.profile, forced.sha256, forced.threshold) == ("plain", network.sha256, network.threshold)


def test_probabilities_are_calibrated_and_never_overflow() -> None:
    network = networks()["mobilenet"]
    assert network.probability(0.0) == 0.5
    assert network.probability(network.temperature) == pytest.approx(1 / (1 + np.exp(-1)))
    assert (network.probability(-1e6), network.probability(1e6)) == (0.0, 1.0)
