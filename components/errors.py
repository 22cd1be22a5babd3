"""The error of bad input, as opposed to a defect or a machine's failure."""

import difflib
import re
from collections.abc import Collection, Iterable

_CREDENTIALS = re.compile(r"//[^/@\s]+@")


class InputError(ValueError):
    """Something the user gave is wrong: a file, a key or a value.

    Each argument is a message that names what is wrong, the value received and what was expected.
    The command line prints them in one line and exits with 2.
    """

    def __str__(self) -> str:
        """All messages in one line."""
        return "; ".join(map(str, self.args))


def check(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise `InputError` naming the field, its value and what was expected, unless `holds`."""
    if not holds:
        raise InputError(f"{name}: got {value!r}, expected {expected}")


def check_keys(prefix: str, keys: Iterable[object], known: Collection[str]) -> None:
    """Raise `InputError` for a key that is not known; `prefix` ends with a dot."""
    for key in keys:
        if key not in known:
            raise InputError(unknown_key(prefix, key, known))


def unknown_key(prefix: str, key: object, known: Collection[str]) -> str:
    """Message about an unknown key, with the known one that it resembles."""
    close = difflib.get_close_matches(str(key), known, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{prefix}{key}: unknown key, expected one of {', '.join(known)}{hint}"


def without_credentials(text: str) -> str:
    """A text without the user and password that its addresses hold, for messages and logs."""
    return _CREDENTIALS.sub("//", text)
