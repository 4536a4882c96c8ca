"""Phantom scans: the same seed gives the same head, and what is said to be ill is ill."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from phantom import anatomy
from phantom.lesions import LesionKind
from phantom.scan import SHOWN, Scan
from phantom.scanner import to_uint8
from phantom.sequences import Look
from phantom.tissues import Tissue, share_of

SIZE = 96  # samples are 2.3 mm apart: enough for these properties, and quick
seeds = st.integers(0, 2**40)
looks = st.sampled_from(list(Look))
ill = st.sampled_from([(look, kind) for look, kinds in SHOWN.items() for kind in kinds])


@settings(max_examples=15, deadline=None)
@given(seed=seeds, look=looks, lesion=st.booleans())
def test_the_same_seed_gives_the_same_picture(seed: int, look: Look, lesion: bool) -> None:
    first, second = (Scan.draw(seed, look=look, lesion=lesion, size=SIZE) for _ in range(2))
    one, other = first.image(first.best_level()), second.image(second.best_level())
    assert np.array_equal(one.channels, other.channels)
    assert np.array_equal(one.mask, other.mask)


@settings(max_examples=10, deadline=None)
@given(seed=seeds, look=looks)
def test_another_seed_gives_another_picture(seed: int, look: Look) -> None:
    one, other = (Scan.draw(seed + extra, look=look, lesion=False, size=SIZE).image(20.0) for extra in (0, 1))
    assert np.abs(np.subtract(one.channels, other.channels)).mean() > 0.01


@settings(max_examples=10, deadline=None)
@given(seed=seeds, levels=st.permutations([-20.0, 5.0, 40.0]))
def test_a_slice_does_not_depend_on_those_made_before_it(seed: int, levels: list[float]) -> None:
    alone = Scan.draw(seed, look=Look.FLAIR, lesion=True, size=SIZE).image(levels[-1])
    scan = Scan.draw(seed, look=Look.FLAIR, lesion=True, size=SIZE)
    after = [scan.image(level) for level in levels][-1]
    assert np.array_equal(alone.channels, after.channels)


def test_another_process_makes_the_same_picture() -> None:
    code = (
        "import hashlib; from phantom.scan import Scan; from phantom.sequences import Look;"
        "image = Scan.draw(7, look=Look.COMPOSITE, lesion=True, size=96).image(20.0);"
        "print(hashlib.sha256(b''.join(c.tobytes() for c in image.channels)).hexdigest())"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    image = Scan.draw(7, look=Look.COMPOSITE, lesion=True, size=96).image(20.0)
    assert told == hashlib.sha256(b"".join(channel.tobytes() for channel in image.channels)).hexdigest()


@settings(max_examples=15, deadline=None)
@given(seed=seeds, look=looks, level=st.floats(-40, 70))
def test_a_healthy_head_has_an_empty_mask(seed: int, look: Look, level: float) -> None:
    assert not Scan.draw(seed, look=look, lesion=False, size=SIZE).image(level).mask.any()


@settings(max_examples=30, deadline=None)
@given(seed=seeds, pair=ill)
def test_a_lesion_lies_within_the_skull_and_is_large_enough_to_see(seed: int, pair: tuple[Look, LesionKind]) -> None:
    scan = Scan.draw(seed, look=pair[0], lesion=pair[1], size=SIZE)
    plane = scan.plane(scan.best_level())
    section = anatomy.cut(scan.subject, plane, scan.lesion)
    abnormal = section.lesion > 0.5
    assert section.inside[abnormal].min() > -scan.pitch
    assert abnormal.sum() * scan.pitch**2 > 200  # mm²: the smallest lesions are 16 mm wide


@settings(max_examples=15, deadline=None)
@given(seed=seeds, kind=st.sampled_from([LesionKind.GLIOMA, LesionKind.GLIOBLASTOMA]))
def test_a_glioma_grows_in_the_brain_and_not_in_its_ventricles(seed: int, kind: LesionKind) -> None:
    scan = Scan.draw(seed, look=Look.FLAIR, lesion=kind, size=SIZE)
    section = anatomy.cut(scan.subject, scan.plane(scan.best_level()), scan.lesion)
    fluid = share_of(section.layers, {Tissue.VENTRICLE}, section.lesion.shape)
    assert fluid[section.lesion > 0.5].max(initial=0) < 0.6


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_a_meningioma_touches_the_skull(seed: int) -> None:
    scan = Scan.draw(seed, look=Look.T1CE, lesion=LesionKind.MENINGIOMA, size=SIZE)
    section = anatomy.cut(scan.subject, scan.plane(scan.best_level()), scan.lesion)
    assert section.inside[section.core > 0.5].min() < 4


@settings(max_examples=8, deadline=None)
@given(seed=seeds)
def test_neighbouring_slices_show_the_same_head(seed: int) -> None:
    scan = Scan.draw(seed, look=Look.T1, lesion=False, size=SIZE)
    here, near, far = (scan.image(level).channels[0].ravel() for level in (20.0, 22.0, 55.0))
    assert np.corrcoef(here, near)[0, 1] > 0.9
    assert np.corrcoef(here, near)[0, 1] > np.corrcoef(here, far)[0, 1]


@pytest.mark.parametrize("look", list(Look))
def test_a_composite_has_three_channels_and_every_other_look_one(look: Look) -> None:
    image = Scan.draw(3, look=look, lesion=False, size=SIZE).image(20.0)
    assert len(image.channels) == (3 if look is Look.COMPOSITE else 1)
    assert all(channel.shape == (SIZE, SIZE) for channel in image.channels)


def test_a_plane_above_the_head_shows_noise_only() -> None:
    picture = to_uint8(Scan.draw(3, look=Look.FLAIR, lesion=False, size=SIZE).image(200.0).channels[0])
    assert picture.max() < 25
