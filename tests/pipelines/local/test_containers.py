"""What a container of a run has access to, without an engine."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from components.errors import InputError
from components.stage.images import USER_ID
from pipelines.lines.line import Line, parse_line
from pipelines.local import containers
from pipelines.local.workdir import Workdir
from tests.pipelines.vigil import Vigil

DIGEST = "0" * 64


def line(folder: Path, **changes: Any) -> Line:
    dataset = folder / "images"
    dataset.mkdir(exist_ok=True)
    return parse_line({"name": "part", "object": "brick", "dataset": {"uri": str(dataset)}, **changes}, folder)


def mounted(mounts: Sequence[Any]) -> dict[str, bool]:
    """Whether each path that is mounted under its own name may be written."""
    assert all(mount["Source"] == mount["Target"] and mount["Type"] == "bind" for mount in mounts)
    return {mount["Target"]: not mount["ReadOnly"] for mount in mounts}


def test_data_set_is_seen_and_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "require_images", lambda images: None)
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    for name in (*containers.READ_PATHS, "VIGIL_CACHE", "VIGIL_CHECKPOINTS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    with containers.docker_runner(line(tmp_path), Workdir(root=tmp_path / "run")) as runner:
        assert mounted(runner.container_run_args["mounts"]) == {
            str(tmp_path / "run"): True,
            str(tmp_path / "run" / "cache"): True,
            str(tmp_path / "images"): False,
        }


def test_weights_file_is_seen(tmp_path: Path) -> None:
    weights = tmp_path / "vqgan.safetensors"
    weights.write_bytes(b"")
    generator = {"architecture": "f16", "weights": f"{weights}#sha256={DIGEST}"}
    assert containers._read_paths(line(tmp_path, vqgan=generator)) == [tmp_path / "images", weights]


def test_objects_in_a_store_are_not_mounted(tmp_path: Path) -> None:
    generator = {"architecture": "f16", "weights": f"s3://weights/vqgan.safetensors#sha256={DIGEST}"}
    assert containers._read_paths(line(tmp_path, dataset={"uri": "s3://lines/part"}, vqgan=generator)) == []


@pytest.mark.parametrize(
    "name",
    [
        "SSL_CERT_FILE",
        "S3_CA_FILE",
        "S3_CREDENTIALS_DIR",
        "MLFLOW_TRACKING_SERVER_CERT_PATH",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    ],
)
def test_paths_of_the_environment_are_seen(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    path.mkdir()
    monkeypatch.setenv(name, str(path))
    part = line(tmp_path, dataset={"uri": "s3://lines/part"})
    assert containers._read_paths(part) == [path]
    assert containers._environment(Workdir(root=tmp_path), tmp_path)[name] == str(path)
    monkeypatch.setenv(name, "secret")
    with pytest.raises(InputError, match=f"{name}: got 'secret', expected an absolute path with runner docker"):
        containers._read_paths(part)


def test_path_that_is_named_twice_is_seen_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    monkeypatch.setenv("S3_CA_FILE", str(certificates))
    assert containers._read_paths(line(tmp_path)) == [tmp_path / "images", certificates]


def test_images_of_the_penalty_are_seen(tmp_path: Path) -> None:
    images = tmp_path / "imagenet"
    images.mkdir()
    detection = {"imagenet_dir": str(images)}
    assert containers._read_paths(line(tmp_path, detection=detection)) == [tmp_path / "images", images]
    with pytest.raises(InputError, match=r"detection.imagenet_dir: got 'imagenet', expected an absolute path"):
        containers._read_paths(line(tmp_path, detection={"imagenet_dir": "imagenet"}))


def test_relative_weights_are_refused(tmp_path: Path) -> None:
    generator = {"architecture": "f16", "weights": f"vqgan.safetensors#sha256={DIGEST}"}
    with pytest.raises(InputError, match=r"vqgan.weights: got 'vqgan\.safetensors', expected an absolute path"):
        containers._read_paths(line(tmp_path, vqgan=generator))


def test_containers_inherit_what_is_named_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = Workdir(root=tmp_path), tmp_path / "cache"
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", folder.tracking_uri)
    monkeypatch.setenv("S3_ENDPOINT", "http://store:9000")
    monkeypatch.setenv("AWS_REGION", "")
    monkeypatch.setenv("NLTK_DATA", "/elsewhere")
    monkeypatch.setenv("HOME", "/root")
    assert containers._environment(folder, cache) == {
        "MLFLOW_TRACKING_URI": folder.tracking_uri,
        "S3_ENDPOINT": "http://store:9000",
        "VIGIL_CACHE": str(cache),
    }


def test_database_outside_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////elsewhere/mlflow.db")
    with pytest.raises(InputError, match=r"MLFLOW_TRACKING_URI: got 'sqlite:////elsewhere/mlflow.db', expected"):
        containers._environment(Workdir(root=tmp_path), tmp_path)


@pytest.mark.skipif("os.geteuid() != 0", reason="only root can hand files over")
def test_root_and_the_images_user_can_write_each_others_files(tmp_path: Path) -> None:
    earlier, later = tmp_path / "artifacts" / "earlier", tmp_path / "artifacts" / "later"
    earlier.mkdir(parents=True)
    (earlier / "file").touch()
    with containers._shared([tmp_path]) as user:
        later.mkdir()
        (later / "file").touch()
    assert user == f"{USER_ID}:{USER_ID}"
    assert (earlier / "file").stat().st_uid == USER_ID
    for path in (tmp_path, earlier, earlier / "file", later, later / "file"):
        assert (path.stat().st_gid, path.stat().st_mode & stat.S_IWGRP) == (USER_ID, stat.S_IWGRP), path


def test_missing_engine_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    with pytest.raises(InputError, match=f"runner docker: no Docker engine answers at unix://{tmp_path}/no.sock"):
        containers.require_images(["vigil/part:1"])


def test_unknown_runner_is_bad_input(vigil: Vigil, tmp_path: Path) -> None:
    done = vigil("run", tmp_path / "line.yaml", "--workdir", tmp_path / "run", "--runner", "podman")
    assert done.code == 2
    assert "podman" in done.err
