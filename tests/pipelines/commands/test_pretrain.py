"""Tests of `vigil pretrain`."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from components.artifacts import WEIGHTS, file_sha256
from components.vqgan.checkpoint import CHECKPOINTS
from pipelines.cli import app

SMALL = ("--steps", "2", "--codebook-size", "16", "--batch-size", "1", "--size", "32", "--image-side", "64")


def test_command_writes_a_base_model_and_its_manifest_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    source = tmp_path / "images"
    source.mkdir()
    for index in range(2):
        pixels = np.random.default_rng(index).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(source / f"{index}.png")
    done = CliRunner().invoke(app, ["pretrain", str(source), "--to", str(tmp_path / "out"), "--name", "ours", *SMALL])
    assert done.exit_code == 0, done.output
    entry = yaml.safe_load(done.output[done.output.index("ours:") :])["ours"]
    assert Path(entry["uri"]) == tmp_path / "out" / "generator" / WEIGHTS
    assert entry["sha256"] == file_sha256(Path(entry["uri"]))
    assert "psnr: " in done.output
