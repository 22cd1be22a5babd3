"""Tests of the difference between lines and recurring runs."""

from collections.abc import Sequence
from typing import Any

import kfp_server_api as api
import pytest

from components import __version__
from pipelines.cluster import schedules
from pipelines.cluster.schedules import Change, Desired, Existing, difference, existing_schedules
from pipelines.cluster.submission import Package


def wanted(line: str = "bolts", **changes: Any) -> Desired:
    package = Package(content=b"", digest="0123456789ab", version=f"{line}-1-0123456789ab")
    values: dict[str, Any] = {
        "line": line,
        "cron": "0 0 2 * * *",
        "enabled": True,
        "package": package,
        "arguments": {"seed": 0},
    }
    return Desired(**{**values, **changes})


def present(desired: Desired, number: int = 1, **changes: Any) -> Existing:
    values: dict[str, Any] = {
        "id": f"run-{number}",
        "line": desired.line,
        "version": desired.package.version,
        "cron": desired.cron,
        "enabled": desired.enabled,
        "digests": desired.digests(),
        "arguments": desired.arguments,
        "created_at": f"2026-01-{number:02d}",
        "status": "ENABLED",
    }
    return Existing(**{**values, **changes})


def only(desired: Sequence[Desired], existing: Sequence[Existing], *, prune: bool = True) -> Change:
    changes = difference(desired, existing, prune=prune)
    assert len(changes) == 1
    return changes[0]


OTHER_PACKAGE = Package(content=b"", digest="ba9876543210", version="bolts-1-ba9876543210")


def test_line_without_a_recurring_run_is_created() -> None:
    assert only([wanted()], []) == Change(line="bolts", kind="created", detail="0 0 2 * * *", desired=wanted())


def test_disabled_line_is_created_disabled() -> None:
    change = only([wanted(enabled=False)], [])
    assert (change.kind, change.detail) == ("created", "0 0 2 * * *, disabled")


def test_equal_recurring_run_is_unchanged() -> None:
    change = only([wanted()], [present(wanted())])
    assert (change.kind, change.detail, change.remove) == ("unchanged", "", ())


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"package": OTHER_PACKAGE}, "package 0123456789ab -> ba9876543210"),
        ({"cron": "0 30 2 * * *"}, "cron 0 0 2 * * * -> 0 30 2 * * *"),
    ],
)
def test_what_differs_is_named(changes: dict[str, Any], detail: str) -> None:
    old = present(wanted())
    change = only([wanted(**changes)], [old])
    assert (change.kind, change.detail, change.keep, change.remove) == ("updated", detail, None, (old,))


@pytest.mark.parametrize(
    ("arguments", "detail"),
    [
        ({"seed": 1, "settings": "1"}, "arguments seed"),
        ({"seed": 1, "line": "bolts", "settings": "0"}, "arguments line seed"),
        ({"settings": "0"}, "arguments seed"),
        ({"seed": 0, "settings": "1"}, "arguments settings"),
    ],
)
def test_changed_arguments_are_named(arguments: dict[str, Any], detail: str) -> None:
    old = present(wanted(arguments={"seed": 0, "settings": "0"}))
    change = only([wanted(arguments=arguments)], [old])
    assert (change.kind, change.detail) == ("updated", detail)


def test_changed_rules_of_the_trigger_are_an_update() -> None:
    old = present(wanted(), digests={**wanted().digests(), "trigger": "0"})
    assert only([wanted()], [old]).detail == "trigger"


@pytest.mark.parametrize(("enabled", "kind"), [(True, "enabled"), (False, "disabled")])
def test_mode_is_changed_in_place(*, enabled: bool, kind: str) -> None:
    old = present(wanted(), enabled=not enabled)
    change = only([wanted(enabled=enabled)], [old])
    assert (change.kind, change.keep, change.remove) == (kind, old, ())


@pytest.mark.parametrize("prune", [True, False])
def test_recurring_run_without_a_line(*, prune: bool) -> None:
    old = present(wanted())
    change = only([], [old], prune=prune)
    assert (change.kind, change.remove) == (("deleted", (old,)) if prune else ("kept", ()))


def test_interrupted_update_is_completed() -> None:
    old, new = present(wanted(), 1), present(wanted(package=OTHER_PACKAGE), 2, enabled=False)
    change = only([wanted(package=OTHER_PACKAGE)], [old, new])
    assert (change.kind, change.keep, change.remove) == ("updated", new, (old,))
    assert change.detail == "an interrupted update is completed"


def test_of_equal_recurring_runs_the_one_in_the_right_mode_stays() -> None:
    off, on = present(wanted(), 1, enabled=False), present(wanted(), 2)
    change = only([wanted()], [off, on])
    assert (change.keep, change.remove) == (on, (off,))


def test_lines_are_in_the_order_of_their_names() -> None:
    changes = difference([wanted("c"), wanted("a")], [present(wanted("b"))], prune=True)
    assert [(change.line, change.kind) for change in changes] == [("a", "created"), ("b", "deleted"), ("c", "created")]


class Listing:
    """A cluster that has these recurring runs."""

    def __init__(self, *runs: api.V2beta1RecurringRun) -> None:
        self.runs = runs

    def recurring_runs(self) -> list[api.V2beta1RecurringRun]:
        return list(self.runs)


def recurring_run(description: str | None, **values: Any) -> api.V2beta1RecurringRun:
    trigger = api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron="0 0 2 * * *"))
    return api.V2beta1RecurringRun(
        recurring_run_id="1", display_name="bolts", description=description, mode="ENABLE", trigger=trigger, **values
    )


def test_description_is_read_back() -> None:
    (own,) = existing_schedules(Listing(recurring_run(wanted().description())))  # type: ignore[arg-type]
    assert (own.line, own.version, own.digests) == ("bolts", __version__, wanted().digests())
    assert (own.cron, own.enabled) == ("0 0 2 * * *", True)
    assert only([wanted()], [own]).kind == schedules.UNCHANGED


def test_description_fits_the_servers_column_for_every_name() -> None:
    assert len(wanted("n" * 63).description()) + len("99.99.99") - len(__version__) <= 255


def test_description_of_the_version_before_is_read() -> None:
    before = wanted().description().replace(f"version={__version__}", "version=bolts-0.1.0-0123456789ab")
    (own,) = existing_schedules(Listing(recurring_run(before)))  # type: ignore[arg-type]
    assert only([wanted()], [own]).kind == schedules.UNCHANGED


@pytest.mark.parametrize(
    "description",
    [
        None,
        "",
        "nightly training of bolts",
        "managed-by=vigil",
        "managed-by=vigil line=bolts",
        wanted().description() + " and more",
        wanted().description() + "\ncopied by hand",
        wanted().description().replace("managed-by=vigil", "managed-by=argo"),
    ],
)
def test_foreign_recurring_runs_are_left_out(description: str | None) -> None:
    assert existing_schedules(Listing(recurring_run(description))) == []  # type: ignore[arg-type]
