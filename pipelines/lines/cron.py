"""Schedules as Kubeflow Pipelines reads them: six cron fields, the first for seconds.

Its scheduled-workflow controller parses them by robfig/cron (Go), whose fields are narrower than those of other crons:
Sunday is 0 and never 7, a range does not wrap, and L, W and # do not exist; `?` means `*`.
"""

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
