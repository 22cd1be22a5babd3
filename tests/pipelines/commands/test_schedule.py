"""Tests of `vigil schedule` with kfp's generated client and a fake API server."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kfp_server_api import ApiClient, Configuration, RecurringRunServiceApi

from components import __version__
from pipelines.cluster import schedules
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.schedules import Change, Existing, carry_out, desired_schedules, difference, existing_schedules
from pipelines.cluster.transport import Connection
from pipelines.lines.cron import spread
from pipelines.lines.line import load_lines
from tests.pipelines.cluster_lines import write_line
from tests.pipelines.kfp_api import PREFIX, KfpApi
from tests.pipelines.vigil import Done, Vigil, assert_refused

UPDATE = ["POST upload_version", "POST recurringruns", "DELETE recurringruns", "POST enable"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_line(tmp_path / "lines", "bolts")
    write_line(tmp_path / "lines", "nuts")
    return tmp_path / "lines"


def rows(done: Done) -> dict[str, tuple[str, str]]:
    """Change and detail by line, out of the table."""
    table = {}
    for text in done.out.splitlines()[1:]:
        columns = text.split("  ")
        if len(columns) > 1:
            line, change, *detail = [column.strip() for column in columns if column.strip()]
            table[line] = (change, " ".join(detail))
    return table


def kinds(done: Done) -> dict[str, str]:
    return {line: change for line, (change, _) in rows(done).items()}


def verbs(changes: list[str]) -> list[str]:
    """Changing calls without identifiers."""
    shortened = []
    for change in changes:
        method, path = change.split()
        last = path.rpartition("/")[2]
        if ":" in last:
            shortened.append(f"{method} {last.rpartition(':')[2]}")
        else:
            shortened.append(f"{method} {'recurringruns' if method == 'DELETE' else last}")
    return shortened


def applied(vigil: Vigil, api: KfpApi, folder: Path, *options: str) -> Done:
    """Apply successfully, with an empty log of changes before."""
    api.changes.clear()
    done = vigil("schedule", "apply", folder, *options)
    assert (done.code, done.err) == (0, "")
    return done


def enabled(api: KfpApi) -> dict[str, list[str]]:
    """Enabled recurring runs by name."""
    found: dict[str, list[str]] = {}
    for run in api.items["recurringruns"]:
        if run["mode"] == "ENABLE":
            found.setdefault(run["display_name"], []).append(run["recurring_run_id"])
    return found


def assert_settled(vigil: Vigil, api: KfpApi, folder: Path) -> None:
    """One enabled recurring run a line, and nothing left to do."""
    assert {name: len(found) for name, found in enabled(api).items()} == {"bolts": 1, "nuts": 1}
    assert len(api.items["recurringruns"]) == 2
    assert set(kinds(applied(vigil, api, folder)).values()) == {"unchanged"}
    assert api.changes == []


def test_first_apply_creates(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    done = applied(vigil, kfp_api, folder)
    assert rows(done) == {"bolts": ("created", "0 0 2 * * *"), "nuts": ("created", "0 0 2 * * *")}
    assert "2 created; crons are in the time zone of the cluster's scheduled-workflow controller" in done.out
    assert verbs(kfp_api.changes) == [
        "POST pipelines",
        *2 * ["POST upload_version", "POST experiments", "POST recurringruns", "POST enable"],
    ]


def test_recurring_run_is_what_the_line_asks_for(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    (run,) = kfp_api.recurring("bolts")
    assert run["trigger"] == {"cron_schedule": {"cron": "0 0 2 * * *"}}
    assert (run["max_concurrency"], run["no_catchup"], run["mode"]) == ("1", True, "ENABLE")
    assert run["runtime_config"]["parameters"]["line"] == "bolts"
    assert run["runtime_config"]["parameters"]["dataset_uri"] == "s3://lines/bolts"
    version = kfp_api.found("versions", "pipeline_version_id", run["pipeline_version_reference"]["pipeline_version_id"])
    assert version["name"].startswith(f"bolts-{__version__}-")
    assert f"version={__version__} " in run["description"]
    experiment = kfp_api.found("experiments", "experiment_id", run["experiment_id"])
    assert experiment["display_name"] == "bolts"


def test_second_apply_changes_nothing(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    before = kfp_api.items["recurringruns"].copy()
    done = applied(vigil, kfp_api, folder)
    assert kinds(done) == {"bolts": "unchanged", "nuts": "unchanged"}
    assert kfp_api.changes == []
    assert kfp_api.items["recurringruns"] == before


@pytest.mark.parametrize(
    ("changes", "detail", "calls"),
    [
        ({"schedule": {"cron": "0 30 2 * * *"}}, "cron 0 0 2 * * * -> 0 30 2 * * *", UPDATE[1:]),
        ({"seed": 7, "dataset": {"uri": "s3://lines/bolts", "shots": 2}}, "arguments dataset_shots seed", UPDATE[1:]),
        ({"cluster": {"task": {"memory": "6Gi"}}}, "package ", UPDATE),
        ({"cluster": {"retries": 1}, "seed": 7}, "package ", UPDATE),
        ({"schedule": {"cron": "0 30 2 * * *", "enabled": False}}, "cron ", UPDATE[1:3]),
    ],
)
def test_update_creates_deletes_and_enables(
    vigil: Vigil, kfp_api: KfpApi, folder: Path, changes: dict[str, Any], detail: str, calls: list[str]
) -> None:
    applied(vigil, kfp_api, folder)
    (old,) = kfp_api.recurring("bolts")
    write_line(folder, "bolts", **changes)
    done = applied(vigil, kfp_api, folder)
    assert kinds(done) == {"bolts": "updated", "nuts": "unchanged"}
    assert rows(done)["bolts"][1].startswith(detail)
    assert verbs(kfp_api.changes) == calls
    (new,) = kfp_api.recurring("bolts")
    assert new["recurring_run_id"] != old["recurring_run_id"]
    assert new["mode"] == ("DISABLE" if changes.get("schedule", {}).get("enabled") is False else "ENABLE")
    applied(vigil, kfp_api, folder)
    assert kfp_api.changes == []


def test_disabling_and_enabling_keep_the_recurring_run(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    (run,) = kfp_api.recurring("bolts")
    write_line(folder, "bolts", schedule={"cron": "0 0 2 * * *", "enabled": False})
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "disabled", "nuts": "unchanged"}
    assert verbs(kfp_api.changes) == ["POST disable"]
    assert enabled(kfp_api).keys() == {"nuts"}
    write_line(folder, "bolts")
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "enabled", "nuts": "unchanged"}
    assert kfp_api.recurring("bolts") == [run]
    assert_settled(vigil, kfp_api, folder)


def test_new_disabled_line_is_never_enabled(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "bolts", schedule={"cron": "0 0 2 * * *", "enabled": False})
    assert rows(applied(vigil, kfp_api, folder))["bolts"] == ("created", "0 0 2 * * *, disabled")
    assert kfp_api.recurring("bolts")[0]["mode"] == "DISABLE"
    assert verbs(kfp_api.changes).count("POST enable") == 1


def test_recurring_run_disabled_by_hand_is_enabled(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    kfp_api.recurring("bolts")[0]["mode"] = "DISABLE"
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "enabled", "nuts": "unchanged"}
    assert_settled(vigil, kfp_api, folder)


@pytest.mark.parametrize("how", ["file", "schedule"])
def test_line_that_is_gone_is_deleted(vigil: Vigil, kfp_api: KfpApi, folder: Path, how: str) -> None:
    applied(vigil, kfp_api, folder)
    if how == "file":
        (folder / "nuts.yaml").unlink()
    else:
        write_line(folder, "nuts", schedule=None)
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "unchanged", "nuts": "deleted"}
    assert verbs(kfp_api.changes) == ["DELETE recurringruns"]
    assert kfp_api.recurring("nuts") == []
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "unchanged"}


def test_no_prune_keeps_a_line_that_is_gone(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    (folder / "nuts.yaml").unlink()
    assert kinds(applied(vigil, kfp_api, folder, "--no-prune")) == {"bolts": "unchanged", "nuts": "kept"}
    assert kfp_api.changes == []


def test_dry_run_changes_nothing(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    done = applied(vigil, kfp_api, folder, "--dry-run")
    assert kinds(done) == {"bolts": "created", "nuts": "created"}
    assert "dry run: nothing was changed" in done.out
    assert kfp_api.changes == []
    applied(vigil, kfp_api, folder)
    write_line(folder, "bolts", seed=1)
    (folder / "nuts.yaml").unlink()
    write_line(folder, "pins", schedule={"cron": "0 0 2 * * *", "enabled": False})
    kfp_api.calls.clear()
    done = applied(vigil, kfp_api, folder, "--dry-run")
    assert kinds(done) == {"bolts": "updated", "nuts": "deleted", "pins": "created"}
    assert {call.split()[0] for call in kfp_api.calls} == {"GET"}


def test_foreign_recurring_runs_are_not_touched(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    (own,) = kfp_api.recurring("bolts")
    for number, description in enumerate((None, "by hand", own["description"] + " copied by hand", "managed-by=vigil")):
        foreign = {key: value for key, value in own.items() if key != "description"}
        foreign |= {"recurring_run_id": f"foreign-{number}"} | ({"description": description} if description else {})
        kfp_api.items["recurringruns"].append(foreign)
    write_line(folder, "bolts", seed=1)
    (folder / "nuts.yaml").unlink()
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "updated", "nuts": "deleted"}
    left = [run["recurring_run_id"] for run in kfp_api.recurring("bolts")]
    assert left[:4] == [f"foreign-{number}" for number in range(4)]
    assert len(left) == 5


def test_folder_without_lines_deletes_nothing(vigil: Vigil, kfp_api: KfpApi, folder: Path, tmp_path: Path) -> None:
    applied(vigil, kfp_api, folder)
    kfp_api.calls.clear()
    (tmp_path / "empty").mkdir()
    assert_refused(vigil("schedule", "apply", tmp_path / "empty"), "expected a folder with at least one .yaml file")
    assert_refused(vigil("schedule", "apply", tmp_path / "missing"), "expected a folder of lines")
    assert kfp_api.calls == []


def test_bad_lines_are_all_named_and_nothing_changes(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "pins", schedule={"cron": "0 2 * * *"})
    write_line(folder, "rods", dataset={"uri": "images"})
    write_line(folder, "rings", shots=3)
    (folder / "empty.yml").write_text("")
    done = vigil("schedule", "apply", folder)
    for expected in (
        "pins.yaml: schedule.cron: got '0 2 * * *', expected six fields",
        "rods.yaml: dataset.uri: got ",
        "rings.yaml: shots: unknown key",
        "empty.yml: holds NoneType",
    ):
        assert_refused(done, expected)
    assert "bolts" not in done.err
    assert kfp_api.calls == []


def test_lines_of_one_name_are_refused(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "pins").rename(folder / "pins-copy.yaml")
    write_line(folder, "pins")
    done = vigil("schedule", "apply", folder)
    assert_refused(done, f"{folder / 'pins-copy.yaml'} and {folder / 'pins.yaml'}: name: got 'pins' more than once")
    assert kfp_api.calls == []


def test_line_of_this_machine_only_needs_no_schedule(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "pins", dataset={"uri": "images"}, schedule=None)
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "created", "nuts": "created"}


def test_mounted_paths_are_taken_when_asked_for(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "bolts", dataset={"uri": "/data/bolts"})
    applied(vigil, kfp_api, folder, "--mounted")
    (run,) = kfp_api.recurring("bolts")
    assert run["runtime_config"]["parameters"]["dataset_uri"] == "/data/bolts"


@pytest.mark.parametrize(
    ("method", "path", "left"),
    [
        ("POST", "upload_version", 1),
        ("POST", "recurringruns$", 1),
        ("DELETE", "recurringruns", 2),
        ("POST", ":enable", 1),
    ],
)
@pytest.mark.parametrize("kind", [503, "reset", "lost"])
def test_update_that_breaks_off_is_completed(
    vigil: Vigil, kfp_api: KfpApi, folder: Path, method: str, path: str, left: int, kind: str | int
) -> None:
    applied(vigil, kfp_api, folder)
    write_line(folder, "bolts", cluster={"retries": 1})
    kfp_api.fail(kind, method, path)
    done = vigil("schedule", "apply", folder)
    assert done.code == 1
    assert rows(done)["bolts"][0] == "failed"
    assert len(enabled(kfp_api).get("bolts", [])) <= 1
    if kind == 503:
        assert len(kfp_api.recurring("bolts")) == left
    kfp_api.faults.clear()
    done = applied(vigil, kfp_api, folder)
    assert kinds(done)["nuts"] == "unchanged"
    assert_settled(vigil, kfp_api, folder)


@pytest.mark.parametrize("kind", ["lost", 500])
def test_creation_that_breaks_off_starts_nothing_and_is_completed(
    vigil: Vigil, kfp_api: KfpApi, folder: Path, kind: str | int
) -> None:
    kfp_api.fail(kind, "POST", "recurringruns$")
    assert vigil("schedule", "apply", folder).code == 1
    assert enabled(kfp_api) == {}
    kfp_api.faults.clear()
    applied(vigil, kfp_api, folder)
    assert_settled(vigil, kfp_api, folder)


def test_lines_start_at_their_own_second(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    for name in ("bolts", "nuts"):
        write_line(folder, name, schedule={"cron": "0 0 2 * * *", "jitter": 240})
    applied(vigil, kfp_api, folder)
    crons = [kfp_api.recurring(name)[0]["trigger"]["cron_schedule"]["cron"] for name in ("bolts", "nuts")]
    assert crons == [spread("0 0 2 * * *", 240, name) for name in ("bolts", "nuts")]
    assert len({*crons, "0 0 2 * * *"}) == 3
    assert_settled(vigil, kfp_api, folder)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), [("POST", "recurringruns$"), ("DELETE", ""), ("POST", ":enable")])
def test_killed_update_is_completed(vigil: Vigil, kfp_api: KfpApi, folder: Path, method: str, path: str) -> None:
    applied(vigil, kfp_api, folder)
    write_line(folder, "bolts", seed=1)
    kfp_api.fail("hang", method, path)
    seen = len(kfp_api.calls)
    command = [sys.executable, "-c", "from pipelines.cli import main; main()", "schedule", "apply", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not any(call.startswith(method) and re.search(path, call) for call in kfp_api.calls[seen:]):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert len(enabled(kfp_api).get("bolts", [])) <= 1
    kfp_api.faults.clear()
    applied(vigil, kfp_api, folder)
    assert_settled(vigil, kfp_api, folder)


def planned(cluster: Kubeflow, folder: Path) -> list[Change]:
    """What an apply that looks now is to do."""
    return difference(desired_schedules(load_lines(folder)), existing_schedules(cluster), prune=True)


def test_runs_in_progress_outlast_the_deletion_of_their_recurring_run(
    vigil: Vigil, kfp_api: KfpApi, folder: Path
) -> None:
    applied(vigil, kfp_api, folder)
    (run,) = kfp_api.recurring("bolts")
    started = {"run_id": "1", "recurring_run_id": run["recurring_run_id"], "state": "RUNNING", "namespace": ""}
    kfp_api.items["runs"] = [started]
    write_line(folder, "bolts", seed=1)
    applied(vigil, kfp_api, folder)
    (new,) = kfp_api.recurring("bolts")
    assert (started["state"], new == run) == ("RUNNING", False)
    started["recurring_run_id"] = new["recurring_run_id"]
    services = RecurringRunServiceApi(ApiClient(Configuration(host=kfp_api.url)))
    services.recurring_run_service_delete_recurring_run(new["recurring_run_id"])  # without the policy, as kfp's client
    assert started["state"] == "FAILED"


@pytest.mark.parametrize("change", [None, {"seed": 1}])
def test_two_applies_at_once_leave_one_recurring_run(
    vigil: Vigil, kfp_api: KfpApi, folder: Path, change: dict[str, Any] | None
) -> None:
    if change:
        applied(vigil, kfp_api, folder)
        write_line(folder, "bolts", **change)
    cluster = Kubeflow(Connection(host=kfp_api.url))
    first, second = planned(cluster, folder), planned(cluster, folder)
    carry_out(cluster, first)
    (before,) = enabled(kfp_api)["bolts"]
    outcome = carry_out(cluster, second)
    assert (outcome.failed, outcome.skipped) == ({}, ())
    (bolts, *_) = outcome.done
    assert (bolts.kind, bolts.detail) == ("unchanged", "another apply created it at the same time")
    assert enabled(kfp_api)["bolts"] == [before]
    assert_settled(vigil, kfp_api, folder)


def test_the_older_of_two_applies_at_once_stays(
    vigil: Vigil, kfp_api: KfpApi, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second apply creates its recurring run before the first looks again."""

    def look_again(cluster: Kubeflow) -> list[Existing]:
        monkeypatch.setattr(schedules, "existing_schedules", existing_schedules)
        carry_out(cluster, second)
        return existing_schedules(cluster)

    cluster = Kubeflow(Connection(host=kfp_api.url))
    first, second = planned(cluster, folder), planned(cluster, folder)
    monkeypatch.setattr(schedules, "existing_schedules", look_again)
    assert [change.kind for change in carry_out(cluster, first).done] == ["created", "created"]
    assert_settled(vigil, kfp_api, folder)


