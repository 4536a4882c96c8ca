"""The shipped networks in the network process: what a scan comes to does not depend on its neighbours."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from models import registry
from models.engines.choice import precision_for
from models.engines.processor import multiplies_bfloat16
from neurobatch.records import Arithmetic, Options
from neurobatch.settings import Settings
from tests.worker.test_stages import EXAMPLES, SCANS, job
from worker.engines import EngineConfig
from worker.jobs import Job, Judged
from worker.messages import Network
from worker.sources import SourcesConfig
from worker.supervisor import Stages, Supervisor

SECONDS = 900.0  # the first scan waits for the conversion of both networks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


@pytest.fixture(scope="module")
def supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, decoders=2, device_batch=4, roots={"examples": str(EXAMPLES)}, scan_seconds=300.0)
    config = EngineConfig(cache=settings.engines_folder)
    with Supervisor(settings, Stages(context_settings=SourcesConfig.of(settings), load_settings=config)) as started:
        yield started


def shipped(name: str, precision: Arithmetic, segment: str) -> Job:
    """A scan of `examples/`, for the networks as they are shipped."""
    pins = tuple(registry.networks()[network].pin() for network in ("mobilenet", "unet"))
    asked = job(name, Options.model_validate({"segment": segment}), *pins)
    networks = tuple(
        Network.of(
            pin,
            registry.open_weights(pin.name),
            registry.open_check(pin.name),
            "openvino",
            precision_for(pin.kind, precision),
        )
        for pin in pins
    )
    return Job(
        key=asked.key,
        scan=asked.scan,
        sources=asked.sources,
        options=asked.options,
        pins=asked.pins,
        networks=networks,
    )


def judged(supervisor: Supervisor, order: Sequence[str], *asked: Any) -> list[Judged]:
    """All at once, in this order."""
    tickets = [supervisor.judge(shipped(name, *asked)) for name in order]
    outcomes = [ticket.future.result(SECONDS) for ticket in tickets]
    for ticket in tickets:
        ticket.put_away()
    return [outcome.value for outcome in outcomes]


@pytest.mark.parametrize(("precision", "segment"), [("float32", "all"), ("mixed", "positive")])
def test_a_scan_comes_to_the_same_bytes_whoever_is_judged_beside_it(
    supervisor: Supervisor, precision: Arithmetic, segment: str
) -> None:
    alone = {name: judged(supervisor, [name], precision, segment)[0] for name in SCANS}
    order = list(SCANS) * 3
    random.Random(1).shuffle(order)
    for name, said in zip(order, judged(supervisor, order, precision, segment), strict=True):
        assert said.result.dump() == alone[name].result.dump()
        assert said.files == alone[name].files
    result = alone["flair_glioma.png"].result
    assert (result.engine, result.precision) == ("openvino", precision if multiplies_bfloat16() else "float32")
    assert result.processor
    assert [model.sha256 for model in result.models] == [
        pin.sha256 for pin in shipped("flair_glioma.png", precision, segment).pins
    ]
    assert ("mask.nii.gz" in alone["nifti_flair_healthy.nii.gz"].files) is (segment == "all")
