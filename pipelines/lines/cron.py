"""Schedules as Kubeflow Pipelines reads them: six cron fields, the first for seconds.

Its scheduled-workflow controller parses them by robfig/cron (Go), whose fields are narrower than those of other crons:
Sunday is 0 and never 7, a range does not wrap, and L, W and # do not exist; `?` means `*`.
"""

import hashlib
import re
from datetime import UTC, datetime

from components.errors import check

_FIELDS = (
    ("second", r"[0-9]+", "0-59"),
    ("minute", r"[0-9]+", "0-59"),
    ("hour", r"[0-9]+", "0-23"),
    ("day of month", r"[0-9]+", "1-31"),
    ("month", r"[0-9]+|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC", "1-12 or JAN-DEC"),
    ("day of week", r"[0-6]|SUN|MON|TUE|WED|THU|FRI|SAT", "0-6 or SUN-SAT"),
)


def check_cron(expression: str) -> str:
    """Check a schedule of six fields, such as `0 30 2 * * MON-FRI`, and return it with single spaces.

    Raises:
        InputError: it does not have six fields, a field is wrong, or no day ever matches.
    """
    from cronsim import CronSim, CronSimError

    fields = expression.split()
    check(len(fields) == len(_FIELDS), "schedule.cron", expression, "six fields, the first for seconds")
    for text, (name, value, values) in zip(fields, _FIELDS, strict=True):
        term = rf"(?:[*?]|(?:{value})(?:-(?:{value}))?)(?:/[0-9]+)?"  # ranges of numbers are checked below
        expected = f"a {name} of {values}, *, ranges, /steps and commas; got {text!r}"
        follows = re.fullmatch(rf"{term}(?:,{term})*", text.upper()) is not None
        check(follows, "schedule.cron", expression, expected)
    try:
        matches = next(CronSim(expression.replace("?", "*"), datetime(2000, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        ranges = ", ".join(f"{name} {values}" for name, _, values in _FIELDS)
        check(False, "schedule.cron", expression, f"{ranges}; {str(error).lower()}")
    check(matches is not None, "schedule.cron", expression, "a schedule that a day of the calendar meets")
    return " ".join(fields)


def spread(expression: str, minutes: int, name: str) -> str:
    """A schedule moved by up to some minutes, by as many seconds as a name stands for: the same name, the same start.

    Its seconds, minutes and hours are numbers, the hours also a list of them or `*`, as in `0 0 2,14 * * *`.

    Raises:
        InputError: other fields than those, or a start that would be on the next day.
    """
    second, minute, hours, *days = expression.split()
    plain = second.isdigit() and minute.isdigit() and re.fullmatch(r"\*|[0-9]+(,[0-9]+)*", hours) is not None
    expected = "a cron whose seconds and minutes are numbers, and the hours numbers or *, with schedule.jitter"
    check(plain, "schedule.cron", expression, expected)
    latest = int(minute) * 60 + int(second) + minutes * 60
    fits = latest < 3600 if hours == "*" else max(map(int, hours.split(","))) * 3600 + latest < 86400
    check(fits, "schedule.jitter", minutes, f"minutes that end before the next {'hour' if hours == '*' else 'day'}")
    drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % (minutes * 60 + 1)
    carried, rest = divmod(int(minute) * 60 + int(second) + drawn, 3600)
    moved = hours if hours == "*" else ",".join(str(int(hour) + carried) for hour in hours.split(","))
    return " ".join([str(rest % 60), str(rest // 60), moved, *days])
