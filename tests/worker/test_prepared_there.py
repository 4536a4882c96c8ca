"""Slices that the network process prepares come to what they come to when decoders prepare them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from models.engines.seam import SIDE
from models.engines.timed import Timed
from neurobatch.records import Options
from neurobatch.settings import MIB, Settings
from pipeline.prepare.packed import prepared, unpack
from tests.worker.test_stages import EXAMPLES, SCANS, by_hand, job, pin
from worker.app import PACKED_SIDE
from worker.engines import EngineConfig
from worker.engines import loader as shipped
from worker.jobs import Judged
from worker.messages import Network, Ran
from worker.network import Loader, Runs
from worker.sources import SourcesConfig
from worker.supervisor import Stages, Supervisor

PROFILE: Final = "nlm-clahe"


def loader(config: EngineConfig) -> Loader:
    """As `worker.engines.loader`, with a processor in the place of a GPU."""
    load_shipped = shipped(config)

    def load(network: Network, batch: int) -> tuple[Runs, Ran]:
        if network.prepares is None:
            return load_shipped(network, batch)
        engine = Timed(seconds=0.0)
        predictor = engine.load(network.name, network.weights, batch)

        def run(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
            squares = np.zeros((len(packed), SIDE, SIDE, 3), np.uint8)
            for row in np.flatnonzero(packed.any(axis=1)):
                squares[row] = prepared(unpack(packed[row]), PROFILE, SIDE)
            return predictor.predict(squares)

        return run, Ran(engine=engine.name, precision=engine.precision, processor=engine.processor)

    return load


@pytest.mark.parametrize("name", sorted(SCANS))
def test_where_a_slice_is_prepared_does_not_show_in_its_result(name: str, supervisor: Supervisor) -> None:
    asked = job(
        name, Options(classifier="both", segment="all"), pin("mobilenet"), pin("resnet50v2", PROFILE), pin("unet")
    )
    there = tuple(replace(one, prepares=PROFILE) if one.name == "resnet50v2" else one for one in asked.networks)
    ticket = supervisor.judge(replace(asked, networks=there))
    said: Judged = ticket.future.result(240).value
    ticket.put_away()
    result, files = by_hand(asked)
    assert said.result == result
    assert {name: content.data for name, content in said.files.items()} == files


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, decoders=2, device_batch=4, arena=32 * MIB, roots={"examples": str(EXAMPLES)})
    stages = Stages(
        context_settings=SourcesConfig.of(settings),
        load="tests.worker.test_prepared_there:loader",
        load_settings=EngineConfig(cache=home / "engines"),
        side=PACKED_SIDE,
    )
    with Supervisor(settings, stages) as started:
        yield started
