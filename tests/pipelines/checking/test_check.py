"""Tests of the checks of a line, by the command and by its parts, on tiny images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from components.errors import InputError
from components.storage.s3 import publish_directory
from pipelines.checking.check import check_before_run, check_line
from pipelines.checking.cost import check_cost
from pipelines.checking.data import check_data
from pipelines.checking.findings import Finding, Findings
from pipelines.checking.weights import check_weights
from pipelines.checking.words import check_words
from pipelines.lines.line import Line, load_line
from tests.components.trees import marked, noise, save, write_mvtec
from tests.pipelines.vigil import Vigil


def write_line(root: Path, **values: Any) -> Path:
    """A line beside its class folder."""
    dataset = {"uri": str(root), "image_size": 64, **values.pop("dataset", {})}
    content = {"name": "bolts", "object": "bolt", "dataset": dataset, **values}
    path = root.with_name(f"{root.name}.yaml")
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def named(findings: Findings, name: str) -> list[tuple[str, str]]:
    return [(finding.level, finding.message) for finding in findings.found if finding.name == name]


def data_findings(root: Path, **dataset: Any) -> Findings:
    return check_line(load_line(write_line(root, dataset=dataset)), (check_data,))


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class folder without faults."""
    return write_mvtec(tmp_path_factory.mktemp("clean") / "part", train=6)


def test_a_good_line_is_ready(vigil: Vigil, part: Path) -> None:
    done = vigil("check", write_line(part, dataset={"shots": 2}))

    assert (done.code, done.err) == (0, "")
    for text in (
        "64x64 (10)",
        "10 of 10 images",
        "bolt.n.01",
        "efficientnet-lite0",
        "ready for a run: 0 e",
    ):
        assert text in done.out


def test_json_has_the_facts(vigil: Vigil, part: Path) -> None:
    found = json.loads(vigil("check", write_line(part, dataset={"shots": 2, "choose": "coverage"}), "--json").out)

    assert found["line"] == "bolts"
    assert found["fails"] is False
    assert found["images"] == {
        "train": {"good": 6, "bad": 0, "masks": 0},
        "test": {"good": 2, "bad": 2, "masks": 2},
    }
    assert found["given"] == {"shots": 2, "calibration": 0}
    assert found["defects"] == {"bent": {"images": 2, "masks": 2}}
    assert found["pixels"] == {"looked_at": 10, "of": 10, "sizes": {"64x64": 10}, "modes": {"8-bit RGB": 10}}
    assert found["left_out"] == []
    assert found["duplicates"] == {"equal": [], "nearly_equal": []}
    assert {row["state"] for row in found["weights"]} == {"here"}
    assert [finding["level"] for finding in found["findings"]] == ["note"] * len(found["findings"])


def test_faults_of_a_folder_are_named(vigil: Vigil, tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=6)
    good = root / "train" / "good"
    shutil.copyfile(good / "000.png", root / "test" / "good" / "010.png")
    save(root / "test" / "good" / "011.png", noise(1) ^ 1)
    save(root / "test" / "bent" / "002.png", noise(300))
    save(root / "ground_truth" / "bent" / "002_mask.png", 255 - marked(rows=4))
    (good / "006.png").write_bytes((good / "005.png").read_bytes()[:-200])
    (good / "photo.heic").write_bytes(b"?")

    findings = data_findings(root, shots=4)

    assert findings.failed
    ((level, message),) = named(findings, "data.pixels")
    assert (level, "006.png: damaged" in message) == ("error", True)
    ((level, message),) = named(findings, "data.masks")
    assert (level, "002_mask.png: marks 94% of the image" in message) == ("error", True)
    ((level, message),) = named(findings, "data.left_out")
    assert (level, "photo.heic" in message) == ("warning", True)
    equal, near = named(findings, "data.duplicates")
    assert equal == ("warning", "in training and in the test: train/good/000.png, test/good/010.png are equal files")
    assert near[1].endswith("1 times: train/good/001.png and test/good/011.png")
    done = vigil("check", root.with_name("part.yaml"))
    assert done.code == 2
    assert "a run would fail: 2 errors" in done.out
    with pytest.raises(InputError, match=r"006\.png: damaged .*; mask .*002_mask\.png: marks 94%"):
        check_before_run(load_line(root.with_name("part.yaml")), here=True)


