"""Experiments as packages for a cluster."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.errors import InputError
from components.tabulation.gather import RESULTS
from pipelines.experiments.catalogue import cells
from pipelines.experiments.dag import write_package
from pipelines.experiments.request import Request
from tests.conftest import NewDatabase
from tests.pipelines.packages import documents

Ask = Callable[..., Request]


def package_of(request: Request, path: Path, defaults: Path | None = None) -> dict[str, Any]:
    found = cells(request.name, request.study(for_cluster=True))
    write_package(path, request.name, found, request.summary(), defaults)
    return documents(path)[0]


def comparable(table: pd.DataFrame) -> pd.DataFrame:
    """The figures, without what depends on the machine's load."""
    columns = ["class_name", "shots", "seed", "detector", "method", "measure", "item", "value"]
    return table[table["measure"] != "latency_ms"][columns].reset_index(drop=True)


def count(package: dict[str, Any], start: str) -> int:
    return sum(name.startswith(start) for name in package["root"]["dag"]["tasks"])


@pytest.mark.slow
def test_package_has_the_plans_tasks_each_once(ask: Ask, tmp_path: Path) -> None:
    package = package_of(ask("table3", seeds="0,1"), tmp_path / "package.yaml")
    # One loop with and one without variance for each seed, and the digest of the data once.
    assert [count(package, name) for name in ("fingerprint", "dataset", "vqgan", "draw-page")] == [1, 2, 4, 1]
    # Of each seed: the baselines, and the sets with and without text, of 1 copy (2 are all), and without variance.
    assert count(package, "evaluation") == 2 * 5
    assert count(package, "for-loop") == count(package, "evaluation")


@pytest.mark.slow
def test_many_cells_are_merged_in_parts(ask: Ask, tmp_path: Path) -> None:
    package = package_of(ask("fig5", seeds="0,1,2,3,4"), tmp_path / "package.yaml")
    assert (count(package, "gather-cells"), count(package, "merge-results")) == (2, 1)


def test_output_must_be_yaml(ask: Ask, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"output: got .*package\.zip"):
        package_of(ask("fig9"), tmp_path / "package.zip")


@pytest.mark.slow
def test_package_gives_the_figures_of_the_local_run(
    ask: Ask, new_database: NewDatabase, tmp_path: Path, bare_cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kfp import components, local

    from pipelines.experiments.local import run_experiment

    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    request = ask("fig9")
    package_of(request, tmp_path / "package.yaml", bare_cluster)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    outputs = components.load_component_from_file(str(tmp_path / "package.yaml"))().outputs
    found = cells("fig9", request.study(for_cluster=False))
    run_experiment("fig9", found, request.summary(), tmp_path / "local", 1, lambda *_: None)
    expected = pd.read_parquet(tmp_path / "local" / "fig9.parquet")
    received = pd.read_parquet(Path(outputs["results"].path) / RESULTS)
    pd.testing.assert_frame_equal(comparable(received), comparable(expected))
    assert "Similarity over iterations" in Path(outputs["page"].path).read_text(encoding="utf-8")
