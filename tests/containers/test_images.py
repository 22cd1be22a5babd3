"""The built images: user, read-only root, what is inside, what is not, and shared layers."""

import re
import tomllib
from typing import Any

import pytest

from components import __version__
from components.stage.images import USER_ID
from images.build import ROOT
from tests.containers.conftest import IMAGES, PYTHON_IMAGES, Docker, image_name

LICENCES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
WORDNET = "/opt/vigil/share/nltk_data/corpora"
COMPILERS = "cc c++ gcc g++ clang make ld"
RESTRICTED = ("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL")

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("built")]


def run(docker: Docker, name: str, *command: str, user: str = "") -> str:
    """What a command prints in a container of an image whose root is read-only."""
    return docker(*RESTRICTED, *(("--user", user) if user else ()), image_name(name), *command).strip()


def layers(docker: Docker, name: str) -> list[str]:
    return list(docker.inspect(image_name(name))["RootFS"]["Layers"])


def test_build_prints_every_size_within_its_budget(built: str) -> None:
    lines = built.splitlines()
    assert [line.split()[0] for line in lines] == [
        image_name(name) for name in (*IMAGES[:1], *IMAGES[3:], *IMAGES[1:3])
    ]
    for line in lines:
        _, size, _, budget, *_ = line.split()
        assert 0 < int(size) <= int(budget)


@pytest.mark.parametrize("name", IMAGES)
def test_image_has_a_numeric_user_no_entrypoint_and_labels(docker: Docker, name: str) -> None:
    config: dict[str, Any] = docker.inspect(image_name(name))["Config"]
    assert config["User"] == f"{USER_ID}:{USER_ID}"
    assert not config["Entrypoint"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert (labels["title"], labels["version"], labels["licenses"]) == (name, __version__, LICENCES)
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", labels["revision"])


@pytest.mark.parametrize("name", IMAGES)
def test_image_has_no_compiler_and_no_package_cache(docker: Docker, name: str) -> None:
    found = f"id -u; for program in {COMPILERS}; do command -v $program; done; ls -d /root/.cache /tmp/* || true"
    assert run(docker, name, "sh", "-c", found) == str(USER_ID)


@pytest.mark.parametrize("name", PYTHON_IMAGES)
@pytest.mark.parametrize("user", ["", "54321:0"])
def test_command_line_works_for_any_user(docker: Docker, name: str, user: str) -> None:
    assert run(docker, name, "vigil", "--version", user=user) == __version__


def test_command_line_compiles_in_its_small_image(docker: Docker) -> None:
    script = "VIGIL_IMAGE_REGISTRY=r.example vigil compile -o /tmp/p.yaml && grep -c vigil-python-detection /tmp/p.yaml"
    assert int(run(docker, "vigil-python-cli", "sh", "-c", script).splitlines()[-1]) > 0


@pytest.mark.parametrize("user", ["", "54321:0"])
def test_wordnet_is_inside_and_closed_to_other_writers(docker: Docker, user: str) -> None:
    script = "from components.wordnet.words import noun_senses; print(noun_senses('transistor')[0].name())"
    assert run(docker, "vigil-python-generation", "python3", "-c", script, user=user) == "transistor.n.01"
    assert run(docker, "vigil-python-generation", "find", WORDNET, "-perm", "/022") == ""


def test_libraries_find_a_place_to_write(docker: Docker) -> None:
    script = (
        "import matplotlib.pyplot, torch, tempfile, pathlib, anomalib.models, mlflow;"
        "print(matplotlib.get_configdir(), torch.hub.get_dir(), tempfile.gettempdir(), pathlib.Path.home())"
    )
    printed = run(docker, "vigil-python-detection", "python3", "-W", "ignore", "-c", script, user="54321:0")
    assert printed.splitlines()[-1] == "/tmp/cache/matplotlib /tmp/cache/torch/hub /tmp /tmp"


def test_tracking_server_has_its_drivers(docker: Docker) -> None:
    script = "import boto3, psycopg2, mlflow; print(mlflow.__version__)"
    assert run(docker, "vigil-mlflow", "python3", "-c", script).splitlines()[-1] == "3.17.2"


def test_families_share_their_layers(docker: Docker) -> None:
    cli, generation, detection = (layers(docker, name) for name in PYTHON_IMAGES)
    assert generation[: len(cli) - 1] == cli[:-1]
    assert detection[: len(generation) - 1] == generation[:-1]
