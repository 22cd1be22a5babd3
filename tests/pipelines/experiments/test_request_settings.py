"""Settings of what experiments measure and compare with, which no line has."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from components.artifacts import file_sha256
from components.errors import InputError
from components.quality.inception import architecture
from pipelines.experiments.catalogue import cells
from pipelines.experiments.local import run_experiment, store_of
from pipelines.experiments.nodes import Cell
from pipelines.experiments.request import Request
from tests.components.vgg16 import random_vgg16, save_vgg16
from tests.pipelines.experiments.conftest import TINY

Ask = Callable[..., Request]


def found_cells(ask: Ask, name: str, *settings: str) -> list[Cell]:
    request = ask(name, settings=(*TINY, *settings), seeds="7")
    return cells(name, request.study(for_cluster=False))


def test_quality_is_measured_as_it_is_set(ask: Ask) -> None:
    found = found_cells(ask, "table2", "quality.inception=inception", "quality.fid=true", "quality.kid=true")
    configs = [cell.node.config for cell in found if cell.kind == "quality"]
    assert {(config.inception, config.lpips_backbone, config.fid, config.kid) for config in configs} == {
        ("inception", "", True, True)
    }
    assert {(config.embedder, config.seed) for config in configs} == {("conse", 7)}


def test_text_alone_paints_as_it_is_set(ask: Ask) -> None:
    found = found_cells(ask, "table1", "vqgan_clip.steps=3", "vqgan_clip.images=2", "vqgan_clip.cutouts=4")
    configs = [cell.node.config for cell in found if cell.node.stage == "vqgan_clip"]
    assert {(config.steps, config.images, config.cutouts) for config in configs} == {(3, 2, 4)}
    assert {config.prompt for config in configs} == {"word", "naive", "best"}
    assert {(config.object, config.weights, config.codebook_size, config.seed) for config in configs} == {
        ("brick", "none", 16, 7)
    }


@pytest.mark.parametrize(("settings", "expected"), [([], "vgg16"), (["quality.lpips_backbone=''"], "")])
def test_the_standard_profile_names_the_papers_networks(settings: list[str], expected: str) -> None:
    given = [*settings, "vqgan.weights=/f16.safetensors#sha256=" + "0" * 64]
    request = Request(name="table2", data="s3://lines", classes=["bolt"], profile="standard", settings=given)
    quality = request.study(for_cluster=True).quality
    assert (quality.inception, quality.lpips_backbone) == ("inception", expected)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("quality.inceptoin=x", "quality.inceptoin: unknown key, .*did you mean inception"),
        ("quality.seed=1", "quality.seed: unknown key"),
        ("quality.fid=often", r"quality.fid: got 'often' \(str\), expected bool"),
        ("vqgan_clip.steps=0", "vqgan_clip.steps: got 0, expected 1 to 100000"),
        ("vqgan_clip.prompt=word", "vqgan_clip.prompt: unknown key"),
        ("name.x=1", "--set: got 'name', expected a section"),
        ("quality.inception=[", "--set: got 'quality.inception=\\[', expected a value in YAML"),
    ],
)
def test_wrong_settings_are_named(ask: Ask, setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ask("table2", settings=[setting]).study(for_cluster=True)


def save_random_inception(path: Path) -> str:
    """Reference to random weights of the network of IS, FID and KID."""
    torch.manual_seed(0)
    save_file(architecture().state_dict(), path)
    return f"{path}#sha256={file_sha256(path)}"


def quality_rows(ask: Ask, workdir: Path, *settings: str) -> pd.DataFrame:
    """Rows of Table 2's image quality alone, for one prompt and the augmented images."""
    found = [cell for cell in found_cells(ask, "table2", *settings) if cell.method in ("augmented", "generated")]
    measured = [cell for cell in found if cell.kind == "quality"]
    run_experiment("table2", measured, {}, workdir, 1, lambda *_: None)
    return pd.read_parquet(workdir / "table2.parquet")


@pytest.mark.slow
def test_table_2_has_the_scores_of_networks_that_are_named(ask: Ask, tmp_path: Path) -> None:
    inception = save_random_inception(tmp_path / "inception.safetensors")
    vgg16 = save_vgg16(random_vgg16(), tmp_path / "vgg16.safetensors")
    named = (f"quality.inception={inception}", f"quality.lpips_backbone={vgg16}")
    table = quality_rows(ask, tmp_path / "work", "dataset.shots=2", *named)
    for measure in ("inception_score", "lpips", "ssim", "psnr"):
        rows = table[table["measure"] == measure]
        assert set(rows["method"]) == {"augmented", "generated"}
        assert rows["value"].notna().all()
    page = (tmp_path / "work" / "table2.html").read_text(encoding="utf-8")
    assert "<h3>lpips</h3>" in page
    assert "fid: not asked for: quality.fid is false" in page


@pytest.mark.slow
def test_figures_whose_weights_were_unavailable_are_measured_again(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "vgg16.safetensors"
    named = f"quality.lpips_backbone={save_vgg16(random_vgg16(), path)}"
    away = path.rename(tmp_path / "away")
    lacking = quality_rows(ask, tmp_path / "work", named).query("measure == 'lpips'")
    assert lacking["value"].isna().all()
    assert lacking["note"].str.startswith("unavailable").all()
    measured = next(cell.node for cell in found_cells(ask, "table2", named) if cell.kind == "quality")
    assert not store_of(tmp_path / "work", 1).finished(measured)
    away.rename(path)
    assert quality_rows(ask, tmp_path / "work", named).query("measure == 'lpips'")["value"].notna().all()
