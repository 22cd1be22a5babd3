"""The pinned requirements of the image families agree, so that the images share their layers."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[1] / "requirements"


def pins(name: str) -> dict[str, str]:
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE))


@pytest.mark.parametrize(("lower", "upper"), [("cli", "generation"), ("generation", "detection"), ("detection", "dev")])
def test_upper_layer_only_adds(lower: str, upper: str) -> None:
    assert pins(lower).items() <= pins(upper).items()


def test_served_detectors_are_run_by_what_has_checked_them() -> None:
    assert pins("serving").items() <= pins("dev").items()


def test_command_lines_image_lacks_what_only_other_downloads_of_the_hub_need() -> None:
    """Eleven megabytes; with it the image is at its budget."""
    assert "hf-xet" in pins("generation")
    assert "hf-xet" not in pins("cli")


def test_project_is_built_by_what_the_environment_has() -> None:
    assert pins("build").items() <= pins("dev").items()


def test_tracking_server_has_the_version_of_its_clients() -> None:
    server, client = pins("mlflow"), pins("generation")
    assert {name: server[name] for name in server.keys() & client.keys()} == {
        name: client[name] for name in server.keys() & client.keys()
    }
    assert server["mlflow"] == client["mlflow"]


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_pin_is_hashed_and_no_index_is_named(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for block in re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "-index" not in re.sub(r"^#.*$", "", text, flags=re.MULTILINE)
