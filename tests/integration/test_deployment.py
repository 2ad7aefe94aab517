"""The image and the compose file, as far as they can be checked without a container engine."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"

pytestmark = pytest.mark.skipif(not DEPLOY.is_dir(), reason="needs the checkout")


def instructions() -> dict[str, list[str]]:
    """Instruction -> its arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.setdefault(word, []).append(rest)
    return found


def test_the_image_starts_as_sagemaker_needs_it():
    """`docker run <image> serve`, exec form, so that SIGTERM reaches the server; ports of all interfaces."""
    lines = instructions()
    assert json.loads(lines["ENTRYPOINT"][-1]) == ["trimer"]
    assert json.loads(lines["CMD"][-1])[0] == "serve"
    assert {"8000", "8080", "8500"} <= set(lines["EXPOSE"][-1].split())
    assert "USER" not in lines  # SageMaker runs containers as root
    assert "whl/cpu" in lines["ARG"][0]


def test_the_image_copies_what_the_build_needs_and_installs_known_extras():
    lines = instructions()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.search(r"\[(.+?)\]", lines["RUN"][1])
    assert extras and set(extras[1].split(",")) <= set(project["optional-dependencies"])
    copied = [word for line in lines["COPY"] if not line.startswith("--") for word in line.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert {"pyproject.toml", "README.md", "LICENSE", "src", "conf"} <= set(copied)


def test_the_compose_file_requires_a_token_and_opens_ports_for_this_machine_only():
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    server = compose["services"]["trimer"]
    assert server["environment"]["TRIMER_SERVE_TOKEN"].startswith("${TRIMER_SERVE_TOKEN:?")
    ports = [port for service in compose["services"].values() for port in service["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    assert jobs[0]["static_configs"][0]["targets"] == ["trimer:8000"]
