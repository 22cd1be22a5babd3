"""Tests of groups, statistics and the best model of a line."""

from dataclasses import replace
from typing import Any

import pytest

from components.registry.history import RUNNING
from pipelines.comparing.lines import Group, compare_line
from tests.pipelines.comparing.past_runs import CONDITIONS, NOW, history, past_run, records, version


def groups(*runs: object, **fields: object) -> tuple[Group, ...]:
    return compare_line(history(*runs, **fields), "image_auroc", NOW, 30).groups  # type: ignore[arg-type]


def test_runs_are_counted_by_how_they_ended() -> None:
    compared = compare_line(
        history(
            past_run("a", status=RUNNING),
            past_run("b", status="FAILED"),
            past_run("c", status="KILLED"),
            past_run("d", aurocs={"none": 0.5}),
            past_run("e"),
        ),
        "image_auroc",
        NOW,
        30,
    )
    assert compared.counts == {"measured": 1, "reused": 1, "failed": 2, "running": 1}


def test_statistics_are_over_the_seeds() -> None:
    (group,) = groups(
        past_run("c", seed=2, aurocs={"none": 0.9}),
        past_run("b", seed=1, aurocs={"none": 0.8}),
        past_run("a", seed=0, aurocs={"none": 0.7}),
    )
    (trial,) = group.trials
    spread = trial.metrics["image_auroc"]
    assert spread is not None
    assert (spread.n, spread.mean, spread.sd) == pytest.approx((3, 0.8, 0.1))
    assert trial.metrics["aupro"] is None
    assert group.seeds == (0, 1, 2)


def test_lines_without_bad_test_images_are_compared_by_the_proxy_and_say_so() -> None:
    plain = past_run("a", seed=0, aurocs={"none": 0.7, "generated": 0.8})
    proxies = {"none": 0.9, "generated": 0.6}
    measured = tuple(
        replace(one, image_auroc=None, proxy_image_auroc=proxies[one.training_set]) for one in plain.records
    )
    compared = compare_line(history(replace(plain, records=measured)), "image_auroc", NOW, 30)
    assert (compared.metric, compared.instead_of) == ("proxy_image_auroc", "image_auroc")
    (group,) = compared.groups
    assert group.best is not None
    assert (group.best.record.training_set, group.best.value) == ("none", 0.9)
    assert "proxy_image_auroc" in group.measures
    both = compare_line(history(plain, replace(plain, run_id="b", records=measured)), "image_auroc", NOW, 30)
    assert (both.metric, both.instead_of) == ("image_auroc", "")


def test_kinds_of_anomalies_are_compared_where_they_were_measured() -> None:
    plain = past_run("a", seed=0, aurocs={"none": 0.7, "generated": 0.8})
    kinds = {"none": 0.4, "generated": 0.7}
    measured = tuple(replace(one, image_auroc_kind_mean=kinds[one.training_set]) for one in plain.records)

    compared = compare_line(history(replace(plain, records=measured)), "image_auroc_kind_mean", NOW, 30)

    (group,) = compared.groups
    gain = group.gains["patchcore"]
    assert gain is not None
    assert gain.mean == pytest.approx(0.3)
    assert group.measures[-2:] == ["image_auroc_kind_mean", "latency_ms"]
    assert "image_auroc_kind_mean" not in groups(plain)[0].measures


def test_repeated_seed_counts_once_with_its_newest_run() -> None:
    (group,) = groups(
        past_run("b", days_ago=1, seed=0, aurocs={"none": 0.8}), past_run("a", days_ago=2, seed=0, aurocs={"none": 0.7})
    )
    spread = group.trials[0].metrics["image_auroc"]
    assert spread is not None
    assert (group.runs, spread.n, spread.mean) == (2, 1, 0.8)


def test_unfinished_runs_are_not_measured() -> None:
    assert groups(past_run("a", status="FAILED", aurocs={"none": 0.7})) == ()


@pytest.mark.parametrize("field", ["dataset", "shots", "profile", "version"])
def test_other_conditions_are_another_group(field: str) -> None:
    other: dict[str, Any] = {field: "other"}
    newest, oldest = groups(
        past_run("b", days_ago=1, seed=1, aurocs={"none": 0.8}, conditions=replace(CONDITIONS, **other)),
        past_run("a", days_ago=2, seed=0, aurocs={"none": 0.7}),
    )
    assert getattr(newest.conditions, field) == "other"
    assert (newest.seeds, oldest.seeds) == ((1,), (0,))


def test_varying_settings_are_shown() -> None:
    changed = replace(CONDITIONS, settings=(("images", "8"), ("steps", "40")))
    newest, oldest = groups(
        past_run("b", aurocs={"none": 0.8}, conditions=changed), past_run("a", days_ago=2, aurocs={"none": 0.7})
    )
    assert newest.settings == {"images": "8", "steps": "40"}
    assert oldest.settings == {"images": "", "steps": "20"}


def test_gain_is_paired_within_the_group_only() -> None:
    other = replace(CONDITIONS, dataset="b" * 64)
    newest, oldest = groups(
        past_run("b", aurocs={"generated": 0.9, "none": 0.8}),
        past_run("a", days_ago=2, aurocs={"none": 0.1}, conditions=other),
    )
    gain = newest.gains["patchcore"]
    assert gain is not None
    assert dict(gain.differences) == pytest.approx({0: 0.1})
    assert oldest.gains == {"patchcore": None}


def test_run_without_a_seed_is_in_no_pair() -> None:
    (group,) = groups(past_run("a", seed=None, aurocs={"generated": 0.9, "none": 0.8}))
    assert group.gains == {"patchcore": None}
    assert group.trials[0].metrics["image_auroc"] is not None


def test_detectors_have_gains_of_their_own() -> None:
    run = past_run("a", records=(*records(0, "padim", generated=0.7, none=0.8), *records(0, generated=0.9, none=0.8)))
    (group,) = groups(run)
    means = {name: gain.mean for name, gain in group.gains.items() if gain}
    assert means == {"padim": pytest.approx(-0.1), "patchcore": pytest.approx(0.1)}


def test_best_names_its_run_and_version() -> None:
    best = past_run("b", seed=1, aurocs={"none": 0.95}, model_version="7", registered="patchcore/none")
    (group,) = groups(past_run("a", aurocs={"none": 0.9}), best, versions=(version(8), version(7, "champion")))
    assert group.best is not None
    assert (group.best.value, group.best.run.run_id, group.best.version) == (0.95, "b", version(7, "champion"))


def test_best_that_was_not_registered_has_no_version() -> None:
    run = past_run("a", aurocs={"none": 0.95}, model_version="7", registered="patchcore/rotations")
    (group,) = groups(run, versions=(version(7),))
    assert group.best is not None
    assert group.best.version is None


def test_training_sets_are_in_the_order_of_the_pipeline() -> None:
    (group,) = groups(past_run("a", aurocs={"own": 0.1, "generated": 0.1, "rotations": 0.1, "none": 0.1}))
    assert [trial.training_set for trial in group.trials] == ["none", "rotations", "generated", "own"]


def test_champion() -> None:
    compared = compare_line(history(versions=(version(9), version(8, "champion"))), "image_auroc", NOW, 30)
    assert compared.champion == version(8, "champion")
    assert compared.last is None
