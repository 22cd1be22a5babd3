"""Tests of the reasons for attention."""

from dataclasses import replace
from datetime import timedelta

import pytest

from components.registry.history import RUNNING, DriftCheck, LineHistory
from pipelines.comparing.lines import compare_line
from tests.pipelines.comparing.past_runs import CONDITIONS, NOW, history, past_run, version


def reasons(given: LineHistory) -> list[str]:
    return [reason.text for reason in compare_line(given, "image_auroc", NOW, 30).reasons]


def test_good_line_needs_none() -> None:
    assert reasons(history(past_run("a", aurocs={"none": 0.8, "generated": 0.9}))) == []
    assert reasons(history()) == []


def test_failed_last_run() -> None:
    found = reasons(history(past_run("b", status="FAILED"), past_run("a", days_ago=2)))
    assert found == ["last run b failed on 2026-10-31"]
    failed = past_run("b", status="FAILED", failure="ingestion: no images")
    assert reasons(history(failed, past_run("a", days_ago=2))) == [
        "last run b failed on 2026-10-31: ingestion: no images"
    ]


def test_failure_behind_a_success_is_over() -> None:
    assert reasons(history(past_run("b"), past_run("a", days_ago=2, status="FAILED"))) == []


def test_failure_shows_while_the_next_run_goes_on() -> None:
    found = reasons(
        history(past_run("c", status=RUNNING, days_ago=0.1), past_run("b", status="KILLED"), past_run("a", days_ago=2))
    )
    assert found == ["last run b killed on 2026-10-31"]


def test_nothing_finished() -> None:
    assert reasons(history(past_run("a", status="FAILED")))[1] == "no run has finished"


def test_hanging_run() -> None:
    assert reasons(history(past_run("b", status=RUNNING, days_ago=2), past_run("a", days_ago=3))) == [
        "run b has been running for 48 h"
    ]


def test_refused_version() -> None:
    newest = version(9, gate="refused", gate_reasons="latency [ms]")
    given = history(past_run("a"), versions=(newest, version(8, "champion")))
    assert reasons(given) == ["gate refused version 9: latency [ms]"]
    assert reasons(history(past_run("a"), versions=(version(10, gate="passed"), newest))) == []


@pytest.mark.parametrize(
    ("gate_reasons", "weight"),
    [
        ("min_champion_gain: 0.9, champion 0.9, wanted a gain in image_auroc above 0", 1),
        ("min_champion_gain: 0.85, champion 0.9, wanted a gain in image_auroc above 0", 1),
        ("min_champion_gain: 0.91, champion 0.9, wanted a gain in image_auroc of at least 0.02", 1),
        ("min_champion_gain: 0.6, champion 0.9, wanted a gain in image_auroc above 0", 3),
        ("min_champion_gain: 0.85, champion 0.9, wanted a gain in aupro above 0", 3),
        (
            "min_champion_gain: 0.9, champion 0.9, wanted a gain in image_auroc above 0;"
            " max_defect_drop[hole]: 0.5, champion 0.9, wanted image AUROC at most 0.1 below the champion's",
            3,
        ),
        ("export_parity: 0, wanted passed where an export was made", 3),
        ("", 3),
    ],
    ids=["tie", "within-the-noise", "small-gain", "loss", "loss-without-noise", "defect-too", "parity", "unknown"],
)
def test_refused_version_that_is_as_good_weighs_little(gate_reasons: str, weight: int) -> None:
    earlier = [past_run(f"a{i}", days_ago=2 + i, seed=i, aurocs={"none": 0.8 + 0.05 * i}) for i in range(3)]
    newest = version(9, gate="refused", gate_reasons=gate_reasons)
    given = history(past_run("b", seed=9, aurocs={"none": 0.85}), *earlier, versions=(newest,))
    (found,) = compare_line(given, "image_auroc", NOW, 30).reasons
    assert found.weight == weight
    assert found.text.startswith("gate refused version 9")


def test_loss_is_not_excused_without_earlier_runs() -> None:
    reasons_given = "min_champion_gain: 0.85, champion 0.9, wanted a gain in image_auroc above 0"
    given = history(past_run("a"), versions=(version(9, gate="refused", gate_reasons=reasons_given),))
    assert [reason.weight for reason in compare_line(given, "image_auroc", NOW, 30).reasons] == [3]


@pytest.mark.parametrize(("days_ago", "expected"), [(1.0, []), (3.0, ["drift on 2026-10-30: brightness"])])
def test_drift_until_the_line_is_trained_again(days_ago: float, expected: list[str]) -> None:
    check = DriftCheck(started=NOW - timedelta(days=2), retrain=True, reasons="brightness")
    assert reasons(history(past_run("a", days_ago=days_ago), drift=(check,))) == expected


def test_last_drift_check_decides() -> None:
    old = DriftCheck(started=NOW - timedelta(days=2), retrain=True, reasons="")
    new = DriftCheck(started=NOW - timedelta(days=1), retrain=False, reasons="")
    assert reasons(history(past_run("a", days_ago=9), drift=(new, old))) == []


def test_falling_metric() -> None:
    changed = replace(CONDITIONS, dataset="b" * 64)
    found = reasons(
        history(
            past_run("b", aurocs={"none": 0.7}, conditions=changed), past_run("a", days_ago=2, aurocs={"none": 0.9})
        )
    )
    assert found == ["image_auroc fell to 0.7000 from 0.9000 (median of 1 earlier run; dataset changed)"]


def test_fall_within_the_noise_of_earlier_runs_is_none() -> None:
    earlier = [past_run(f"a{i}", days_ago=2 + i, seed=i, aurocs={"none": 0.7 + 0.1 * i}) for i in range(3)]
    assert reasons(history(past_run("b", seed=9, aurocs={"none": 0.7}), *earlier)) == []
    assert len(reasons(history(past_run("b", seed=9, aurocs={"none": 0.5}), *earlier))) == 1


def test_fall_is_not_measured_against_other_shots() -> None:
    more = replace(CONDITIONS, shots="5")
    assert (
        reasons(history(past_run("b", aurocs={"none": 0.7}), past_run("a", aurocs={"none": 0.9}, conditions=more)))
        == []
    )


def test_stale_line() -> None:
    assert reasons(history(past_run("a", days_ago=40))) == ["no finished run for 40 days"]


def test_generated_images_that_do_not_help() -> None:
    found = reasons(history(past_run("a", aurocs={"none": 0.8, "rotations": 0.9, "generated": 0.85})))
    assert found == ["generated images do not help: -0.0500 over rotations, patchcore, n = 1"]


def test_weightiest_first() -> None:
    given = history(past_run("b", status="FAILED"), past_run("a", days_ago=40))
    compared = compare_line(given, "image_auroc", NOW, 30)
    assert [reason.weight for reason in compared.reasons] == [4, 2]
    assert compared.score == 6
