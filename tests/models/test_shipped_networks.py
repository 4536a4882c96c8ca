"""The shipped networks, run as they are run for users."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.carding import card_text
from models.engines.choice import choose
from models.engines.openvino import OpenVino
from models.engines.seam import SIDE, Engine
from models.registry import CARDS, networks, open_weights
from neurobatch.codes import Code
from neurobatch.errors import Broken

NAMES = ("mobilenet", "resnet50v2", "unet")


def heads(count: int) -> NDArray[np.uint8]:
    """Ovals with a bright spot, each another, in noise."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    made = []
    for _ in range(count):
        row, column = rng.uniform(-40, 40, 2)
        skull = (y / 95) ** 2 + (x / 75) ** 2 < 1
        spot = (y - row) ** 2 + (x - column) ** 2 < rng.uniform(6, 20) ** 2
        made.append(np.clip(70 * skull + 110 * spot + rng.normal(0, 5, y.shape), 0, 255))
    return np.repeat(np.stack(made).astype(np.uint8)[:, :, :, None], 3, axis=3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def openvino(cache: Path) -> Engine:
    return choose("openvino", cache)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_neighbours_and_place_in_a_batch_change_no_bit(name: str, openvino: Engine) -> None:
    predictor = openvino.load(name, open_weights(name), 4)
    shown = heads(6)
    together = predictor.predict(shown)
    assert together.tobytes() == predictor.predict(shown).tobytes()
    assert np.array_equal(together, predictor.predict(shown[::-1])[::-1])
    assert np.array_equal(together, np.concatenate([predictor.predict(shown[k : k + 1]) for k in range(6)]))
    crowded = np.concatenate([np.full((3, SIDE, SIDE, 3), 255, np.uint8), shown[:1]])
    assert np.array_equal(together[:1], predictor.predict(crowded)[3:])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_batches_that_run_at_once_say_what_each_says_alone(name: str, openvino: Engine, cache: Path) -> None:
    shown = [heads(8)[k : k + 2] for k in range(0, 8, 2)]
    alone = [openvino.load(name, open_weights(name), 2).predict(each).tobytes() for each in shown]
    predictor = choose("openvino", cache, threads=2, streams=2).load(name, open_weights(name), 2)
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            assert [said.tobytes() for said in pool.map(predictor.predict, shown)] == alone


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_openvino_says_what_tensorflow_says(name: str, openvino: Engine, cache: Path) -> None:
    network, shown = networks()[name], heads(5)
    ours = openvino.load(name, open_weights(name), 4).predict(shown)
    theirs = choose("tensorflow", cache).load(name, open_weights(name), 4).predict(shown)
    if network.kind == "classifier":
        gaps = [
            abs(network.probability(float(a)) - network.probability(float(b)))
            for a, b in zip(ours[:, 0], theirs[:, 0], strict=True)
        ]
        assert max(gaps) < 1e-3
    else:
        assert np.abs(ours - theirs).max() < 1e-3
        one, other = ours > network.threshold, theirs > network.threshold
        assert 2 * np.count_nonzero(one & other) >= 0.999 * (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.mark.slow
def test_a_converted_network_needs_no_tensorflow(openvino: Engine, cache: Path) -> None:
    weights = open_weights("mobilenet")
    openvino.load("mobilenet", weights, 1)
    program = (
        "import sys; from pathlib import Path; from models.engines.choice import choose\n"
        f"choose('openvino', Path({str(cache)!r})).load('mobilenet', Path({str(weights)!r}), 1)\n"
        "names = ('tensorflow', 'keras', 'cv2', 'openvino_telemetry')\n"
        "print([name for name in names if sys.modules.get(name)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_two_processes_that_convert_at_once_do_no_harm(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from models.engines.openvino import OpenVino; from models.registry import "
        f"open_weights\nprint(OpenVino(cache=Path({str(tmp_path)!r})).converted('mobilenet', "
        "open_weights('mobilenet')))"
    )
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    assert [path.name for path in tmp_path.iterdir()] == [Path(said.pop()).parent.name]


def test_the_registry_imports_no_heavy_library() -> None:
    program = (
        "import sys, models.registry; models.registry.networks()\n"
        "print(sorted({'tensorflow', 'keras', 'cv2', 'pydicom', 'openvino', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", NAMES)
def test_each_card_says_what_was_measured_on_the_shipped_file(name: str) -> None:
    network = networks()[name]
    figures = json.loads((CARDS / f"{name}.json").read_text(encoding="utf-8"))
    assert figures["sha256"] == network.sha256
    assert network.card.read_text(encoding="utf-8") == card_text(network, figures)


def test_a_missing_weight_file_is_told_before_anything_is_converted(tmp_path: Path) -> None:

    with pytest.raises(Broken) as refusal:
        OpenVino(cache=tmp_path / "cache").load("mobilenet", tmp_path / "absent.h5", 1)
    assert refusal.value.code == Code.WEIGHTS_DAMAGED
    assert not (tmp_path / "cache").exists()
