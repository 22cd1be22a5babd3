"""The error of bad input, told apart from a defect or a machine's failure."""


class InputError(ValueError):
    """Something the user gave is wrong: a file, a key or a value.

    The message is one line that names what is wrong, the value received and what was expected.
    The command line prints it and exits with 2.
    """


def check(holds: bool, name: str, value: object, expected: str) -> None:
    """Raise `InputError` naming the field, its value and what was expected, unless `holds`."""
    if not holds:
        raise InputError(f"{name}: got {value!r}, expected {expected}")


MAX_SEED = 2**32 - 1
"""Largest seed that NumPy takes."""


def check_seed(seed: int) -> None:
    """Raise `InputError` unless every library takes the seed."""
    check(0 <= seed <= MAX_SEED, "seed", seed, f"0 to {MAX_SEED}")
