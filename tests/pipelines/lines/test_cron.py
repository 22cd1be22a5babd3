"""Tests of schedules in the dialect of the cluster's cron."""

from collections import Counter

import pytest

from components.errors import InputError
from pipelines.lines.cron import check_cron, spread
from pipelines.lines.line import Schedule


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 2 * * *",
        "0 30 2 ? * MON-FRI",
        "0 0 9 ? * 2-6",
        "59 59 23 31 12 6",
        "0 */15 8-18 * jan-mar,DEC sun",
        "0 5/10 * 1,15 * ?",
        "0 0 0 29 2 *",
        "  0   0 2\t* * *",
        "0 0 0 30 2 MON",
    ],
)
def test_schedules_of_the_cluster(expression: str) -> None:
    check_cron(expression)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 2 * * *", "six fields"),
        ("0 0 2 * * * 2026", "six fields"),
        ("@daily", "six fields"),
        ("CRON_TZ=Asia/Tokyo 0 0 2 * * *", "six fields"),
        ("", "six fields"),
        ("60 0 2 * * *", "second 0-59"),
        ("0 60 2 * * *", "minute 0-59"),
        ("0 0 24 * * *", "hour 0-23"),
        ("0 0 2 0 * *", "day of month 1-31"),
        ("0 0 2 32 * *", "day of month 1-31"),
        ("0 0 2 * 13 *", "month 1-12"),
        ("0 0 2 * * 7", "a day of week of 0-6 or SUN-SAT"),
        ("0 0 2 * * MOO", "a day of week of"),
        ("0 0 2 * JUNE *", "a month of"),
        ("0 0 2 MON * *", "a day of month of"),
        ("0 0 20-4 * * *", "hour 0-23"),
        ("0 0 2 * * FRI-MON", "day of week 0-6"),
        ("0 */0 2 * * *", "bad minute"),
        ("0 */-5 2 * * *", "a minute of"),
        ("0 -5 2 * * *", "a minute of"),
        ("0 1,,2 2 * * *", "a minute of"),
        ("0 1, 2 * * *", "a minute of"),
        ("0 1.5 2 * * *", "a minute of"),
        ("0 0 2 L * *", "a day of month of"),
        ("0 0 2 15W * *", "a day of month of"),
        ("0 0 2 * * 1#2", "a day of week of"),
        ("0 0 2 * * 5L", "a day of week of"),
        ("0 0 2 30 2 *", "bad day-of-month"),
        ("0 0 2 31 4,6,9,11 ?", "bad day-of-month"),
        ("0 ٣ 2 * * *", "a minute of"),
    ],
)
def test_other_schedules_are_refused(expression: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        check_cron(expression)
    message = str(caught.value)
    assert message.startswith(f"schedule.cron: got {expression!r}, expected ")
    assert expected in message
    assert "\n" not in message


def seconds(cron: str) -> int:
    """Second of the day of a daily start."""
    second, minute, hour = map(int, cron.split()[:3])
    return hour * 3600 + minute * 60 + second


def test_lines_are_spread_evenly_and_always_alike() -> None:
    names = [f"line-{number:03d}" for number in range(200)]
    crons = [spread("0 0 2 * * MON-FRI", 240, name) for name in names]
    assert crons == [spread("0 0 2 * * MON-FRI", 240, name) for name in names]
    assert {cron.split(maxsplit=3)[3] for cron in crons} == {"* * MON-FRI"}
    starts = [seconds(check_cron(cron)) - 7200 for cron in crons]
    assert 0 <= min(starts) <= max(starts) <= 240 * 60
    quarters = Counter(start // 3601 for start in starts)
    assert set(quarters) == {0, 1, 2, 3}
    assert all(30 <= count <= 70 for count in quarters.values())


@pytest.mark.parametrize(
    ("cron", "minutes", "hours"),
    [("30 30 2,14 * * *", 60, {"2,14", "3,15"}), ("0 0 * * * *", 59, {"*"}), ("0 0 23 * * *", 59, {"23"})],
)
def test_spread_carries_into_the_hours(cron: str, minutes: int, hours: set[str]) -> None:
    crons = [check_cron(spread(cron, minutes, str(number))) for number in range(100)]
    assert {found.split()[2] for found in crons} == hours


@pytest.mark.parametrize(
    ("cron", "minutes", "expected"),
    [
        (
            "0 */15 2 * * *",
            5,
            "schedule.cron: got '0 */15 2 * * *', expected a cron whose seconds and minutes",
        ),
        ("0 0 2-4 * * *", 5, "schedule.cron: got '0 0 2-4 * * *', expected a cron whose seconds"),
        ("0 0 23 * * *", 60, "schedule.jitter: got 60, expected minutes that end before the next day"),
        ("0 30 * * * *", 30, "schedule.jitter: got 30, expected minutes that end before the next hour"),
    ],
)
def test_schedule_that_cannot_be_spread_is_refused(cron: str, minutes: int, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        Schedule(cron=cron, jitter=minutes)
    assert str(caught.value).startswith(expected)
