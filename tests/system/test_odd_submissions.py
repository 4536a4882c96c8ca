"""What people send by mistake or malice: a clear code for each, and everything else is judged all the same."""

import io
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from neurobatch.client import Client
from neurobatch.codes import Code
from neurobatch.display import FINAL
from neurobatch.errors import Refused
from neurobatch.records import BatchState, Label, Options, ScanState, Status
from tests.servers.processes import wait_for
from tests.system.compose import ROOT, TOKEN, Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TUMOUR = (ROOT / "examples" / "flair_glioma.png").read_bytes()
HEALTHY = (ROOT / "examples" / "flair_healthy.png").read_bytes()


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    with Client(machine.url, TOKEN) as connected:
        yield connected


def judged(client: Client, path: Path) -> Status:
    """Hand a path over and wait for its end."""
    batch = client.submit([path], Options()).id
    assert wait_for(lambda: client.status(batch).state in FINAL, 120)
    return client.status(batch)


def left_out(client: Client, status: Status) -> dict[str, Code]:
    return {line.path: line.code for line in client.left_out(status.id)}


def encrypted_zip() -> bytes:
    """A zip whose members carry the flag of a password (APPNOTE 4.4.4, bit 0)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("scan.png", TUMOUR)
    data = bytearray(out.getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at : at + 2] = struct.pack("<H", struct.unpack("<H", data[at : at + 2])[0] | 1)
    return bytes(data)


def test_one_bad_file_of_each_kind_is_told_and_the_good_ones_are_judged(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "ward"
    (folder / "снимки").mkdir(parents=True)
    (folder / "снимки" / "опухоль.png").write_bytes(TUMOUR)
    (folder / "again.png").write_bytes(TUMOUR)
    (folder / "healthy.png").write_bytes(HEALTHY)
    (folder / "empty.png").write_bytes(b"")
    (folder / "letter.png").write_text("This is a letter.")
    (folder / "cut.png").write_bytes(TUMOUR[: len(TUMOUR) // 2])
    (folder / "secret.zip").write_bytes(encrypted_zip())
    (folder / "torn.zip").write_bytes(b"PK\x03\x04" + b"\0" * 100)
    status = judged(client, folder)
    assert status.state is BatchState.COMPLETED
    assert left_out(client, status) == {
        "ward/empty.png": Code.EMPTY_FILE,
        "ward/letter.png": Code.NOT_A_SCAN,
        "ward/secret.zip/scan.png": Code.ARCHIVE_ENCRYPTED,
        "ward/torn.zip": Code.ARCHIVE_DAMAGED,
    }
    found = {result.path: result for result in client.results(status.id)}
    assert set(found) == {"ward/again.png", "ward/cut.png", "ward/healthy.png", "ward/снимки/опухоль.png"}
    assert found["ward/cut.png"].code is Code.TRUNCATED
    for path, label in (
        ("again.png", Label.TUMOUR),
        ("снимки/опухоль.png", Label.TUMOUR),
        ("healthy.png", Label.NO_TUMOUR),
    ):
        finding = found[f"ward/{path}"].finding
        assert finding is not None
        assert finding.label is label


def test_an_archive_that_climbs_out_is_told_member_by_member(client: Client, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "scans.tar.gz", "w:gz") as archive:
        for name, data in (("../../etc/cron.d/x.png", TUMOUR), ("/abs.png", TUMOUR), ("good/a.png", TUMOUR)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    status = judged(client, tmp_path / "scans.tar.gz")
    assert status.state is BatchState.COMPLETED
    assert sorted(left_out(client, status).values()) == [Code.UNSAFE_LINK, Code.UNSAFE_NAME, Code.UNSAFE_NAME]
    assert [(result.path, result.state) for result in client.results(status.id)] == [
        ("scans.tar.gz/good/a.png", ScanState.SUCCEEDED)
    ]


def test_a_folder_without_any_scan_completes_with_a_warning(client: Client, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no scan")
    status = judged(client, tmp_path / "notes")
    assert (status.state, status.scans, status.left_out) == (BatchState.COMPLETED, 0, 1)
    assert status.warnings == (Code.NO_SCANS,)


def test_a_path_outside_of_all_roots_is_refused(machine: Machine) -> None:
    for place in ("/etc", "file:///etc/passwd", "s3://other/bucket", "/"):
        answer = httpx.post(
            f"{machine.url}/v1/batches",
            json={"sources": [{"place": place}]},
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=10,
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "outside_roots")


def test_nothing_at_all_is_refused(machine: Machine, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="no_sources"):
        client.submit([tmp_path / "empty"], Options())
    answer = httpx.post(
        f"{machine.url}/v1/batches",
        json={"sources": []},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "no_sources")


def test_no_log_of_any_process_names_a_file_or_holds_a_secret(client: Client, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "Doe^John.png").write_bytes(TUMOUR)
    (tmp_path / "broken-Doe^Jane.png").write_bytes(TUMOUR[:200])
    judged(client, tmp_path)
    logs = b"".join(log.read_bytes() for log in machine.folder.rglob("*.log"))
    assert b"batch_ended" in logs
    for word in (b"Doe", b"token-of-the-test", b"secret-of-the-test", b"password-of-the-test"):
        assert word not in logs


def test_the_command_tells_mistakes_over_http_in_one_line(machine: Machine) -> None:
    command = [sys.executable, "-m", "neurobatch", "status", "7", "--url", machine.url, "--token", TOKEN]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert "not_found" in told.stderr
    assert len(told.stderr.splitlines()) == 1
