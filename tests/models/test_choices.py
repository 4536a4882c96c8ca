"""Choices at test time, measured with the shipped networks on a small set that the test draws."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.choices import AS_IT_IS, Mirrored, WithoutSpecks, measure
from models.choices_card import write_choices
from models.engines.choice import choose
from models.engines.seam import SIDE, Outputs, Pictures
from models.evaluate import VALIDATION, evaluate
from models.registry import networks, open_weights
from neurobatch.codes import DISCLAIMER
from neurobatch.settings import load_settings
from tests.models.labelled import head, patients, spot


class Bright:
    """A segmenter that finds what is bright."""

    def predict(self, pictures: Pictures) -> Outputs:
        return pictures[:, :, :, :2].astype(np.float32) * np.float32(1 / 255)


def squares(*spots: NDArray[np.uint8]) -> Pictures:
    plane = np.max(spots, axis=0)
    return np.repeat(plane[None, :, :, None], 3, axis=3)


def test_regions_below_a_size_are_left_out_and_others_stay_as_they_are() -> None:
    large, small = spot(100, 60, 9, SIDE), spot(30, 180, 3, SIDE)
    maps = WithoutSpecks(predictor=Bright(), smallest=50, threshold=0.5).predict(squares(large, small))
    assert np.array_equal(maps, Bright().predict(squares(large)))


def test_what_two_looks_say_does_not_depend_on_which_comes_first() -> None:
    engine = choose("openvino", load_settings().engines_folder)
    pictures = np.repeat(np.repeat((head(SIDE) + spot(90, 60, 20, SIDE) // 2)[None, :, :, None], 3, 3), 2, 0)
    turned = np.ascontiguousarray(pictures[:, :, ::-1])
    for name in ("mobilenet", "unet"):
        both = Mirrored(predictor=engine.load(name, open_weights(name), 2))
        there, back = both.predict(pictures), both.predict(turned)
        assert np.array_equal(there, back[:, :, ::-1] if there.ndim == 4 else back)


@pytest.mark.slow
def test_each_choice_is_measured_beside_what_the_product_does(tmp_path: Path) -> None:
    patients(tmp_path / "lgg", VALIDATION)
    engine = choose("openvino", load_settings().engines_folder)
    figures = measure(tmp_path, engine)
    cascades = {"cascade, sensitivity", "cascade, specificity"}
    assert set(figures["choices"]) == {*networks(), "both classifiers", *cascades}
    for name, key in (("mobilenet", "auc"), ("unet", "dice_mean")):
        alone = evaluate(networks()[name], open_weights(name), tmp_path, engine).figures["parts"]
        base = figures["choices"][name][AS_IT_IS]
        assert {part: figure["value"] for part, figure in base["parts"].items()} == {
            part: figure[key] for part, figure in alone.items()
        }
        twice = figures["choices"][name]["mirrored"]
        assert (base["runs"], twice["runs"]) == (1, 2)
        for part, figure in twice["parts"].items():
            assert figure["more"] == pytest.approx(figure["value"] - base["parts"][part]["value"], abs=1.1e-4)
    alone = evaluate(networks()["mobilenet"], open_weights("mobilenet"), tmp_path, engine).figures["parts"]
    for title, key in (("cascade, sensitivity", "recall"), ("cascade, specificity", "specificity")):
        first = figures["choices"][title]["mobilenet alone"]["parts"]
        assert {part: told["value"] for part, told in first.items()} == {
            part: told[key] for part, told in alone.items()
        }
    page = write_choices(figures, tmp_path).read_text()
    assert DISCLAIMER in page
    assert page.count("| mirrored | 2 |") == len(networks())
    assert "Smith" not in page
