"""Weight files by digest: the installed one, or what the store keeps; verified, and fetched once."""

import hashlib
from pathlib import Path

import pytest

from neurobatch.errors import Broken
from neurobatch.records import ModelPin, OddnessPin
from storage import names
from storage.ledger import Ledger
from storage.memory import Memory
from worker.weights import Weights


def pin(content: bytes) -> ModelPin:
    return ModelPin(
        name="mobilenet",
        kind="classifier",
        sha256=hashlib.sha256(content).hexdigest(),
        profile="plain",
        size=224,
        threshold=0.5,
        review_low=0.5,
        review_high=0.5,
    )


def test_a_network_that_is_not_the_installed_one_comes_from_the_store(tmp_path: Path) -> None:
    ledger, pinned = Ledger(Memory()), pin(b"older weights")
    ledger.objects.put(names.model(pinned.sha256), b"older weights")
    file = Weights(ledger, tmp_path / "weights").file(pinned)
    assert file.read_bytes() == b"older weights"
    assert file.name.endswith(".weights.h5")
    ledger.objects.delete([names.model(pinned.sha256)])
    assert Weights(ledger, tmp_path / "weights").file(pinned) == file, "it was fetched before"


def test_the_check_that_a_batch_is_pinned_to_comes_from_the_store_too(tmp_path: Path) -> None:
    ledger, plain = Ledger(Memory()), pin(b"older weights")
    check = OddnessPin(sha256=hashlib.sha256(b"older check").hexdigest(), threshold=2.0)
    ledger.objects.put(names.model(check.sha256), b"older check")
    weights = Weights(ledger, tmp_path)
    assert weights.check(plain) is None
    file = weights.check(plain.model_copy(update={"oddness": check}))
    assert file is not None
    assert file.read_bytes() == b"older check"


def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    ledger, pinned = Ledger(Memory()), pin(b"older weights")
    ledger.objects.put(names.model(pinned.sha256), b"older weights")
    Weights(ledger, tmp_path).file(pinned).write_bytes(b"cut")
    assert Weights(ledger, tmp_path).file(pinned).read_bytes() == b"older weights"


def test_a_network_that_is_nowhere_or_another_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    ledger, pinned = Ledger(Memory()), pin(b"older weights")
    with pytest.raises(Broken, match="nowhere"):
        Weights(ledger, tmp_path).file(pinned)
    ledger.objects.put(names.model(pinned.sha256), b"something else")
    with pytest.raises(Broken, match="another digest"):
        Weights(ledger, tmp_path).file(pinned)
    assert list(tmp_path.iterdir()) == []
