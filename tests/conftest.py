"""What all tests share: a tiny class folder, a clean environment, and the flag that rewrites golden files."""

import hashlib
import inspect
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components.logs import configure_logging
from tests.s3_server import BUCKET, S3Server, use_store

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: more threads only wait for each other

MvtecTree = Callable[..., Path]
"""`mvtec_tree(size=64, train=3, test_good=2, test_bad=2, name="part")` writes a class folder and returns its path."""

NewDatabase = Callable[[Path], str]
"""`new_database(folder)` puts MLflow's database, without runs, into a folder and returns its address."""

TIERS = ("container", "browser", "chart", "s3", "slow")
"""Markers of the tests that are not in the default tier; a test with several belongs to the first."""

_REGENERATE = "--regenerate-golden"
_TEXTURE_PERIOD = 8
_SCRATCH_ROWS = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that rewrites golden files."""
    parser.addoption(_REGENERATE, action="store_true", help="Rewrite the golden files instead of comparing with them.")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to rewrite golden files where nobody reviews them."""
    if config.getoption(_REGENERATE) and "CI" in os.environ:
        raise pytest.UsageError(f"{_REGENERATE}: got the environment variable CI, expected a developer's machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests of each tier ran, and how many were skipped."""
    counts = {
        outcome: Counter(_tier(report) for report in terminalreporter.getreports(outcome))
        for outcome in ("passed", "failed", "error", "skipped")
    }
    ran = counts["passed"] + counts["failed"] + counts["error"]
    tiers = [tier for tier in ("default", *TIERS) if ran[tier] or counts["skipped"][tier]]
    shown = (f"{tier} {ran[tier]} ran, {counts['skipped'][tier]} skipped" for tier in tiers)
    terminalreporter.write_line(f"tests by tier: {'; '.join(shown)}")


def _tier(report: pytest.TestReport | pytest.CollectReport) -> str:
    return next((tier for tier in TIERS if tier in report.keywords), "default")


@pytest.fixture(scope="session", autouse=True)
def known_frames() -> None:
    """Name a module for the frames below the tests that have none: pytest's own start, and that of a worker.

    For every such frame `inspect.stack()` looks through all loaded modules, and kfp calls it for every setting of a
    task: 0.2 s in a process with anomalib and MLflow, a quarter of a minute for a package.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if inspect.getmodule(frame) is None:
            inspect.modulesbyfile[frame.f_code.co_filename] = "builtins"
        frame = frame.f_back


@pytest.fixture
def regenerate_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are rewritten."""
    return bool(request.config.getoption(_REGENERATE))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test without a tracking server, an object store, a proxy or a pipeline run, and undo what it sets."""
    store = [name for name in os.environ if name.startswith(("AWS_", "S3_", "VIGIL_"))]
    proxies = [name for name in os.environ if name.lower().endswith("_proxy")]
    for name in ("MLFLOW_TRACKING_URI", "VIGIL_RUN_ID", "SSL_CERT_FILE", *store, *proxies):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    configure_logging()


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Copies of a database that MLflow has made once, as that takes seconds."""
    from mlflow import MlflowClient

    empty = tmp_path_factory.mktemp("mlflow") / "empty.db"
    MlflowClient(f"sqlite:///{empty}").search_experiments()

    def copy(folder: Path) -> str:
        return f"sqlite:///{shutil.copyfile(empty, folder / 'mlflow.db')}"

    return copy


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that all tests share, stopped when they end."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def prefix(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own in the shared server, reached with the right credentials."""
    use_store(monkeypatch, s3_server.endpoint)
    return f"s3://{BUCKET}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


@pytest.fixture(scope="session")
def mvtec_tree(tmp_path_factory: pytest.TempPathFactory) -> MvtecTree:
    """Factory of class folders in the MVTec layout: stripes with noise, and a bright scratch in the bad images."""

    def write(*, size: int = 64, train: int = 3, test_good: int = 2, test_bad: int = 2, name: str = "part") -> Path:
        root = tmp_path_factory.mktemp("lines") / name
        generator = np.random.default_rng(0)
        _write_good(root / "train" / "good", train, size, generator)
        _write_good(root / "test" / "good", test_good, size, generator)
        _write_scratched(root, test_bad, size, generator)
        return root

    return write


def _write_good(folder: Path, count: int, size: int, generator: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(_texture(size, generator)).save(folder / f"{index:03d}.png")


def _write_scratched(root: Path, count: int, size: int, generator: np.random.Generator) -> None:
    images, masks = root / "test" / "scratch", root / "ground_truth" / "scratch"
    images.mkdir(parents=True)
    masks.mkdir(parents=True)
    for index in range(count):
        row = int(generator.integers(size // 4, size // 2))
        mask = np.zeros((size, size), dtype=bool)
        mask[row : row + _SCRATCH_ROWS, size // 4 : -size // 4] = True
        image = np.where(mask[..., None], np.uint8(255), _texture(size, generator))
        Image.fromarray(image).save(images / f"{index:03d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"{index:03d}_mask.png")


def _texture(size: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    stripes = 90 + 40 * (np.arange(size) % _TEXTURE_PERIOD < _TEXTURE_PERIOD // 2)
    grey = stripes[None, :] + generator.integers(-10, 11, size=(size, size))
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
