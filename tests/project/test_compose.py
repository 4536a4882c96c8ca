"""The compose file and the images: docker-compose takes them; they hold no secret and do not run as root."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from neurobatch.settings import PREFIX, Settings
from tests.project.tree import ROOT

COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
SECRETS = ("NEUROBATCH_TOKENS", "NEUROBATCH_LINK_SECRET", "S3_ACCESS_KEY", "S3_SECRET_KEY", "REDIS_PASSWORD")


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def config(env_file: Path) -> subprocess.CompletedProcess[str]:
    """What docker-compose makes of the file; needs no Docker engine."""
    program = shutil.which("docker-compose")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("docker-compose is missing")
        pytest.skip("docker-compose is missing: apt-get install docker-compose")
    command = [program, "--file", str(COMPOSE), "--env-file", str(env_file), "config"]
    bare = {"PATH": os.environ["PATH"], "HOME": str(env_file.parent)}
    return subprocess.run(command, env=bare, capture_output=True, text=True, timeout=60, check=False)


def filled(folder: Path, *, without: str = "") -> Path:
    """The example environment with every secret set, or all but one."""
    text = re.sub(r"^(\w+)=$", r"\1=made-up", (ROOT / ".env.example").read_text(), flags=re.MULTILINE)
    file = folder / "env"
    file.write_text(re.sub(rf"^{without}=.*$", "", text, flags=re.MULTILINE) if without else text)
    return file


def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    done = config(filled(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(yaml.safe_load(done.stdout)["services"]) >= {"api", "worker", "redis", "seaweedfs", "bucket"}


@pytest.mark.parametrize("secret", SECRETS)
def test_without_a_secret_nothing_starts(secret: str, tmp_path: Path) -> None:
    done = config(filled(tmp_path, without=secret))
    assert done.returncode == 1
    assert "set it in .env" in done.stderr


def test_the_example_environment_names_every_variable_and_holds_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    example = dict(line.split("=", 1) for line in lines if re.match(r"\w", line))
    assert set(re.findall(r"\$\{(\w+)", COMPOSE.read_text())) == set(example)
    assert {name for name in SECRETS if example[name]} == {"S3_ACCESS_KEY"}  # a name, not a secret


def test_every_setting_in_it_is_one_that_the_code_knows() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    used = {name for service in services().values() for name in service.get("environment", {})}
    assert {name for name in used if name.startswith(PREFIX)} - known == set()


def test_only_the_api_is_published_and_on_loopback_unless_told_otherwise() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {"api": ["${NEUROBATCH_BIND:-127.0.0.1}:8700:8700"]}


def test_workers_can_be_scaled_and_have_room_for_the_arena() -> None:
    worker = services()["worker"]
    assert not {"container_name", "ports", "hostname"} & set(worker)
    arena = int(worker["environment"]["NEUROBATCH_ARENA"])
    assert int(worker["shm_size"].removesuffix("m")) << 20 > arena
    assert worker["read_only"] is True


def test_redis_keeps_what_it_was_told_and_evicts_nothing() -> None:
    command = " ".join(services()["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize(("image", "locked"), [("api", "api.txt"), ("worker", "run.txt"), ("worker-gpu", "gpu.txt")])
def test_images_come_from_the_hashed_lock_and_do_not_run_as_root(image: str, locked: str) -> None:
    stage = DOCKERFILE.split(f"FROM base AS {image}\n")[1].split("\nFROM ")[0]
    assert f"pip install --require-hashes --only-binary :all: --requirement /tmp/{locked}" in stage
    assert "pip install --no-index --no-deps /own/*.whl" in stage
    assert stage.index("USER neurobatch") < min(stage.find(word) for word in ("HEALTHCHECK ", "\nCMD "))
    assert "USER root" not in stage


@pytest.mark.parametrize("service", ["api", "worker", "worker-gpu"])
def test_an_image_starts_what_the_compose_file_starts(service: str) -> None:
    stage = DOCKERFILE.split(f"FROM base AS {service}\n")[1].split("\nFROM ")[0]
    (command,) = re.findall(r"^CMD (.+)$", stage, flags=re.MULTILINE)
    assert yaml.safe_load(command) == services()[service]["command"]


def test_the_images_get_code_and_lock_and_nothing_else() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    assert rules[1] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {"client", "api", "worker", "storage", "models", "pipeline", "deploy", "phantom"} <= kept
    assert not {".", "tests", "data", ".git", ".env"} & kept
