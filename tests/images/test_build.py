"""What surrounds the build of the images: package indexes for it, and the command line's errors."""

import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from images.build import BUDGETS, ROOT, served_indexes

LINK = '<a href="../../files/part-1.0-py3-none-any.whl">part-1.0-py3-none-any.whl</a>'


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A package index in a folder, with its files beside it."""
    page = tmp_path / "packages" / "simple" / "part" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text(LINK, encoding="utf-8")
    (tmp_path / "packages" / "files").mkdir()
    (tmp_path / "packages" / "files" / "part-1.0-py3-none-any.whl").write_bytes(b"wheel")
    return page.parents[1]


def read(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=10) as answer:
        content: bytes = answer.read()
    return content


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_folder_is_served_with_the_files_that_it_links_to(index: Path, scheme: str) -> None:
    with served_indexes([f"{scheme}{index}"]) as (address,):
        assert read(f"{address}/part/").decode() == LINK
        assert read(f"{address}/part/../../files/part-1.0-py3-none-any.whl") == b"wheel"
    with pytest.raises(urllib.error.URLError):
        read(address)


def test_folder_has_the_same_address_in_every_build(index: Path) -> None:
    with served_indexes([str(index)]) as (first,):
        pass
    with served_indexes([str(index)]) as (again,), served_indexes([str(index)]) as (beside,):
        assert again == first != beside
        assert read(f"{beside}/part/") == read(f"{again}/part/") == LINK.encode()


def test_address_is_passed_on() -> None:
    with served_indexes(["https://index.example/simple"]) as addresses:
        assert addresses == ["https://index.example/simple"]


def test_every_final_target_has_a_name_and_a_budget() -> None:
    stages = [line.split()[-1] for line in (ROOT / "images" / "Dockerfile").read_text().splitlines() if " AS " in line]
    budgets = yaml.safe_load(BUDGETS.read_text(encoding="utf-8"))
    assert {"cli", "mlflow", "generation", "detection"} == set(budgets) <= set(stages)


def test_unknown_option_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "images.build", "--tag", "latest"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such option" in done.stderr