def test_two_applies_of_different_lines_at_once_are_reported(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    cluster = Kubeflow(Connection(host=kfp_api.url))
    first = planned(cluster, folder)
    write_line(folder, "bolts", seed=1)
    second = planned(cluster, folder)
    carry_out(cluster, first)
    outcome = carry_out(cluster, second)
    assert list(outcome.failed) == ["bolts"]
    assert str(outcome.failed["bolts"]) == "another apply created it otherwise at the same time: arguments seed"
    assert len(kfp_api.recurring("bolts")) == 1
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "updated", "nuts": "unchanged"}
    assert_settled(vigil, kfp_api, folder)


def test_creations_that_cannot_be_listed_again_are_reported(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    cluster = Kubeflow(Connection(host=kfp_api.url))
    changes = planned(cluster, folder)
    kfp_api.fail("text", "GET", "recurringruns$")
    outcome = carry_out(cluster, changes)
    assert (list(outcome.done), set(outcome.failed)) == ([], {"bolts", "nuts"})
    kfp_api.faults.clear()
    assert_settled(vigil, kfp_api, folder)


def test_failed_creation_keeps_the_old_one(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    applied(vigil, kfp_api, folder)
    before = enabled(kfp_api)
    write_line(folder, "bolts", seed=1)
    kfp_api.fail(500, "POST", "recurringruns$", body='{"message": "database is locked"}')
    done = vigil("schedule", "apply", folder)
    assert (done.code, enabled(kfp_api)) == (1, before)
    assert "answered 500: database is locked" in done.err


def test_lost_answer_of_a_first_creation_leaves_one(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    kfp_api.fail("lost", "POST", "recurringruns$", times=1)
    assert vigil("schedule", "apply", folder).code == 1
    applied(vigil, kfp_api, folder)
    assert_settled(vigil, kfp_api, folder)


def test_refused_line_does_not_hold_up_the_others(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    kfp_api.fail(400, "POST", "recurringruns$", times=1, body='{"error": "quota"}')
    done = vigil("schedule", "apply", folder)
    assert done.code == 1
    assert kinds(done) == {"bolts": "failed", "nuts": "created"}
    assert "error: 1 line was not applied, run the same command again: " in done.err
    assert done.err.count("\n") == 1
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "created", "nuts": "unchanged"}
    assert_settled(vigil, kfp_api, folder)


def test_cluster_that_goes_away_is_not_asked_on(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    for name in ("pins", "rods"):
        write_line(folder, name)
    kfp_api.fail("reset", "POST", "recurringruns$")
    done = vigil("schedule", "apply", folder)
    assert done.code == 1
    assert kinds(done) == {"bolts": "failed", "nuts": "not done", "pins": "not done", "rods": "not done"}
    assert rows(done)["nuts"][1] == "to be created"
    assert "4 lines were not applied" in done.err
    assert "no schedules" in done.out
    kfp_api.faults.clear()
    assert kinds(applied(vigil, kfp_api, folder)).keys() == {"bolts", "nuts", "pins", "rods"}


def test_passing_failures_of_reading_are_repeated(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    kfp_api.fail(503, "GET", times=2)
    assert kinds(applied(vigil, kfp_api, folder)) == {"bolts": "created", "nuts": "created"}


def test_names_that_differ_by_case_are_two_lines(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "BOLTS")
    applied(vigil, kfp_api, folder)
    experiments = {item["display_name"]: item["experiment_id"] for item in kfp_api.items["experiments"]}
    assert experiments.keys() == {"bolts", "BOLTS", "nuts"}
    for name in ("bolts", "BOLTS"):
        assert kfp_api.recurring(name)[0]["experiment_id"] == experiments[name]


def test_pages_without_end_are_refused(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "pins")
    applied(vigil, kfp_api, folder)
    kfp_api.endless_pages = True
    done = vigil("schedule", "apply", folder)
    assert (done.code, done.out) == (1, "")
    assert "its list of recurring_runs has no end" in done.err


def test_list(vigil: Vigil, kfp_api: KfpApi, folder: Path) -> None:
    write_line(folder, "pins", schedule={"cron": "0 0 3 ? * MON", "enabled": False})
    applied(vigil, kfp_api, folder)
    (run,) = kfp_api.recurring("bolts")
    for state, created_at in (("FAILED", "2026-01-02T02:00:00Z"), ("SUCCEEDED", "2026-01-03T02:00:00Z")):
        kfp_api.items["runs"].append(
            {
                "run_id": state,
                "recurring_run_id": run["recurring_run_id"],
                "state": state,
                "created_at": created_at,
                "namespace": "",
            }
        )
    kfp_api.changes.clear()
    done = vigil("schedule", "list")
    assert (done.code, done.err, kfp_api.changes) == (0, "", [])
    heading, bolts, nuts, pins, summary = done.out.splitlines()
    assert heading.split() == ["line", "cron", "enabled", "last", "run", "its", "state", "status", "version"]
    assert bolts.startswith(f"bolts  0 0 2 * * *    yes      2026-01-03 02:00:00Z  succeeded  enabled   {__version__}")
    assert nuts.startswith("nuts   0 0 2 * * *    yes      none")
    assert pins.startswith("pins   0 0 3 ? * MON  no       none")
    assert summary.startswith("3 schedules, in the time zone of the cluster's scheduled-workflow controller")


def calls_of_first_apply(vigil: Vigil, api: KfpApi, folder: Path, size: int) -> int:
    """Number of calls when a folder of lines is applied to an empty cluster."""
    api.page_limit = 100
    for items in api.items.values():
        items.clear()
    for number in range(size):
        write_line(folder / str(size), f"line-{number:03d}")
    api.calls.clear()
    applied(vigil, api, folder / str(size))
    assert len(enabled(api)) == size
    return len(api.calls)


def test_calls_per_line_are_constant(vigil: Vigil, kfp_api: KfpApi, tmp_path: Path) -> None:
    few, many = (calls_of_first_apply(vigil, kfp_api, tmp_path, size) for size in (2, 6))
    # Per line: version, upload, experiment, its creation, recurring run, its enabling. At all: health, pipeline, its
    # creation, and the list twice, before and after.
    assert (few, many) == (2 * 6 + 5, 6 * 6 + 5)


@pytest.mark.slow
def test_two_hundred_lines(vigil: Vigil, kfp_api: KfpApi, tmp_path: Path) -> None:
    assert calls_of_first_apply(vigil, kfp_api, tmp_path, 200) == 200 * 6 + 6  # the second list has two pages
    kfp_api.calls.clear()
    done = applied(vigil, kfp_api, tmp_path / "200")
    assert "200 unchanged" in done.out
    assert kfp_api.changes == []
    assert kfp_api.calls == [f"GET {PREFIX}/healthz", *2 * [f"GET {PREFIX}/recurringruns"]]
