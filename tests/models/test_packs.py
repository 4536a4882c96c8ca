"""Packs carry sets to a machine that trains: whole, the same bytes for the same sets, refused when damaged."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.data import Item, read_mask, read_plane
from models.packs import unpack, write_pack
from models.sets import read_sets
from neurobatch.codes import Code
from neurobatch.errors import Refused
from tests.models.labelled import head, spot, write_picture, write_table


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """A composite of three sequences, grey slices with two readers, and web pictures, one of them large."""
    lesion, none = spot(48, 27, 8), spot(48, 27, 8) * 0
    rows = []
    for number, mask in enumerate((lesion, none)):
        picture = head() + mask // 4
        write_picture(tmp_path / f"lgg/{number}.png", np.dstack([picture // 2, picture, picture // 3]))
        write_picture(tmp_path / f"lgg/m{number}.png", mask)
        rows.append(
            {"patient": "a", "slice": number + 4, "file": f"{number}.png", "mask": f"m{number}.png", "split": "train"}
        )
    write_table(tmp_path / "lgg/slices.csv", rows)
    write_picture(tmp_path / "t1ce/1.png", head() + lesion // 4)
    write_picture(tmp_path / "t1ce/m.png", lesion)
    write_picture(tmp_path / "t1ce/m2.png", spot(48, 28, 8))
    one = {"patient": "b", "class": "glioma", "file": "1.png", "mask": "m.png", "mask2": "m2.png", "plane": "axial"}
    write_table(tmp_path / "t1ce/slices.csv", [{**one, "split": "val"}])
    write_picture(tmp_path / "web/1.png", np.dstack([cv2.resize(head(), (600, 400))] * 3))
    web = {"file": "1.png", "label": "no", "source": "sartaj", "group": "g", "split": "train", "note": "unclear"}
    write_table(tmp_path / "web/images.csv", [web])
    return read_sets(tmp_path)


def known(item: Item) -> Item:
    """What is known of a picture, without where it lies."""
    return replace(item, file=Path(), mask=item.mask and Path(), mask2=item.mask2 and Path(), row=0, table="slices")


def test_what_is_known_of_every_picture_travels(items: list[Item], tmp_path: Path) -> None:
    there = read_sets(unpack(write_pack(items, tmp_path / "p.pack"), tmp_path / "there"))
    assert [known(item) for item in there] == [known(item) for item in sorted(items, key=lambda one: one.source)]


def test_outlines_arrive_unchanged_and_pictures_nearly_so(items: list[Item], tmp_path: Path) -> None:
    there = read_sets(unpack(write_pack(items, tmp_path / "p.pack", quality=95), tmp_path / "there"))
    for before, after in zip(sorted(items, key=lambda one: one.source), there, strict=True):
        for old, new in ((before.mask, after.mask), (before.mask2, after.mask2)):
            if old is not None and new is not None:
                assert np.array_equal(read_mask(old), read_mask(new))
        if before.source != "sartaj":
            error = np.abs(read_plane(before.file).astype(int) - read_plane(after.file))
            assert error.mean() < 1


def test_a_large_picture_is_shrunk(items: list[Item], tmp_path: Path) -> None:
    there = read_sets(unpack(write_pack(items, tmp_path / "p.pack", longest=128), tmp_path / "there"))
    assert max(read_plane(item.file).shape[1] for item in there) == 128


def test_the_same_sets_give_the_same_bytes(items: list[Item], tmp_path: Path) -> None:
    one, two = (write_pack(items, tmp_path / name).read_bytes() for name in ("1", "2"))
    assert one == two


def test_a_pack_is_unpacked_once(items: list[Item], tmp_path: Path) -> None:
    pack = write_pack(items, tmp_path / "p.pack")
    place = unpack(pack, tmp_path / "there")
    (place / "lgg/images/000000.png").unlink()
    assert unpack(pack, tmp_path / "there") == place
    assert not (place / "lgg/images/000000.png").exists()


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_damaged_pack_is_refused_and_leaves_nothing(items: list[Item], tmp_path: Path, place: float) -> None:
    pack = write_pack(items, tmp_path / "p.pack")
    content = bytearray(pack.read_bytes())
    content[int(len(content) * place)] ^= 0xFF
    pack.write_bytes(content)
    with pytest.raises(Refused) as refusal:
        unpack(pack, tmp_path / "there")
    assert refusal.value.code == Code.ARCHIVE_DAMAGED
    assert not list((tmp_path / "there").iterdir())


def test_a_cut_pack_and_other_files_are_refused(items: list[Item], tmp_path: Path) -> None:
    pack = write_pack(items, tmp_path / "p.pack")
    (tmp_path / "cut").write_bytes(pack.read_bytes()[:-100])
    (tmp_path / "text").write_text("not a pack")
    for name in ("cut", "text", "absent"):
        with pytest.raises(Refused) as refusal:
            unpack(tmp_path / name, tmp_path / "there")
        assert refusal.value.code == Code.ARCHIVE_DAMAGED


def test_no_name_in_a_pack_leads_out_of_it(items: list[Item], tmp_path: Path) -> None:
    pack = write_pack([replace(item, source="../out") for item in items], tmp_path / "p.pack")
    with pytest.raises(Refused) as refusal:
        unpack(pack, tmp_path / "there")
    assert refusal.value.code == Code.UNSAFE_NAME
    assert not (tmp_path / "out").exists()
