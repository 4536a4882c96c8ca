#!/bin/sh
# Installs neurobatch into .venv from the hashed lock: `deploy/install.sh [run|gpu|dev]`. Needs a Python with venv, nothing else.
#   PYTHON=/path/to/python    which interpreter; else the first fitting one on PATH
#   WHEELHOUSE=folder         take every wheel from this folder and ask no registry
set -eu
cd "$(dirname "$0")/.."

LOCK=${1:-run}
VENV=.venv

say() { printf '%s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

find_python() {
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if fits "$name"; then
            command -v "$name"
            return
        fi
    done
    say "neurobatch needs Python 3.11, 3.12 or 3.13, and none was found."
    for name in ${PYTHON:-python3}; do
        say "  $name is $("$name" --version 2>/dev/null || echo missing)"
    done
    say "On Debian and Ubuntu: apt-get install python3.11 python3.11-venv (or newer); or name one: make install PYTHON=/path/to/python3.11"
    exit 1
}

need_venv() {
    if "$1" -c 'import venv, ensurepip' 2>/dev/null; then return; fi
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    say "$1 has no venv module. On Debian and Ubuntu the package python$version-venv brings it: apt-get install python$version-venv"
    say "(python3-venv does for the system's own python3.)"
    exit 1
}

if ! { [ -x "$VENV/bin/python" ] && fits "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; }; then
    python=$(find_python)
    need_venv "$python"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
fi

# Set here and not for make, so that nothing else that pip is told (an index, a certificate, a proxy) gets lost.
if [ -n "${WHEELHOUSE:-}" ]; then
    set -- --no-index --find-links "$WHEELHOUSE"
else
    set --
fi
export PIP_DISABLE_PIP_VERSION_CHECK=1

say "Installing from requirements/$LOCK.txt; the first time this takes a few minutes (TensorFlow and OpenVINO)."
"$VENV/bin/python" -m pip install --quiet --require-hashes "$@" -r "requirements/$LOCK.txt"
"$VENV/bin/python" -m pip install --quiet --no-index --no-build-isolation --no-deps -e client -e .
