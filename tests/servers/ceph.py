"""Ceph RGW as an S3 server: one monitor, one OSD on a BlueStore file, one gateway (Debian's packages)."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import DidNotStart, find, folder_for, free_ports, listens, running
from tests.servers.s3 import S3Server, answers

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
PLACEMENT_GROUPS = 4  # a pool; more only make the start slower

CONFIGURATION = """
[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{monitor}
public addr = 127.0.0.1
ms bind ipv6 = false
ms type = async+posix
auth cluster required = none
auth service required = none
auth client required = none
run dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
log to stderr = false
err to stderr = true
keyring = {folder}/none
mon data = {folder}/mon
mon allow pool size one = true
mon warn on pool no redundancy = false
mon initial members = a
mon cluster log file = {folder}/cluster.log
mon data avail crit = 1
mon data avail warn = 2
mon osd full ratio = .99
mon max pg per osd = 1000
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 4294967296
bluestore fsck on mount = false
bluestore cache autotune = false
bluestore cache size = 67108864
osd memory target = 939524096
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = {placement_groups}
osd pool default pgp num = {placement_groups}
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = true
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway}
rgw thread pool size = 32
rgw enable usage log = false
rgw run sync thread = false
rgw zone = default
rgw relaxed s3 bucket names = true
rgw rados pool pg num min = {placement_groups}
"""


def missing() -> str | None:
    """Why Ceph cannot be started here, None where it can."""
    absent = [program for program in PROGRAMS if not find(program)]
    return f"{', '.join(absent)}: apt install ceph-common ceph-mon ceph-osd radosgw" if absent else None


def _do(folder: Path, program: str, *arguments: str, seconds: float = 60) -> str:
    """Run one of Ceph's programs to its end and return what it printed."""
    command = [str(find(program)), "-c", str(folder / "ceph.conf"), *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds, check=True)
    except subprocess.CalledProcessError as fault:
        raise DidNotStart(f"{program} {' '.join(arguments)}: {fault.stderr[-2000:]}") from fault
    return done.stdout


def _prepare(folder: Path, monitor: int, gateway: int) -> None:
    fsid = str(uuid.uuid4())
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    text = CONFIGURATION.format(
        fsid=fsid, monitor=monitor, gateway=gateway, folder=folder, placement_groups=PLACEMENT_GROUPS
    )
    (folder / "ceph.conf").write_text(text)
    map_file = str(folder / "monmap")
    address = f"[v2:127.0.0.1:{monitor}]"
    _do(folder, "monmaptool", "--create", "--fsid", fsid, "--addv", "a", address, map_file)
    _do(folder, "ceph-mon", "--mkfs", "-i", "a", "--monmap", map_file)


@contextmanager
def _daemon(folder: Path, program: str, identity: str, port: int | None = None) -> Iterator[None]:
    command = [str(find(program)), "-f", "-c", str(folder / "ceph.conf"), *identity.split()]
    with running(command, folder, lambda: port is None or listens(port), patience=1):
        yield


@contextmanager
def _gateway(folder: Path, server: S3Server) -> Iterator[None]:
    # It would insist on encryption towards the monitor, which there is none of without cephx.
    identity = ["-n", "client.rgw", "--ms-mon-client-mode=crc"]
    command = [str(find("radosgw")), "-f", "-c", str(folder / "ceph.conf"), *identity]
    with running(command, folder, lambda: answers(server), patience=1):
        yield


@contextmanager
def ceph() -> Iterator[S3Server]:
    """A Ceph cluster of one with an S3 gateway and one user, gone afterwards."""
    with folder_for("ceph") as folder:
        monitor, gateway = free_ports(2)
        _prepare(folder, monitor, gateway)
        server = S3Server(
            name="ceph", endpoint=f"http://127.0.0.1:{gateway}", access_key="ceph", secret_key="ceph-secret"
        )
        with _daemon(folder, "ceph-mon", "-i a", monitor):
            disk = str(uuid.uuid4())
            number = json.loads(_do(folder, "ceph", "osd", "new", disk, "-f", "json"))["osdid"]
            _do(folder, "ceph-osd", "-i", str(number), "--mkfs", "--osd-uuid", disk)
            with _daemon(folder, "ceph-osd", f"-i {number}"):
                user = ["user", "create", "--uid=tests", "--display-name=tests", "--access-key=ceph"]
                _do(folder, "radosgw-admin", *user, "--secret-key=ceph-secret")
                with _gateway(folder, server):
                    yield server
