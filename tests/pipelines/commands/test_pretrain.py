"""Tests of `vigil pretrain`: local, published to a real object store, and compiled for a cluster."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import CONFIG, WEIGHTS, file_sha256, read_json
from components.generator.checkpoint import CHECKPOINTS
from components.generator.model import build_generator
from components.storage import s3
from components.task_environment import CONFIG_MAP_FOLDER, CONFIG_MAP_KEYS
from components.vqgan.config import Config as GeneratorConfig
from components.weights.fetch import manifest
from components.weights.manifest import FILE, VARIABLE, load_manifest
from pipelines.lines.line import load_line
from tests.components.trees import save_series, write_folder, write_mvtec
from tests.pipelines.dags.test_training import run_blocked
from tests.pipelines.packages import documents
from tests.pipelines.vigil import Vigil, assert_refused

SMALL = (
    *("--steps", "2", "--codebook-size", "16", "--batch-size", "1", "--size", "32", "--image-side", "64"),
    *("--learning-rate", "0.001", "--held-out", "0.4"),
)
PUBLISHED = ("--name", "ours", "--licence", "CC-BY-4.0")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep checkpoints, and what is fetched, in the test's folder."""
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))


def write_line(folder: Path, name: str, dataset: dict[str, Any], **sections: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.yaml"
    content = {"name": name, "object": "part", "dataset": dataset, **sections}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def write_lines(tmp_path: Path) -> Path:
    """Two lines, whose data sets have four and nine good training images."""
    lines = tmp_path / "lines"
    write_line(lines, "bolts", {"uri": str(write_mvtec(tmp_path / "bolts"))})
    save_series(tmp_path / "bolts" / "train" / "good", 4, 900)  # other images than those of the nuts
    write_line(lines, "nuts", {"uri": str(write_folder(tmp_path / "nuts")), "layout": "folder"})
    return lines


def test_lines_are_trained_on_and_the_local_manifest_names_the_base(
    vigil: Vigil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    done = vigil("pretrain", "--lines", write_lines(tmp_path), "--to", out, *PUBLISHED, *SMALL)
    assert (done.code, done.err) == (0, "")
    content = read_json(out / "generator" / CONFIG)
    assert (content["figures"]["images"], content["figures"]["held_out"]) == (8, 5)
    assert (content["config"]["learning_rate"], content["config"]["held_out"]) == (0.001, 0.4)
    entry = load_manifest(str(out / FILE))["ours"]
    path = out / "generator" / WEIGHTS
    assert (entry.uri, entry.sha256, entry.licence) == (str(path), file_sha256(path), "CC-BY-4.0")
    assert entry.figures["psnr"] == pytest.approx(content["figures"]["psnr"], abs=1e-4)
    assert {"perceptual", "perceptual_distance", "codes_used", "images_digest", "vigil_version"} <= entry.figures.keys()
    assert done.out.splitlines()[-2:] == ["vqgan.weights: ours", f"with {VARIABLE}={out / FILE}"]
    monkeypatch.setenv(VARIABLE, str(out / FILE))
    assert build_generator(GeneratorConfig(codebook_size=16, weights="ours")).config.num_vq_embeddings == 16


def test_base_without_a_licence_is_named_by_its_digest(vigil: Vigil, tmp_path: Path) -> None:
    save_series(tmp_path / "images", 2, 0)
    done = vigil("pretrain", tmp_path / "images", "--to", tmp_path / "out", *SMALL)
    assert (done.code, done.err) == (0, "")
    path = tmp_path / "out" / "generator" / WEIGHTS
    assert done.out.splitlines()[-1] == f"vqgan.weights: {path}#sha256={file_sha256(path)}"
    assert not (tmp_path / "out" / FILE).exists()


@pytest.mark.s3
def test_base_is_published_and_a_run_takes_it_by_name(
    vigil: Vigil, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.publish_directory(write_mvtec(tmp_path / "bolts"), f"{prefix}/bolts")
    lines = tmp_path / "lines"
    write_line(lines, "bolts", {"uri": f"{prefix}/bolts"})
    published = ("--publish", f"{prefix}/bases/", *PUBLISHED)
    done = vigil("pretrain", "--lines", lines, "--to", tmp_path / "out", *published, *SMALL)
    assert (done.code, done.err) == (0, "")
    manifest = f"{prefix}/bases/{FILE}"
    assert f"with {VARIABLE}={manifest}" in done.out
    entry = load_manifest(manifest)["ours"]
    assert entry.uri == f"{prefix}/bases/ours/{entry.sha256}/{WEIGHTS}"
    assert s3.stored_sha256(entry.uri) == entry.sha256
    assert s3.object_exists(entry.uri.replace(WEIGHTS, CONFIG))

    monkeypatch.setenv(VARIABLE, manifest)
    line = write_line(tmp_path, "own", {"uri": "."}, vqgan={"weights": "ours", "codebook_size": 16})
    reference = f"{entry.uri}#sha256={entry.sha256}"
    assert load_line(line).arguments()["vqgan_weights"] == reference
    assert reference in [found for _, found in load_line(line).named_weights()]
    assert build_generator(load_line(line).vqgan).config.num_vq_embeddings == 16
    _assert_weights_commands_show_it(vigil, line, entry.sha256, prefix, monkeypatch)


def _assert_weights_commands_show_it(
    vigil: Vigil, line: Path, sha256: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    listed = vigil("weights", "list", "--profile", "embedded", "--line", line)
    assert sum(sha256[:12] in text for text in listed.out.splitlines()) == 1
    assert any(text.startswith("ours: psnr ") and "images_digest" in text for text in listed.out.splitlines())
    verified = vigil("weights", "verify", "--profile", "embedded", "--line", line)
    assert "ours: ok, " in verified.out
    mirrored = vigil("weights", "mirror", f"{prefix}/mirror", "--profile", "embedded", "--line", line)
    assert f"ours: copied, {prefix}/mirror/{sha256}" in mirrored.out
    assert manifest()["ours"].sha256 == sha256


@pytest.mark.s3
def test_base_that_could_not_be_published_is_published_by_the_next_run(
    vigil: Vigil, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_series(tmp_path / "images", 2, 0)
    command = ("pretrain", tmp_path / "images", "--to", tmp_path / "out", "--publish", f"{prefix}/bases", *PUBLISHED)
    kept = s3.publish_directory

    def unreachable(directory: Path, uri: str) -> None:
        raise OSError(f"{uri}: the store did not answer")

    monkeypatch.setattr("components.pretraining.publication.publish_directory", unreachable)
    failed = vigil(*command, *SMALL)
    assert (failed.code, failed.err.count("\n")) == (1, 1)
    assert not s3.object_exists(f"{prefix}/bases/{FILE}")
    monkeypatch.setattr("components.pretraining.publication.publish_directory", kept)
    monkeypatch.setattr("components.pretraining.pretrain.Pretraining.update", None)  # all steps are in the checkpoint
    assert vigil(*command, *SMALL).code == 0
    assert list(load_manifest(f"{prefix}/bases/{FILE}")) == ["ours"]


@pytest.mark.s3
def test_what_cannot_be_published_is_refused_before_the_training(vigil: Vigil, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "weights.yaml").write_text("ours: [", encoding="utf-8")
    s3.publish_file(tmp_path / "weights.yaml", f"{prefix}/bases/{FILE}")
    command = ("pretrain", tmp_path / "no images", "--licence", "MIT", "--publish")
    assert_refused(vigil(*command, f"{prefix}/bases"), f"weights manifest {prefix}/bases/{FILE}: not YAML")
    assert_refused(vigil(*command, "s3://nowhere/bases"), "s3://nowhere")
    assert_refused(vigil(*command, f"{prefix}/new", "--name", "vgg16"), "name: got 'vgg16', expected another one than")
    assert_refused(vigil(*command, f"{prefix}/new", "--name", "none"), "name: got 'none', expected another one than")


def test_bad_input_is_refused_in_one_line(vigil: Vigil, tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    assert_refused(vigil("pretrain"), "pretraining.sources: got (), expected at least one folder")
    assert_refused(vigil("pretrain", root), "`vigil pretrain --lines DIR` takes")
    assert_refused(vigil("pretrain", root, "--publish", "s3://b/p"), "pretraining.licence: got '', expected an SPDX")
    assert_refused(vigil("pretrain", root, "--publish", str(root)), "pretraining.publish: got ")
    assert_refused(vigil("pretrain", "--lines", tmp_path / "absent"), "line: no file at ")


def test_package_has_the_options_and_the_task_settings(vigil: Vigil, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    write_line(lines, "bolts", {"uri": "s3://lines/bolts"})
    write_line(lines, "nuts", {"uri": "s3://lines/nuts", "layout": "folder", "test_fraction": 0.3}, seed=5)
    defaults = tmp_path / "cluster.yaml"
    defaults.write_text("{s3_secret: plant-keys, vqgan: {gpu: 1, memory: 8Gi}}", encoding="utf-8")
    package = tmp_path / "package.yaml"
    done = vigil(
        *("pretrain", "s3://photos/walls", "--lines", lines, "--publish", "s3://weights/bases", *PUBLISHED, *SMALL),
        *("--architecture", "f16", "--perceptual", "lpips", "--perceptual-backbone", "own"),
        *("--compile", package, "--cluster-defaults", defaults),
    )
    assert (done.code, done.err, done.out) == (0, "", f"{package}\n")
    pipeline, platform = documents(package)
    found = pipeline["root"]["inputDefinitions"]["parameters"]
    assert all(parameter["isOptional"] for parameter in found.values())
    values = {name: parameter.get("defaultValue") for name, parameter in found.items()}
    assert values["sources"] == ["s3://photos/walls"]
    assert values["datasets"] == [
        {"uri": "s3://lines/bolts", "layout": "mvtec", "test_fraction": "0.2", "seed": "0"},
        {"uri": "s3://lines/nuts", "layout": "folder", "test_fraction": "0.3", "seed": "5"},
    ]
    assert (values["line"], values["publish"], values["licence"]) == ("ours", "s3://weights/bases", "CC-BY-4.0")
    assert (values["architecture"], values["perceptual"], values["perceptual_backbone"]) == ("f16", "lpips", "own")
    (executor,) = pipeline["deploymentSpec"]["executors"].values()
    assert executor["container"]["resources"]["accelerator"]["resourceCount"] == "1"
    (settings,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert [secret["secretName"] for secret in settings["secretAsVolume"]] == ["plant-keys"]
    assert {CHECKPOINTS, VARIABLE} <= {*CONFIG_MAP_KEYS}
    (config_map,) = settings["configMapAsVolume"]
    assert config_map["mountPath"] == CONFIG_MAP_FOLDER
    assert settings["podMetadata"]["labels"] == {"vigil/stage": "pretraining", "vigil/line": "ours"}


def test_package_that_a_cluster_could_not_run_is_refused(vigil: Vigil, tmp_path: Path) -> None:
    lines = write_lines(tmp_path)
    command = ("pretrain", *PUBLISHED, "--compile", tmp_path / "package.yaml")
    expected = "expected s3://BUCKET/PREFIX, which the tasks of a cluster can read"
    assert_refused(vigil(*command, "--lines", lines, "--publish", "s3://weights/bases"), expected)
    assert_refused(vigil(*command, "/photos", "--publish", "s3://weights/bases"), expected)
    assert_refused(vigil(*command, "s3://photos/walls"), "pretraining.publish: got '', expected s3://BUCKET/PREFIX")
    base = vigil(*command, "s3://photos/walls", "--publish", "s3://weights/bases", "--name", "base")
    assert_refused(base, "name: got 'base', expected another one than base, none and the names of")
    assert not (tmp_path / "package.yaml").exists()


def test_compiling_needs_no_heavy_library(tmp_path: Path) -> None:
    published = ("--publish", "s3://weights/bases", *PUBLISHED)
    done = run_blocked("pretrain", "s3://photos/walls", *published, "--compile", str(tmp_path / "package.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "package.yaml").is_file()
