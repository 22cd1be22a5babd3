"""Tests of what a line may hold for a server of some release, and for any cluster."""

from pathlib import Path

import pytest

from components.errors import InputError
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.submission import check_for_cluster
from pipelines.cluster.transport import Connection
from pipelines.lines.line import load_line
from tests.pipelines.cluster_lines import write_line
from tests.pipelines.kfp_api import KfpApi
from tests.pipelines.vigil import Vigil


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return write_line(tmp_path / "lines", "bolts")


@pytest.mark.parametrize("command", [("submit",), ("schedule", "apply")])
def test_settings_that_the_server_refuses_are_named_before_the_upload(
    vigil: Vigil, kfp_api: KfpApi, line: Path, command: tuple[str, ...]
) -> None:
    kfp_api.health = {"tag_name": "2.15.0", "multi_user": False}
    write_line(line.parent, "bolts", cluster={"run_as_user": 1000, "run_timeout_seconds": 3600})
    done = vigil(*command, line if command == ("submit",) else line.parent)
    assert done.code == 2
    refused = "Kubeflow Pipelines 2.15.0 refuses packages with it, servers have it from"
    assert f"bolts: cluster.run_as_user: got 1000, expected 0 or none: {refused} 2.16 on" in done.err
    assert f"bolts: cluster.run_timeout_seconds: got 3600, expected 0 or none: {refused} 2.17 on" in done.err
    assert kfp_api.changes == []


@pytest.mark.parametrize(("tag", "deadline"), [("2.16.1", None), ("2.17.0", 259200)])
def test_runs_have_a_deadline_where_the_server_knows_it(
    vigil: Vigil, kfp_api: KfpApi, line: Path, tag: str, deadline: int | None
) -> None:
    cluster = Kubeflow(Connection(host=kfp_api.url))
    cluster.version = tag
    write_line(line.parent, "bolts", cluster={"run_as_user": 1000})
    accepted = cluster.accepted(load_line(line))
    assert (accepted.cluster.run_timeout_seconds or None, accepted.cluster.run_as_user) == (deadline, 1000)


def test_text_that_argo_would_take_for_a_variable_is_refused(line: Path) -> None:
    write_line(line.parent, "bolts", object="{{bolt")
    with pytest.raises(InputError, match=r"object: got '\{\{bolt', expected a text without \{\{"):
        check_for_cluster(load_line(line), mounted=True)
    write_line(line.parent, "bolts", prompts={"words": ["crack", "{{x}}"]})
    with pytest.raises(InputError, match=r"prompts.words: got '\{\{x\}\}'"):
        check_for_cluster(load_line(line), mounted=True)


def test_paths_in_volumes_of_the_line_are_mounted(line: Path) -> None:
    def checked(uri: str) -> None:
        cluster = {"volumes": [{"claim": "data", "path": "/mnt/data"}]}
        check_for_cluster(
            load_line(write_line(line.parent, "bolts", dataset={"uri": uri}, cluster=cluster)), mounted=False
        )

    checked("/mnt/data/bolts")
    with pytest.raises(InputError, match=r"dataset.uri: got '/mnt/dat', expected .* cluster.volumes, or --mounted"):
        checked("/mnt/dat")
