"""What surrounds the build of the images: package indexes for it, and the command line's errors."""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from components import __version__
from images import build
from images.build import BUDGETS, ROOT, served_indexes
from tests import ports

_TOKEN = "token-of-the-index"
_OLD = "0" * 40
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
    assert {"cli", "mlflow", "serving", "generation", "detection"} == set(budgets) <= set(stages)


def test_port_of_a_served_folder_is_none_that_tests_take() -> None:
    taken = range(ports.FIRST, ports.FIRST + 2 * ports.GRPC_OFFSET)
    assert not set(build._PORTS) & set(taken)


class Client:
    """A fake Docker client: it writes down how it is called, and has images of an older commit."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls"
        self.path = folder / "docker"
        self.path.write_text(
            f"""#!/bin/sh
echo "$@" >> {self.calls}
case "$*" in
*Labels*) echo {_OLD} ;;
*Size*) echo 1000000 ;;
"push broken.example"*) echo "denied: no access"; exit 1 ;;
esac
""",
            encoding="utf-8",
        )
        self.path.chmod(0o755)

    def called(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of the project, whose state is committed."""
    root = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.webp")
    for name in ("components", "images", "pipelines"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    (root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    _git(root, "init", "--quiet")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message", "state")
    return root


def _git(root: Path, *arguments: str) -> str:
    own = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(root), *own, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _build(
    client: Client, *arguments: str, root: Path = ROOT, variables: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VIGIL_", "PYTHONPATH"))}
    return subprocess.run(
        [sys.executable, "-m", "images.build", *arguments],
        cwd=root,
        env={**kept, "DOCKER": str(client.path), "NO_COLOR": "1", **(variables or {})},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("variable", ["VIGIL_PIP_INDEX", "VIGIL_PIP_EXTRA_INDEX"])
@pytest.mark.parametrize(
    "address",
    [
        f"https://user:{_TOKEN}@index.example/simple",
        f"https://user:a/{_TOKEN}@index.example/simple",
        f"https://index.example/simple?token={_TOKEN}",
    ],
)
def test_index_with_a_credential_is_refused_and_never_printed(client: Client, variable: str, address: str) -> None:
    done = _build(client, variables={variable: address})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "package index: got credentials or a query" in done.stderr
    assert _TOKEN not in done.stderr
    assert client.called() == []


def test_tag_of_another_commit_is_not_built_over(client: Client) -> None:
    done = _build(client, variables={"VIGIL_PIP_INDEX": "https://index.example/simple"})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"image vigil/vigil-python-cli:{__version__}: was built from commit {_OLD}, this is" in done.stderr
    assert not [call for call in client.called() if call.startswith("build")]


def test_revision_marks_changes_beside_the_commit(client: Client, checkout: Path) -> None:
    commit = _git(checkout, "rev-parse", "HEAD")
    assert _build(client, "--replace", root=checkout).returncode == 0
    (checkout / "components" / "__init__.py").open("a").write("# changed\n")
    assert _build(client, "--replace", root=checkout).returncode == 0
    shutil.rmtree(checkout / ".git")
    assert _build(client, "--replace", root=checkout).returncode == 0
    revisions = re.findall(r"REVISION=(\S+)", "\n".join(client.called()))
    assert revisions == 5 * [commit] + 5 * [f"{commit}-dirty"] + 5 * ["unknown"]


def test_images_are_pushed_under_a_registry_from_a_commit_only(client: Client, checkout: Path) -> None:
    names = [f"{name}:{__version__}" for name in ("vigil-python-cli", "vigil-mlflow", "vigil-serving")]
    names += [f"vigil-python-{family}:{__version__}" for family in ("generation", "detection")]
    done = _build(client, "--replace", "--push", "images.example:5000/vision", root=checkout)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-5:] == [f"pushed: images.example:5000/vision/{name}" for name in names]
    targets = {name: f"images.example:5000/vision/{name}" for name in names}
    calls = [(f"tag vigil/{name} {target}", f"push {target}") for name, target in targets.items()]
    assert client.called()[-10:] == [call for pair in calls for call in pair]

    denied = _build(client, "--replace", "--push", "broken.example", root=checkout)
    assert denied.returncode == 1
    assert "cannot be pushed:\ndenied: no access" in denied.stderr

    (checkout / "components" / "__init__.py").open("a").write("# changed\n")
    dirty = _build(client, "--replace", "--push", "images.example/vision", root=checkout)
    assert dirty.returncode == 2
    assert "-dirty', expected a commit without changes beside it" in dirty.stderr


def test_address_with_a_login_is_no_registry(client: Client) -> None:
    done = _build(client, "--push", f"user:{_TOKEN}@images.example/vision")
    assert (done.returncode, done.stderr.count("\n"), client.called()) == (2, 1, [])
    assert _TOKEN not in done.stderr


def test_unknown_option_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "images.build", "--tag", "latest"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "No such option" in done.stderr
