"""A scan that says of itself that it is a phantom is told so in its result, whatever its format."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from neurobatch.codes import Code
from neurobatch.records import ScanKind
from phantom.writers import nifti_bytes
from pipeline.limits import Limits
from pipeline.read.nifti import read_nifti
from pipeline.read.pictures import read_picture
from pipeline.run import decode

PLANE = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def picture(kind: str, note: str) -> bytes:
    out = io.BytesIO()
    plane = Image.fromarray((PLANE >> 4).astype(np.uint8))
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", note)
    notes: dict[str, dict[str, Any]] = {
        "PNG": {"pnginfo": text},
        "JPEG": {"comment": note},
        "TIFF": {"description": note},
    }
    plane.save(out, kind, **notes[kind])
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_a_picture_that_says_so_is_a_phantom(kind: str) -> None:
    assert read_picture(picture(kind, "A Phantom; no patient"), Limits()).warnings == (Code.PHANTOM,)
    assert read_picture(picture(kind, "brain"), Limits()).warnings == ()


def test_a_volume_that_says_so_is_a_phantom() -> None:
    noise = np.random.default_rng(1).integers(0, 4000, (32, 32, 16)).astype(np.int16)
    data = nifti_bytes(noise, np.eye(4))
    assert Code.PHANTOM in read_nifti(data, Limits()).warnings
    assert Code.PHANTOM in decode(ScanKind.NIFTI, [data], Limits()).warnings
