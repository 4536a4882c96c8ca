"""Profiles: what is done to a plane before a network sees it."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from neurobatch.codes import Code
from neurobatch.errors import Refused
from pipeline.prepare.contrast import stretch
from pipeline.prepare.denoise import denoise
from pipeline.prepare.profiles import PROFILES, prepare
from pipeline.prepare.room import LONGEST


def noisy_disc(side: int = 96, seed: int = 3) -> NDArray[np.uint8]:
    y, x = np.mgrid[:side, :side] - side / 2
    clean = np.where(y * y + x * x < (side / 3) ** 2, 120, 60)
    return np.clip(clean + np.random.default_rng(seed).normal(0, 6, clean.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", sorted(PROFILES))
@pytest.mark.parametrize("shape", [(64, 64), (50, 90, 3), (1, 30), (700, 40)])
def test_every_profile_gives_the_networks_square(name: str, shape: tuple[int, ...]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    square = prepare(plane, name, 224)
    assert square.shape == (224, 224, 3)
    assert square.dtype == np.uint8


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_same_plane_gives_the_same_bytes(name: str) -> None:
    plane = noisy_disc()
    assert prepare(plane, name).tobytes() == prepare(plane.copy(), name).tobytes()


def test_denoising_takes_noise_away_and_keeps_the_edge() -> None:
    plane = noisy_disc()
    clean = denoise(plane)
    inside = np.s_[40:56, 40:56]
    assert clean[inside].std() < 0.6 * plane[inside].std()
    assert clean[inside].mean() - clean[:8, :8].mean() > 50


def test_colour_is_denoised_without_swapping_red_and_blue() -> None:
    plane = np.zeros((40, 40, 3), np.uint8)
    plane[:] = (200, 90, 20)
    assert np.abs(denoise(plane).astype(int) - (200, 90, 20)).max() <= 3


def test_a_huge_plane_is_shrunk_before_it_is_denoised() -> None:
    assert denoise(np.zeros((2048, 1024), np.uint8)).shape == (LONGEST, LONGEST // 2)


def test_contrast_is_stretched_in_lightness_only() -> None:
    plane = np.zeros((64, 64, 3), np.uint8)
    plane[:] = np.linspace(90, 110, 64).astype(np.uint8)[None, :, None]
    lab = cv2.cvtColor(stretch(plane), cv2.COLOR_RGB2LAB).astype(int)
    assert np.ptp(lab[:, :, 0]) > np.ptp(cv2.cvtColor(plane, cv2.COLOR_RGB2LAB)[:, :, 0].astype(int))
    assert np.abs(lab[:, :, 1:] - 128).max() <= 1


def test_grey_is_stretched_like_the_same_grey_stored_as_colour() -> None:
    grey = noisy_disc()
    assert np.array_equal(stretch(grey), stretch(np.repeat(grey[:, :, None], 3, axis=2))[:, :, 1])


def test_an_unknown_profile_is_refused_by_name() -> None:
    with pytest.raises(Refused) as refusal:
        prepare(noisy_disc(), "sharpen")
    assert refusal.value.code == Code.INVALID_FIELD
