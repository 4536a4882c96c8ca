"""Pictures as PNG files."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.png import png


@pytest.mark.parametrize("shape", [(1, 1), (37, 5), (64, 48, 3)])
def test_a_picture_comes_back_as_it_was_and_the_same_picture_is_the_same_bytes(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    data = png(picture)
    assert data == png(picture.copy())
    with Image.open(io.BytesIO(data)) as read:
        assert read.format == "PNG"
        assert np.array_equal(np.asarray(read), picture)


def test_a_view_of_a_larger_picture_is_encoded_as_it_looks() -> None:
    larger = np.random.default_rng(4).integers(0, 256, (20, 30, 3), np.uint8)
    with Image.open(io.BytesIO(png(larger[::2, ::3]))) as read:
        assert np.array_equal(np.asarray(read), larger[::2, ::3])
