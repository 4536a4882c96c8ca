"""Peers with libraries that neurobatch does not need: each gets an environment of its own, made when first asked for.

It holds what its hashed requirements name and sees neurobatch's own environment behind that, so that networks and
their libraries are the same. It lies in `runs/`, which git ignores; taking it away costs nothing but time.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from neurobatch.codes import Code
from neurobatch.errors import Broken

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements" / "peers.txt"
FOLDER = ROOT / "runs" / "peers"
SECONDS = 900.0  # to fetch and install

_ADDRESS = re.compile(r"\S*://\S+")  # of a registry: nobody else's business
_BEHIND = "import site; site.addsitedir({!r})\n"


def environment(folder: Path = FOLDER, requirements: Path = REQUIREMENTS) -> Path:
    """Where the environment for these requirements lies; another lock has another one."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    return folder / f"{sys.implementation.cache_tag}-{digest}"


def is_ready(place: Path) -> bool:
    """Whether the environment was made, and made to its end."""
    return (place / "ready").exists()


def interpreter(place: Path | None = None, requirements: Path = REQUIREMENTS) -> Path:
    """The Python that has the peers' libraries; the environment is made where it is not there.

    Raises:
        Broken: `internal`, it cannot be made; the message says why.
    """
    place = environment(requirements=requirements) if place is None else place
    python = place / "bin" / "python"
    if is_ready(place):
        return python
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, symlinks=True)
    options = ("--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:")
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *options, "-r", str(requirements)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise Broken(Code.INTERNAL, f"pip did not end within {SECONDS:.0f} s") from None
    if done.returncode:
        raise Broken(Code.INTERNAL, _reason(done.stderr))
    behind = Path(sysconfig.get_path("purelib", vars={"base": str(place)})) / "neurobatch.pth"
    behind.write_text(_BEHIND.format(sysconfig.get_path("purelib")))
    (place / "ready").touch()
    return python


def _reason(said: str) -> str:
    """Pip's last error in one line, without a registry's address."""
    errors = [line for line in said.splitlines() if line.startswith("ERROR: ")]
    return _ADDRESS.sub("(address)", errors[-1].removeprefix("ERROR: ")) if errors else "pip failed and said nothing"