def test_unusual_images_are_warned_of(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)
    good = root / "train" / "good"
    Image.fromarray(noise(7, 32, 48)).save(good / "wide.png")
    Image.fromarray(np.dstack([noise(8), noise(9)[..., 0]])).save(good / "alpha.png")
    pages = [Image.fromarray(noise(seed)) for seed in (10, 11)]
    pages[0].save(good / "pages.tif", save_all=True, append_images=pages[1:])
    Image.fromarray(noise(12)[..., 0].astype(np.uint16) * 16).save(good / "deep.png")

    findings = data_findings(root, shots=4)

    assert not findings.failed
    assert findings.facts["pixels"]["modes"]["16-bit, 12 bits used"] == 1
    warnings = [message for _, message in named(findings, "data.pixels")]
    for text in ("more than one page", "transparency", "less than a tenth of the range"):
        assert sum(text in message for message in warnings) == 1
    sizes = [message for _, message in named(findings, "data.sizes")]
    assert sizes == ["2 sizes of images: 64x64, 48x32", "images of 48x32 are stretched to 64x64"]


def test_a_line_that_cannot_draw_its_images_fails(part: Path, tmp_path: Path) -> None:
    assert named(data_findings(part, shots=7), "data.shots") == [
        ("error", "dataset.shots: got 7, expected at most 6, the good training images")
    ]
    missing = data_findings(tmp_path / "missing")
    assert named(missing, "data.listing") == [("error", f"dataset: {tmp_path / 'missing'} is not a folder")]


def test_what_a_folder_of_good_images_cannot_show(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=12)
    shutil.rmtree(root / "test")
    shutil.rmtree(root / "ground_truth")

    findings = data_findings(root, shots=1)

    assert not findings.failed
    assert [level for level, _ in named(findings, "data.threshold")] == ["warning"]
    assert ("warning", "no labelled defects: AUROC and the like cannot be measured on real ones") in named(
        findings, "data.test"
    )


@pytest.mark.s3
def test_of_an_object_store_some_images_are_fetched(part: Path, prefix: str) -> None:
    publish_directory(part, prefix)
    line = load_line(write_line(part, dataset={"uri": prefix, "shots": 2}))
    findings = Findings()

    check_data(line, findings, fetched=5)

    assert not findings.failed
    assert findings.facts["images"]["train"]["good"] == 6
    assert (findings.facts["pixels"]["looked_at"], findings.facts["pixels"]["of"]) == (5, 10)
    assert check_before_run(line, here=False).facts["images"] == findings.facts["images"]


def test_the_object_is_looked_up(part: Path) -> None:
    def found(name: str, **prompts: Any) -> Findings:
        return check_line(load_line(write_line(part, object=name, prompts=prompts)), (check_words,))

    compound = found("metal nut")
    assert ("note", "'metal nut' is not in WordNet: it is looked up as 'nut'") in named(compound, "object.sense")
    assert compound.facts["senses"][0]["gloss"]
    unknown = named(found("qzzx"), "object.sense")
    assert unknown == [("error", "object: got 'qzzx', expected a noun of WordNet; or give prompts.words")]
    assert not found("qzzx", words=["thread"]).failed


def test_weights_are_looked_for(part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path))
    digest = f"#sha256={'0' * 64}"
    values = {"embedder": "open_clip:ViT-B-32", "embedder_weights": f"{tmp_path}/clip.pt{digest}"}

    def found(**given: str) -> list[tuple[str, str]]:
        return named(check_line(load_line(write_line(part, **values | given)), (check_weights,)), "weights")

    ((level, message),) = found()
    assert (level, message.endswith(f"no file at {tmp_path}/clip.pt")) == ("error", True)
    ((level, message),) = found(embedder_weights=f"https://hub/clip.pt{digest}")
    assert (level, "a run fetches it from https://hub/clip.pt" in message) == ("warning", True)


def test_time_grows_with_what_is_trained(part: Path) -> None:
    def expected(**values: Any) -> dict[str, Any]:
        return dict(check_line(load_line(write_line(part, **values)), (check_cost,)).facts["expected"])

    one = expected(training_sets=["none"])
    assert expected(training_sets=["none", "rotations"])["seconds"] > one["seconds"]
    large = expected(dataset={"image_size": 256})
    assert large["seconds_by_stage"]["vqgan"] > 10 * one["seconds_by_stage"]["vqgan"]
    assert large["memory_gb"] == pytest.approx(3.7)


def test_further_checks_add_their_findings(part: Path) -> None:
    def own(line: Line, findings: Findings) -> None:
        findings.add("warning", "own.name", f"{line.name} is a\nname")

    findings = check_line(load_line(write_line(part)), (own, own))

    assert findings.found == [Finding(level="warning", name="own.name", message="bolts is a name")]
    assert findings.to_content()["findings"] == [findings.found[0].to_content()]
