"""What the doctor says."""

from collections.abc import Mapping
from dataclasses import dataclass

OK, WARNING, FAILED, UNKNOWN = "ok", "warning", "failed", "unknown"
Variables = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: str
    """`ok`, `warning`, `failed`, or `unknown` where it could not be looked at."""
    found: str
    mend: str = ""
    """What to do; empty where all is well."""
