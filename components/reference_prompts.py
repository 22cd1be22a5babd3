"""The prompts that the paper compares (section 5, Table 2 and Fig. 8), by their kind."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import PROMPTS, read_table
from components.errors import check

if TYPE_CHECKING:
    import pandas as pd

PROMPT_KINDS = ("best", "worst", "word", "naive")
"""`best` and `worst` of the ranking, the object's name alone, and "a photo of a {object}"."""

_VOWELS = tuple("aeiou")


def prompt_text(path: str | Path, kind: str, object: str) -> str:
    """The prompt of one kind.

    Args:
        path: artifact of the prompts stage.
        kind: one of `PROMPT_KINDS`.
        object: W^o, the name of the inspected part.

    Raises:
        InputError: there is no such kind.
    """
    check(kind in PROMPT_KINDS, "prompt", kind, f"one of {', '.join(PROMPT_KINDS)}")
    return reference_prompts(read_table(Path(path) / PROMPTS), object)[kind]


def reference_prompts(ranking: "pd.DataFrame", object: str) -> dict[str, str]:
    """The prompts by their kind.

    Args:
        ranking: candidates with the columns prompt, cosine and rank; `best` has rank 1, and `worst` the lowest cosine
            of all, dropped ones too.
        object: W^o, the name of the inspected part.
    """
    rows = (int(ranking["rank"].argmin()), int(ranking["cosine"].argmin()))
    best, worst = (str(ranking["prompt"].iloc[row]) for row in rows)
    return dict(zip(PROMPT_KINDS, (best, worst, object, naive_prompt(object)), strict=True))


def naive_prompt(object: str) -> str:
    """The text "a photo of a {object}", with "an" before a vowel."""
    article = "an" if object.lower().startswith(_VOWELS) else "a"
    return f"a photo of {article} {object}"
