"""Tests of `vigil submit` with kfp's generated client and a fake API server."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from components import __version__
from components.errors import InputError
from components.stage.run import stage
from pipelines.cluster import following, transport
from pipelines.cluster.following import failed_tasks, follow_run
from pipelines.cluster.submission import check_for_cluster
from pipelines.lines.line import load_line
from tests.conftest import MvtecTree, NewDatabase
from tests.pipelines.cluster_lines import write_line
from tests.pipelines.kfp_api import Item, KfpApi, serve, task_detail
from tests.pipelines.vigil import Done, Vigil, assert_refused

TOKEN = "eyJhbGciOiJSUzI1NiJ9.secret.signature"


@pytest.fixture
def line(tmp_path: Path) -> Path:
    return write_line(tmp_path / "lines", "bolts")


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at a run again at once."""
    monkeypatch.setattr(following, "POLL_SECONDS", 0.01)


def pause_by(monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None]) -> None:
    """Replace the pause before the next look, for this command alone: threads of other tests may sleep, too."""
    monkeypatch.setattr(following, "time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))


def submitted(vigil: Vigil, line: Path, *options: str | Path) -> Done:
    done = vigil("submit", line, *options)
    assert (done.code, done.err) == (0, "")
    return done


def assert_failed(done: Done, *expected: str) -> None:
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    for text in expected:
        assert text in done.err


def details(*tasks: Item) -> Item:
    return {"run_details": {"task_details": list(tasks)}}


def test_run_is_created(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    done = submitted(vigil, line)
    (run,) = kfp_api.items["runs"]
    assert done.out == f"{kfp_api.url}/#/runs/details/{run['run_id']}\n"
    assert run["display_name"].startswith("bolts 20")
    assert run["runtime_config"]["parameters"] == load_line(line).arguments()
    (version,) = kfp_api.items["versions"]
    assert version["name"].startswith(f"bolts-{__version__}-")
    assert len(version["name"].rpartition("-")[2]) == 12
    assert [item["display_name"] for item in kfp_api.items["pipelines"]] == ["vigil-training"]
    assert [item["display_name"] for item in kfp_api.items["experiments"]] == ["bolts"]


def test_all_lines_of_a_folder_are_submitted(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    write_line(line.parent, "nuts")
    done = submitted(vigil, line.parent)
    runs = kfp_api.items["runs"]
    assert done.out.splitlines() == [f"{kfp_api.url}/#/runs/details/{run['run_id']}" for run in runs]
    assert [run["display_name"].split()[0] for run in runs] == ["bolts", "nuts"]
    assert [item["display_name"] for item in kfp_api.items["experiments"]] == ["bolts", "nuts"]


def test_no_run_is_started_when_one_line_of_a_folder_is_wrong(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    (line.parent / "nuts.yaml").write_text("name: nuts", encoding="utf-8")
    done = vigil("submit", line.parent)
    assert_refused(done, "nuts.yaml")
    assert not kfp_api.items["runs"]


def test_data_that_can_be_reached_is_checked(vigil: Vigil, tmp_path: Path, mvtec_tree: MvtecTree) -> None:
    dataset = mvtec_tree(train=2)
    line = tmp_path / "line.yaml"
    content = {"name": "stripes", "object": "stripe", "dataset": {"uri": str(dataset), "shots": 3}}
    line.write_text(yaml.safe_dump(content), encoding="utf-8")

    done = vigil("submit", line, "--mounted")

    assert_refused(done, "dataset.shots: got 3, expected at most 2, the good training images")


def test_unchanged_package_is_uploaded_once(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    submitted(vigil, line)
    write_line(line.parent, "bolts", seed=3)
    submitted(vigil, line)
    assert (len(kfp_api.items["versions"]), len(kfp_api.items["runs"])) == (1, 2)
    write_line(line.parent, "bolts", cluster={"task": {"cpu": "2"}})
    submitted(vigil, line)
    assert (len(kfp_api.items["versions"]), len(kfp_api.items["pipelines"])) == (2, 1)


@pytest.mark.parametrize(("name", "start"), [("Line_7.a", "line-7.a-"), ("a._-b..", "a-b-"), ("0", "0-")])
def test_version_is_a_name_of_kubernetes(vigil: Vigil, kfp_api: KfpApi, tmp_path: Path, name: str, start: str) -> None:
    submitted(vigil, write_line(tmp_path, name))
    (version,) = kfp_api.items["versions"]
    assert version["name"].startswith(f"{start}{__version__}-")


def test_experiment_is_named(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    submitted(vigil, line, "--experiment", "trials", "--create-experiment")
    submitted(vigil, line, "--experiment", "trials")
    submitted(vigil, line, "--experiment", "trials", "--create-experiment")
    (experiment,) = kfp_api.items["experiments"]
    assert experiment["display_name"] == "trials"
    assert {run["experiment_id"] for run in kfp_api.items["runs"]} == {experiment["experiment_id"]}


def test_unknown_experiment_is_refused_and_nothing_is_uploaded(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    submitted(vigil, line, "--experiment", "trials", "--create-experiment")
    kfp_api.changes.clear()
    done = vigil("submit", line, "--experiment", "trails")
    assert_refused(done, "experiment: got 'trails', expected one that exists, or --create-experiment")
    assert kfp_api.changes == []


@pytest.mark.parametrize("variable", ["VIGIL_KFP_UI", "KF_PIPELINES_UI_ENDPOINT"])
def test_address_of_the_user_interface(
    vigil: Vigil, kfp_api: KfpApi, line: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "https://kubeflow.example.com/_/pipeline/")
    assert submitted(vigil, line).out.startswith("https://kubeflow.example.com/_/pipeline/#/runs/details/")


def test_defaults_of_the_cluster_reach_the_package(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    defaults = line.parent / "cluster-defaults.yaml"
    defaults.write_text("image_pull_secrets: [registry]\n")
    submitted(vigil, line)
    submitted(vigil, line, "--cluster-defaults", defaults)
    assert len(kfp_api.items["versions"]) == 2


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dataset": {"uri": "images"}}, "dataset.uri: got '/"),
        (
            {"dataset": {"uri": "/data/bolts"}},
            "dataset.uri: got '/data/bolts', expected s3://BUCKET/PREFIX on a cluster",
        ),
        ({"vqgan": {"weights": f"vqgan.safetensors#sha256={'0' * 64}"}}, "vqgan.weights: got 'vqgan.saf"),
        (
            {"embedder": "open_clip:ViT-B-32", "embedder_weights": f"clip.pt#sha256={'0' * 64}"},
            "error: embedder_weights: got 'clip.pt#sha256=",
        ),
        (
            {"detection": {"backbone": "resnet18", "backbone_weights": f"/weights/resnet18.pt#sha256={'0' * 64}"}},
            "detection.backbone_weights: got '/weights/resnet18.pt#sha256=",
        ),
        (
            {"detectors": ["dinomaly"], "detection": {"vit_weights": f"dino.pt#sha256={'0' * 64}"}},
            "detection.vit_weights: got 'dino.pt#sha256=",
        ),
        (
            {"detectors": ["efficientad"], "detection": {"teacher_weights": f"teacher.pt#sha256={'0' * 64}"}},
            "detection.teacher_weights: got 'teacher.pt#sha256=",
        ),
        ({"detection": {"imagenet_dir": "/data/imagenet"}}, "detection.imagenet_dir: got '/data/imagenet'"),
    ],
)
def test_paths_of_this_machine_are_refused(
    vigil: Vigil, kfp_api: KfpApi, line: Path, changes: dict[str, Any], expected: str
) -> None:
    write_line(line.parent, "bolts", **changes)
    assert_refused(vigil("submit", line), expected)
    assert kfp_api.calls == []
    submitted(vigil, line, "--mounted")


@pytest.mark.parametrize(
    "reference",
    [f"s3://weights/vqgan.safetensors#sha256={'0' * 64}", f"https://example.com/vqgan#sha256={'0' * 64}", "none"],
)
def test_addresses_of_weights_are_taken(line: Path, reference: str) -> None:
    write_line(line.parent, "bolts", vqgan={"weights": reference})
    check_for_cluster(load_line(line), mounted=False)


def test_unknown_weights_are_refused(line: Path) -> None:
    write_line(line.parent, "bolts", vqgan={"weights": "no-such-name"})
    with pytest.raises(InputError, match="no-such-name"):
        check_for_cluster(load_line(line), mounted=False)


def test_wait_follows_the_run(vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None) -> None:
    kfp_api.script = [
        {"state": "PENDING"},
        {
            "state": "RUNNING",
            **details(task_detail("root", "RUNNING", "wf-2"), task_detail("ingest-driver", "RUNNING")),
        },
        {"state": "RUNNING", **details(task_detail("root(0)", "RUNNING"), task_detail("ingest", "RUNNING"))},
        {
            "state": "RUNNING",
            **details(
                task_detail("ingest", "SUCCEEDED"),
                task_detail("ingest(0)", "SUCCEEDED"),
                task_detail("executor(0)", "SUCCEEDED"),
                task_detail("x-driver(0)", "SUCCEEDED"),
                task_detail("iteration-item(0:0)", "RUNNING"),
                task_detail("train", "RUNNING"),
                task_detail("train", "SUCCEEDED"),
            ),
        },
        {"state": "SUCCEEDED", **details(task_detail("train", "SUCCEEDED"), task_detail("train", "SUCCEEDED"))},
    ]
    done = submitted(vigil, line, "--wait")
    assert [text.partition("] ")[2] for text in done.out.splitlines()[1:]] == [
        "run: pending",
        "run: running",
        "ingest: running",
        "ingest: succeeded",
        "train: 1 running, 1 succeeded",
        "train: 2 succeeded",
        "run: succeeded",
    ]
    assert done.out.splitlines()[1].startswith("[0:00:0")


FAILED_NODES = (
    task_detail("root", "FAILED", "wf-1"),
    task_detail("root(0)", "FAILED", "wf-2"),
    task_detail("dataset-driver", "SUCCEEDED", "wf-3"),
    task_detail("dataset", "FAILED", "wf-4"),
    task_detail("dataset(0)", "FAILED", "wf-5"),
    task_detail("executor", "FAILED", "wf-6"),
    task_detail("executor(0)", "FAILED"),
)
"""Nodes of a run whose stage failed on 2.17, where Argo retries every template."""


def test_failed_stage_is_found_in_the_logs_of_the_cluster(
    vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None
) -> None:
    kfp_api.script = [{"state": "FAILED", **details(*FAILED_NODES)}]
    kfp_api.logs["wf-3"] = "driver: done\n"
    kfp_api.logs["wf-6"] = (
        "".join(f"line {number}\n" for number in range(40))
        + "[vigil] dataset: started\n[vigil] dataset: input-error: no images in s3://lines/bolts\n"
        + "F1127 main.go:60] failed to execute component: exit status 1\n"
    )
    done = vigil("submit", line, "--wait")
    cause = "dataset: no images in s3://lines/bolts"
    assert_failed(done, f"run failed: tasks that failed: dataset; {cause}; see {kfp_api.url}/#/runs/details/")
    shown = [text for text in done.out.splitlines() if text.startswith("  ")]
    assert shown[-2:] == ["  [vigil] dataset: started", "  [vigil] dataset: input-error: no images in s3://lines/bolts"]
    assert len(shown) == 20


def test_failed_stage_is_found_in_mlflow(
    vigil: Vigil,
    kfp_api: KfpApi,
    line: Path,
    no_pause: None,
    new_database: NewDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        with stage("dataset", "bolts"):
            print("half of it is read")
            raise ValueError("no memory")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    monkeypatch.setenv("VIGIL_RUN_ID", "runs-4")
    kfp_api.script = [{"state": "FAILED", **details(*FAILED_NODES)}]
    with pytest.raises(ValueError, match="no memory"):
        fail()
    capsys.readouterr()
    done = vigil("submit", line, "--wait")
    assert kfp_api.items["runs"][0]["run_id"] == "runs-4"
    assert_failed(done, "tasks that failed: dataset; dataset: ValueError: no memory; see ")
    assert "  half of it is read\n" in done.out
    assert not any(":read" in call for call in kfp_api.calls)


def test_failure_that_nobody_recorded(vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None) -> None:
    kfp_api.script = [{"state": "FAILED", **details(*FAILED_NODES)}]
    done = vigil("submit", line, "--wait")
    missing = "no stage's message is found: MLFLOW_TRACKING_URI is not set"
    assert_failed(done, f"run failed: tasks that failed: dataset; {missing}; see http")
    kfp_api.script = [{"state": "CANCELED"}]
    assert_failed(vigil("submit", line, "--wait"), "run canceled: tasks that failed: none is named; no stage's")


def test_logs_that_may_not_be_read(vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None) -> None:
    kfp_api.script = [{"state": "FAILED", **details(*FAILED_NODES)}]
    kfp_api.fail(403, "GET", ":read", body='{"error_message": "not authorized to readArtifact"}')
    assert_failed(vigil("submit", line, "--wait"), "no logs of the cluster (", "not authorized to readArtifact")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("root", "for-loop-1", "iteration-item(0:0)", "detection", "detection", "executor"), ["detection"]),
        (("root", "for-loop-1", "for-loop-1(0)", "iteration-item(1:1)"), ["for-loop-1"]),
        (("root", "root(0)", "dataset-driver"), ["dataset-driver"]),
        (("root",), []),
    ],
)
def test_failed_tasks(names: tuple[str, ...], expected: list[str]) -> None:
    import kfp_server_api as api

    tasks = [api.V2beta1PipelineTaskDetail(display_name=name, state="FAILED") for name in names]
    tasks.append(api.V2beta1PipelineTaskDetail(display_name="prompts", state="SUCCEEDED"))
    assert failed_tasks(api.V2beta1Run(run_details=api.V2beta1RunDetails(task_details=tasks))) == expected


def test_interruption_leaves_the_run(
    vigil: Vigil, kfp_api: KfpApi, line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    kfp_api.script = [{"state": "RUNNING"}]
    pause_by(monkeypatch, interrupt)
    done = vigil("submit", line, "--wait")
    assert done.code == 130
    assert done.err == f"interrupted; the run goes on: {done.out.splitlines()[0]}\n"
    assert not any("terminate" in call or call.startswith("DELETE") for call in kfp_api.calls)


@pytest.fixture
def three_lines(line: Path) -> Path:
    for name in ("nuts", "pins"):
        write_line(line.parent, name)
    return line.parent


def ended(state: str, *nodes: str) -> Item:
    """What a look at a run adds to it: its end, with the same task each time."""
    return {"state": state, **details(task_detail("train", state, *nodes))}


def test_wait_follows_the_runs_behind_a_failed_one(
    vigil: Vigil, kfp_api: KfpApi, three_lines: Path, no_pause: None
) -> None:
    kfp_api.logs["wf-1"] = "[vigil] train: failure: no memory"
    kfp_api.script = [ended("FAILED", "wf-1"), {"state": "RUNNING"}, ended("SUCCEEDED"), ended("FAILED")]
    done = vigil("submit", three_lines, "--wait")
    urls = [f"{kfp_api.url}/#/runs/details/{run['run_id']}" for run in kfp_api.items["runs"]]
    unset = "MLFLOW_TRACKING_URI is not set"
    assert done.out.splitlines()[:3] == urls
    followed = [text for text in done.out.splitlines()[3:] if "run: " in text]
    assert [(text.partition(": ")[0], text.rpartition("run: ")[2]) for text in followed] == [
        ("bolts", "failed"),
        ("nuts", "running"),
        ("nuts", "succeeded"),
        ("pins", "failed"),
    ]
    assert_failed(
        done,
        "error: 2 of 3 runs did not succeed: ",
        f"bolts: run failed: tasks that failed: train; train: no memory; see {urls[0]}; ",
        f"pins: run failed: tasks that failed: train; no stage's message is found: {unset}; see {urls[2]}",
    )
    assert "nuts" not in done.err


def test_wait_goes_on_behind_a_run_that_is_gone(
    vigil: Vigil, kfp_api: KfpApi, three_lines: Path, no_pause: None
) -> None:
    kfp_api.fail(404, "GET", "/runs/", times=1, body='{"message": "run not found"}')
    kfp_api.script = [ended("SUCCEEDED"), ended("SUCCEEDED")]
    done = vigil("submit", three_lines, "--wait")
    assert_failed(done, "1 of 3 runs did not succeed: bolts: ", "answered 404: run not found")
    assert len([text for text in done.out.splitlines() if text.endswith("run: succeeded")]) == 2


def test_wait_ends_with_a_server_that_stays_away(
    vigil: Vigil, kfp_api: KfpApi, three_lines: Path, no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)
    kfp_api.fail("text", "GET", "/runs/")
    done = vigil("submit", three_lines, "--wait")
    assert_failed(done, "malformed answer", "; not followed to the end: bolts, nuts, pins")


def test_interruption_names_all_runs_that_go_on(
    vigil: Vigil, kfp_api: KfpApi, three_lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    kfp_api.script = [ended("SUCCEEDED"), {"state": "RUNNING"}]
    pause_by(monkeypatch, interrupt)
    done = vigil("submit", three_lines, "--wait")
    assert done.code == 130
    assert done.err == f"interrupted; the runs go on: {' '.join(done.out.splitlines()[1:3])}\n"


def calls_of_submission(vigil: Vigil, api: KfpApi, folder: Path, size: int) -> int:
    """Number of calls when a folder of lines is submitted to an empty cluster."""
    api.page_limit = 100
    for items in api.items.values():
        items.clear()
    for number in range(size):
        write_line(folder / str(size), f"line-{number:03d}")
    api.calls.clear()
    submitted(vigil, folder / str(size))
    assert len(api.items["runs"]) == size
    return len(api.calls)


@pytest.mark.slow
def test_calls_per_line_are_constant(vigil: Vigil, kfp_api: KfpApi, tmp_path: Path) -> None:
    few, many = (calls_of_submission(vigil, kfp_api, tmp_path, size) for size in (2, 6))
    # Per line: version, upload, experiment, its creation, run. At all: health, pipeline, its creation.
    assert (few, many) == (2 * 5 + 3, 6 * 5 + 3)


@pytest.mark.slow
def test_two_hundred_lines(vigil: Vigil, kfp_api: KfpApi, tmp_path: Path) -> None:
    assert calls_of_submission(vigil, kfp_api, tmp_path, 200) == 200 * 5 + 3


def test_wait_outlasts_a_server_that_is_away(vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None) -> None:
    kfp_api.fail(503, "GET", "/runs/", times=5)
    kfp_api.script = [{"state": "SUCCEEDED"}]
    done = submitted(vigil, line, "--wait")
    assert "cannot read the run's state: " in done.out
    assert "answered 503" in done.out


def test_wait_ends_with_a_run_that_is_gone(vigil: Vigil, kfp_api: KfpApi, line: Path, no_pause: None) -> None:
    kfp_api.fail(404, "GET", "/runs/", body='{"message": "run not found"}')
    assert_failed(vigil("submit", line, "--wait"), "answered 404: run not found")


def test_patience_has_an_end(no_pause: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Away:
        def run(self, run_id: str) -> Any:
            raise transport.ClusterUnavailableError("cannot reach it")

    monkeypatch.setattr(following, "PATIENCE_SECONDS", 0.05)
    reports: list[str] = []
    with pytest.raises(transport.ClusterUnavailableError):
        follow_run(Away(), "1", reports.append)  # type: ignore[arg-type]
    assert reports


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_server_errors(vigil: Vigil, kfp_api: KfpApi, line: Path, method: str) -> None:
    kfp_api.fail(500, method, body='{"error_message": "boom", "error_details": "boom\\nat line 1"}')
    assert_failed(vigil("submit", line), f"{kfp_api.url} answered 500: boom")
    asked = [call for call in kfp_api.calls if call.startswith(method)]
    assert len(asked) == (4 if method == "GET" else 1)
    assert kfp_api.changes == []


def test_unreachable(vigil: Vigil, no_cluster: None, line: Path) -> None:
    with serve(KfpApi()) as api:
        url = api.url
    assert_failed(vigil("submit", line, "--host", url), f"cannot reach {url}: ", "refused")


def test_unknown_name_of_the_host(vigil: Vigil, no_cluster: None, line: Path) -> None:
    assert_failed(vigil("submit", line, "--host", "kubeflow.invalid"), "cannot reach https://kubeflow.invalid: ")


def test_server_that_hangs(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    kfp_api.fail("hang")
    assert_failed(vigil("submit", line, "--timeout", "0.5"), f"no answer of {kfp_api.url} within 0.5 s")
    deadline = time.monotonic() + 30
    while len(kfp_api.calls) < 4 and time.monotonic() < deadline:  # the server may take a given-up request later
        time.sleep(0.01)
    assert len(kfp_api.calls) == 4


def test_server_that_resets(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    kfp_api.fail("reset")
    assert_failed(vigil("submit", line), f"cannot reach {kfp_api.url}: ")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("html", "a web page, perhaps of a login; see --token-file"),
        ("text", "expected JSON"),
        ("list", "list, expected an object"),
        ("null", "NoneType, expected an object"),
        ("binary", "expected JSON"),
        ("redirect", "redirects (302), perhaps to a login"),
        ("huge", "is larger than 67108864 bytes"),
    ],
)
@pytest.mark.parametrize("path", ["healthz", "pipelines$"])
def test_malformed_answers(vigil: Vigil, kfp_api: KfpApi, line: Path, kind: str, expected: str, path: str) -> None:
    kfp_api.fail(kind, "GET", path)
    assert_failed(vigil("submit", line), kfp_api.url, expected)
    assert kfp_api.changes == []


@pytest.mark.parametrize(
    "body",
    [
        '{"pipelines": 3}',
        '{"pipelines": [3]}',
        '{"total_size": 2}',
        '{"pipelines": [{"display_name": "vigil-training"}]}',
    ],
)
def test_answers_that_are_no_model(vigil: Vigil, kfp_api: KfpApi, line: Path, body: str) -> None:
    kfp_api.fail(200, "GET", "pipelines$", body=body)
    assert_failed(vigil("submit", line), "malformed answer")
    assert kfp_api.changes == []


@pytest.mark.parametrize("tag", ["2.17.0", "v2.17.0-rc.1", "2.21.3"])
def test_servers_of_the_clients_version_and_later(vigil: Vigil, kfp_api: KfpApi, line: Path, tag: str) -> None:
    kfp_api.health = {"commit_sha": "0", "tag_name": tag, "multi_user": False}
    submitted(vigil, line)


@pytest.mark.parametrize(
    ("health", "warning"),
    [
        ({}, " names no release (unknown), expected 2.15 or a later 2.x"),
        ({"multi_user": False, "pipeline_store": "database"}, " names no release (unknown), expected 2.15"),
        ({"commit_sha": "unknown", "tag_name": "unknown", "multi_user": False}, " names no release (unknown)"),
        ({"commit_sha": "0", "tag_name": "master", "multi_user": False}, " names no release (master)"),
        ({"tag_name": "2.15.0", "multi_user": False}, " runs Kubeflow Pipelines 2.15.0, older than the client's 2.17"),
    ],
)
@pytest.mark.parametrize("command", [("submit",), ("schedule", "apply")])
def test_doubtful_servers_are_warned_of(
    vigil: Vigil, kfp_api: KfpApi, line: Path, health: Item, warning: str, command: tuple[str, ...]
) -> None:
    kfp_api.health = health
    done = vigil(*command, line if command == ("submit",) else line.parent)
    assert done.code == 0
    assert done.err.startswith(f"warning: {kfp_api.url}{warning}")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (None, "no v2beta1 API at http://127.0.0.1"),
        ({"tag_name": "1.8.22", "multi_user": False}, "runs Kubeflow Pipelines 1.8.22, expected 2.15 or a later 2.x"),
        ({"tag_name": "2.5.0", "multi_user": False}, "runs Kubeflow Pipelines 2.5.0, expected 2.15 or a later 2.x"),
        ({"tag_name": "2.14.4"}, "runs Kubeflow Pipelines 2.14.4, expected 2.15 or a later 2.x"),
        ({"tag_name": "v3.0.0"}, "runs Kubeflow Pipelines v3.0.0, expected 2.15 or a later 2.x"),
    ],
)
def test_other_servers(vigil: Vigil, kfp_api: KfpApi, line: Path, health: Item | None, expected: str) -> None:
    kfp_api.health = health
    assert_failed(vigil("submit", line), expected)
    assert len(kfp_api.calls) == 1


@pytest.fixture
def multi_user(kfp_api: KfpApi) -> KfpApi:
    """A server with a namespace of ours and one of others, that wants a token."""
    assert kfp_api.health is not None
    kfp_api.health |= {"multi_user": True}
    kfp_api.namespaces = ("team-a",)
    kfp_api.token = TOKEN
    return kfp_api


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def test_namespace_and_token_of_a_multi_user_cluster(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path
) -> None:
    submitted(vigil, line, "--namespace", "team-a", "--token-file", token_file)
    for kind in ("pipelines", "experiments", "runs"):
        assert [item["namespace"] for item in multi_user.items[kind]] == ["team-a"]
    done = vigil("schedule", "apply", line.parent, "--namespace", "team-a", "--token-file", token_file)
    assert (done.code, done.err) == (0, "")
    assert [item["namespace"] for item in multi_user.items["recurringruns"]] == ["team-a"]


@pytest.mark.parametrize("how", ["environment", "mount"])
def test_service_account(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    from pipelines.cluster import kubeflow as cluster

    cluster.NAMESPACE_FILE.parent.mkdir()
    cluster.NAMESPACE_FILE.write_text("team-a\n")
    if how == "environment":
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token_file))
    else:
        token_file.rename(transport.TOKEN_FILE)
    submitted(vigil, line)
    assert [item["namespace"] for item in multi_user.items["runs"]] == ["team-a"]


def test_token_is_read_for_each_call(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path, no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renew(seconds: float) -> None:
        multi_user.token = "renewed"
        token_file.write_text("renewed")

    pause_by(monkeypatch, renew)
    multi_user.script = [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    submitted(vigil, line, "--wait", "--namespace", "team-a", "--token-file", token_file)


def test_unknown_caller(vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path) -> None:
    assert_failed(vigil("submit", line, "--namespace", "team-a"), "requires a valid token (401), see --token-file")
    token_file.write_text("another-token")
    done = vigil("submit", line, "--namespace", "team-a", "--token-file", token_file)
    assert_failed(done, "(401)", "unknown caller Bearer ***")
    assert "another-token" not in done.out + done.err


def test_namespace_of_others(vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path) -> None:
    done = vigil("submit", line, "--namespace", "team-b", "--token-file", token_file)
    assert_failed(done, "does not permit this (403), see --namespace: User is not authorized to list ")
    done = vigil("schedule", "apply", line.parent, "--namespace", "team-b", "--token-file", token_file)
    assert_failed(done, "(403)")
    assert multi_user.changes == []


def test_namespace_is_needed_on_a_multi_user_cluster(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path
) -> None:
    assert_refused(vigil("submit", line, "--token-file", token_file), "namespace: got '', expected one by --namespace")


def test_namespace_on_a_single_user_cluster(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    assert_refused(vigil("submit", line, "--namespace", "team-a"), "expected none, as the cluster is single-user")
    assert kfp_api.changes == []


@pytest.mark.parametrize("content", ["", "two words", "line\nbreak", "caf\u00e9", "\x00"])
def test_file_without_a_token(vigil: Vigil, kfp_api: KfpApi, line: Path, token_file: Path, content: str) -> None:
    token_file.write_text(content)
    done = vigil("submit", line, "--token-file", token_file)
    assert_refused(done, f"{token_file} holds no token")
    assert not content or content not in done.err
    assert kfp_api.calls == []


def test_missing_files(vigil: Vigil, kfp_api: KfpApi, line: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert_refused(vigil("submit", line, "--token-file", missing), f"token file: got '{missing}'")
    assert_refused(vigil("submit", line, "--ca-file", missing), f"CA file: got '{missing}'")


@pytest.mark.parametrize("host", ["http://", "http://user:password@kubeflow.example.com", "a b", "ftp://kubeflow"])
def test_host_that_is_no_address(vigil: Vigil, no_cluster: None, line: Path, host: str) -> None:
    done = vigil("submit", line, "--host", host)
    assert done.code == 2
    assert "expected an address such as" in done.err


def test_host_is_needed_outside_of_a_cluster(vigil: Vigil, no_cluster: None, line: Path) -> None:
    assert_refused(vigil("submit", line), "host: none given outside of a cluster")


def test_host_inside_a_cluster(no_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert transport.Transport(transport.Connection()).host == "http://ml-pipeline.kubeflow.svc.cluster.local:8888"


def test_certificates(vigil: Vigil, no_cluster: None, line: Path, certificate: Path) -> None:
    with serve(KfpApi(), str(certificate)) as api:
        assert_failed(
            vigil("submit", line, "--host", api.url), "no secure connection to https://127.0.0.1", "--ca-file"
        )
        assert submitted(vigil, line, "--host", api.url, "--ca-file", certificate).out.startswith(api.url)
    with serve(KfpApi()) as api:
        plain = vigil("submit", line, "--host", api.url.replace("http:", "https:"))
        assert_failed(plain, "no secure connection to https://127.0.0.1")


def test_upload_that_another_did_in_between(vigil: Vigil, kfp_api: KfpApi, line: Path) -> None:
    submitted(vigil, line)
    kfp_api.fail(200, "GET", "/versions$", times=1, body="{}")
    submitted(vigil, line)
    assert (len(kfp_api.items["versions"]), len(kfp_api.items["runs"])) == (1, 2)


@pytest.mark.parametrize(
    ("lacking", "expected"),
    [
        ("create runs", "(403), see --namespace: User is not authorized to create runs in namespace team-a"),
        ("create experiments", "(403)"),
        ("create pipelines", "(403)"),
        ("list pipelines", "(403)"),
    ],
)
def test_roles_that_lack_a_verb(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path, lacking: str, expected: str
) -> None:
    multi_user.forbidden = (lacking,)
    done = vigil("submit", line, "--namespace", "team-a", "--token-file", token_file)
    assert_failed(done, expected)
    assert multi_user.items["runs"] == []


def test_an_upload_that_is_not_permitted_is_explained(
    vigil: Vigil, multi_user: KfpApi, line: Path, token_file: Path
) -> None:
    submitted(vigil, line, "--namespace", "team-a", "--token-file", token_file)
    multi_user.items["versions"].clear()
    multi_user.forbidden = ("create pipelines",)
    done = vigil("submit", line, "--namespace", "team-a", "--token-file", token_file)
    assert_failed(
        done, "answered 400: Failed to create a pipeline version (the server says no more: perhaps", "--token"
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"unknown": 1}, "unknown field unknown"),
        ({"no_catchup": "yes"}, "is no <class 'bool'>"),
        ({"max_concurrency": 1}, "is no <class 'str'>"),
        ({"mode": "ON"}, "is none of"),
        ({"trigger": {"cron_schedule": {}}}, "without cron"),
        ({"display_name": ""}, "without display_name"),
    ],
)
def test_stand_in_refuses_what_the_models_do_not_hold(change: Item, expected: str) -> None:
    from tests.pipelines.kfp_api import RefusalError, check_model

    body: Item = {
        "display_name": "bolts",
        "experiment_id": "1",
        "pipeline_version_reference": {"pipeline_id": "1", "pipeline_version_id": "1"},
        "runtime_config": {"parameters": {"seed": 1}},
        "trigger": {"cron_schedule": {"cron": "0 0 2 * * *"}},
        "mode": "ENABLE",
        "max_concurrency": "1",
    }
    check_model("V2beta1RecurringRun", body)
    with pytest.raises(RefusalError, match=expected):
        check_model("V2beta1RecurringRun", {**body, **change})


def test_stand_in_binds_page_tokens_to_filter_and_order() -> None:
    from tests.pipelines.kfp_api import RefusalError, page_start, page_token

    token = page_token({"filter": "a", "sort_by": "name"}, 20)
    assert (
        page_start({"filter": "a", "sort_by": "name", "page_token": token}) == page_start({"page_token": token}) == 20
    )
    for query in ({"filter": "b", "sort_by": "name"}, {"filter": "a"}):
        with pytest.raises(RefusalError, match="does not match"):
            page_start({**query, "page_token": token})
    with pytest.raises(RefusalError, match="Invalid page token"):
        page_start({"page_token": "20"})


def test_stand_in_leaves_a_half_made_recurring_run(kfp_api: KfpApi) -> None:
    from tests.pipelines.kfp_api import RefusalError

    kfp_api.runnable = lambda *_: body  # type: ignore[method-assign]
    body: Item = {
        "display_name": "bolts",
        "description": "x" * 256,
        "max_concurrency": "1",
        "trigger": {"cron_schedule": {"cron": "0 0 2 * * *"}},
    }
    with pytest.raises(RefusalError, match="Data too long"):
        kfp_api.create_recurring(None)  # type: ignore[arg-type]
    assert (kfp_api.half_made, kfp_api.items["recurringruns"]) == ([body], [])


def test_stand_in_refuses_unknown_settings_of_a_task() -> None:
    from tests.pipelines.kfp_api import RefusalError, check_platform

    def platform(**settings: Any) -> Item:
        return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-vqgan": settings}}}}}

    check_platform(platform(activeDeadlineSeconds="3600"))
    with pytest.raises(RefusalError, match="unmarshal kubernetes config"):
        check_platform(platform(retryPolicy="Always"))
