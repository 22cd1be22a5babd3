"""Every image set of a run has its figures beside those of the given images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.artifacts import new_image_set, write_candidates
from components.reporting.sources import Sources
from components.reporting.variety import image_sets
from tests.components.trees import noise


def test_every_set_is_measured_beside_the_image_that_it_was_made_from(tmp_path: Path) -> None:
    given = [noise(seed) // 2 for seed in range(2)]
    with new_image_set(tmp_path / "reference") as (writer, _):
        for index, image in enumerate(given):
            writer.add(image, id=f"given-{index}", source=f"{index}.png")
        for index in range(2):
            writer.add(noise(9 + index), id=f"kept-{index}", source=f"kept-{index}.png", split="calibration")
    with new_image_set(tmp_path / "augmented") as (writer, _):
        for index, image in enumerate(given):
            writer.add((image + 51).astype(np.uint8), id=f"augmented-{index}", source=f"given-{index}")
    (tmp_path / "candidates").mkdir()
    brighter = torch.from_numpy(np.stack([image + 26 for image in given])).permute(0, 3, 1, 2) / 255
    write_candidates(tmp_path / "candidates", 0, brighter.float(), ["given-0", "given-1"])
    paths = dict.fromkeys(("prompts", "synthetic", "predictions", "best"), tmp_path / "nothing")
    own = {
        "selected": tmp_path / "augmented",
        **{name: tmp_path / name for name in ("reference", "augmented", "candidates")},
    }

    found = image_sets(Sources(**paths, **own))

    assert list(found) == ["given", "held_out", "augmented", "generated", "iteration_000"]
    assert found["given"].psnr is None
    assert found["augmented"].psnr == pytest.approx(-20 * np.log10(0.2), abs=1e-3)
    assert found["iteration_000"].psnr == pytest.approx(-20 * np.log10(26 / 255), abs=1e-3)
    assert found["augmented"].pixel_std == pytest.approx(found["given"].pixel_std)
    assert found["held_out"].psnr is not None
    assert found["held_out"].psnr < 12
