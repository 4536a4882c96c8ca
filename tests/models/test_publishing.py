"""The table of networks is replaced in one step, and never names a file that is not there."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.publish import enter
from models.registry import Network, networks
from neurobatch.codes import Code
from neurobatch.errors import Broken


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "registry.json"


def entered(table: Path, network: Network) -> Network:
    (table.parent / network.file).touch()
    enter(network, table)
    return network


def named(table: Path) -> list[str]:
    return [row["file"] for row in json.loads(table.read_text(encoding="utf-8"))["networks"]]


def test_a_new_file_takes_the_place_of_the_one_before_and_of_no_other(table: Path) -> None:
    unet, mobilenet = (replace(networks()[name], file=f"{name}-1.weights.h5") for name in ("unet", "mobilenet"))
    for network in (unet, mobilenet, replace(unet, file="unet-2.weights.h5")):
        entered(table, network)
    assert named(table) == ["mobilenet-1.weights.h5", "unet-2.weights.h5"]
    assert sorted(path.name for path in table.parent.iterdir()) == [*named(table)[:1], table.name, named(table)[1]]


def test_the_same_file_entered_twice_stays(table: Path) -> None:
    for _ in range(2):
        entered(table, networks()["unet"])
    assert (table.parent / named(table)[0]).is_file()


def test_a_file_that_is_not_there_is_not_entered(table: Path) -> None:
    before = entered(table, networks()["unet"])
    with pytest.raises(Broken) as refusal:
        enter(replace(before, file="absent.weights.h5"), table)
    assert refusal.value.code == Code.WEIGHTS_DAMAGED
    assert named(table) == [before.file]
