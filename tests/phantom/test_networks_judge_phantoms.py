"""The shipped networks take phantoms for scans: they find the lesions and let the healthy heads pass."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from models.engines.choice import choose
from models.engines.seam import Engine, Predictor
from models.registry import networks, open_check, open_weights
from neurobatch.records import Finding, ModelPin, Options, ScanKind
from neurobatch.settings import load_settings
from phantom import catalogue, examples
from phantom.catalogue import Kind, Made, Order
from phantom.sequences import Look
from pipeline import masks, run
from pipeline.limits import Limits

Classifier = Literal["mobilenet", "resnet50v2", "both"]
CLASSIFIERS: tuple[Classifier, ...] = ("mobilenet", "resnet50v2", "both")
KINDS = {Kind.PICTURE: ScanKind.PICTURE, Kind.DICOM: ScanKind.DICOM, Kind.NIFTI: ScanKind.NIFTI}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a batch would say of one phantom."""

    finding: Finding
    mask: npt.NDArray[np.bool_] | None  # (n, h, w), where the finding asked for one


class Networks:
    """The shipped networks, each loaded when it is first asked; they judge as a worker does, without its processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._predictors: dict[str, Predictor] = {}

    def judge(self, made: Made, classifier: Classifier) -> Judged:
        """Read a phantom's files and judge them with the default options and this classifier."""
        setting = self._setting(classifier)
        volume = run.decode(KINDS[made.order.kind], list(made.files.values()), Limits())
        shown = run.look(volume)
        logits: Mapping[str, npt.NDArray[np.float32]] = {
            pin.name: self._outputs(pin, run.squares(volume, shown, pin)) for pin in setting.classifiers
        }
        judged = run.judge(volume, shown, logits, setting)
        segmenter = setting.segmenter
        if segmenter is None or not judged.wants_mask:
            return Judged(finding=judged.finding, mask=None)
        maps = self._outputs(segmenter, run.squares(volume, shown, segmenter))
        drawn = masks.restored(zip(shown, maps, strict=True), volume.geometry, segmenter.channels)
        return Judged(finding=run.weigh(judged, drawn, volume, setting).finding, mask=drawn.joined)

    def _outputs(self, pin: ModelPin, squares: Iterable[tuple[int, npt.NDArray[np.uint8]]]) -> npt.NDArray[np.float32]:
        pictures = np.stack([square for _, square in squares])
        if pin.name not in self._predictors:
            files = open_weights(pin.name), open_check(pin.name)
            self._predictors[pin.name] = self._engine.load(pin.name, files[0], batch=16, check=files[1])
        return self._predictors[pin.name].predict(pictures)

    def _setting(self, classifier: Classifier) -> run.Setting:
        names = ("mobilenet", "resnet50v2") if classifier == "both" else (classifier,)
        return run.Setting(
            pins=tuple(networks()[name].pin() for name in (*names, "unet")),
            options=Options(classifier=classifier),
            engine=self._engine.name,
            precision=self._engine.precision,
            processor=self._engine.processor,
            software="test",
        )


@pytest.fixture(scope="module")
def shipped() -> Networks:
    return Networks(choose("auto", load_settings().engines_folder, threads=2))


@pytest.fixture(scope="module")
def made() -> Callable[[Order], Made]:
    kept: dict[str, Made] = {}

    def make(order: Order) -> Made:
        return kept.setdefault(order.name, catalogue.make(order))

    return make


def by_name(order: Order) -> str:
    return order.name


@pytest.mark.slow
@pytest.mark.parametrize("classifier", CLASSIFIERS)
@pytest.mark.parametrize("order", examples.ORDERS, ids=by_name)
def test_every_example_gets_the_finding_that_it_should_have(
    shipped: Networks, made: Callable[[Order], Made], order: Order, classifier: Classifier
) -> None:
    judged = shipped.judge(made(order), classifier)
    assert judged.finding.label == made(order).finding, judged.finding


@pytest.mark.slow
@pytest.mark.parametrize("order", examples.ORDERS, ids=by_name)
def test_no_example_is_a_near_miss(shipped: Networks, made: Callable[[Order], Made], order: Order) -> None:
    found = shipped.judge(made(order), "mobilenet").finding
    if order.lesion:
        assert found.probability > found.threshold + 0.4 * (1 - found.threshold)
    else:
        assert found.probability < 0.6 * found.threshold


@pytest.mark.slow
@pytest.mark.parametrize("order", [order for order in examples.ORDERS if order.lesion], ids=by_name)
def test_the_mask_of_an_example_lies_on_its_lesion(
    shipped: Networks, made: Callable[[Order], Made], order: Order
) -> None:
    drawn = shipped.judge(made(order), "mobilenet").mask
    assert drawn is not None
    truth = np.stack(made(order).truth) > 0
    common = np.count_nonzero(drawn & truth)
    assert 2 * common / (np.count_nonzero(drawn) + np.count_nonzero(truth)) > LEAST_DICE


LEAST_DICE = 0.5


@pytest.mark.slow
def test_most_pictures_of_the_command_get_the_finding_that_they_should_have(shipped: Networks) -> None:
    wanted = catalogue.orders(count=28, seed=77, kind=Kind.PICTURE, lesions=0.5, look=None, size=256, slices=20)
    wrong = []
    for order in wanted:
        each = catalogue.make(order)
        found = shipped.judge(each, "mobilenet").finding
        if found.label != each.finding:
            wrong.append((order.seed, order.look, each.finding, found.label, found.probability))
    assert len(wrong) <= MOST_WRONG, wrong


MOST_WRONG = 4


def test_every_look_of_the_command_is_one_in_which_the_networks_were_trained() -> None:
    looks = {each.look for each in catalogue.orders(
        count=28, seed=1, kind=Kind.PICTURE, lesions=0.5, look=None, size=64, slices=3
    )}  # fmt: skip
    assert looks == {Look.FLAIR, Look.COMPOSITE, Look.T1CE, Look.T2}
