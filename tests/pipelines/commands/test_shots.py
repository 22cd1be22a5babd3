"""Tests of `vigil shots` on a few tiny images."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.components.trees import noise, save, write_mvtec
from tests.pipelines.vigil import Vigil, assert_refused


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four nearly equal images, one in a folder of its own, one that is odd, and a damaged file."""
    root = tmp_path_factory.mktemp("pool") / "camera [1]"
    for index in range(4):
        spoilt = noise(1).copy()
        spoilt[:index] = 0
        save(root / ("day 2" if index == 3 else "") / f"{index}.png", spoilt)
    save(root / "odd.png", np.full((64, 64, 3), (255, 0, 0), dtype=np.uint8))
    (root / "broken.png").write_bytes(b"no image")
    return root


def test_sheet_and_lists(vigil: Vigil, pool: Path, tmp_path: Path) -> None:
    output = tmp_path / "chosen"

    done = vigil("shots", pool, "-k", "2", "-o", output)

    assert done.code == 0
    assert "left out: broken.png: broken.png: not an image" in done.out
    summary = json.loads((output / "shots.json").read_text(encoding="utf-8"))
    assert summary["pool"] == str(pool)
    assert summary["images"] == 5
    assert [row["file"] for row in summary["look_at"]] == ["odd.png"]
    assert [row["file"] for row in summary["left_out"]] == ["broken.png"]
    files = [f"{pool}/{row['file']}" for row in summary["shots"]]
    assert (output / "shots.txt").read_text(encoding="utf-8").splitlines() == files
    assert all(Path(file).is_file() for file in files)
    with (output / "pool.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png", "day 2/3.png", "odd.png"]
    assert [row["look_at"] for row in rows] == ["", "", "", "", "yes"]
    assert sorted(row["rank"] for row in rows) == ["", "", "", "1", "2"]
    with Image.open(output / "contact-sheet.png") as sheet:
        assert sheet.width == 1072
        assert (np.asarray(sheet) == (255, 0, 0)).all(axis=2).sum() == 200 * 200

    again = vigil("shots", pool, "-k", "2", "-o", output, "--json")
    assert json.loads(again.out) == summary


@pytest.mark.parametrize(
    ("output", "message"),
    [("taken", "expected an empty folder, or one of an earlier choice"), ("taken/notes.txt", "expected a folder")],
)
def test_an_output_folder_of_something_else_is_left_alone(
    vigil: Vigil, pool: Path, tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").write_text("mine", encoding="utf-8")
    assert_refused(vigil("shots", pool, "-o", tmp_path / output), message)
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["notes.txt"]


def test_refusals(vigil: Vigil, pool: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    output = ("-o", tmp_path / "chosen")
    assert_refused(vigil("shots", tmp_path / "missing", *output), "missing is not a folder")
    assert_refused(vigil("shots", tmp_path / "empty", *output), "expected")
    assert_refused(vigil("shots", pool, "-o", pool / "chosen"), "expected a folder outside of")
    assert_refused(vigil("shots", pool, "-k", "6", *output), "shots: got 6, expected 1 to 5")
    assert_refused(vigil("shots", write_mvtec(tmp_path / "part"), *output), "part of a data set with a test split")
    assert not (tmp_path / "chosen").exists()
    assert vigil("shots", pool, "-k", "0", *output).code == 2
