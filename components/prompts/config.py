"""Settings of the prompts stage."""

import string
from typing import Annotated, ClassVar

from pydantic import Field, field_validator

from components.errors import check
from components.networks.config import EmbedderConfig
from components.settings import Expected, OneOf, Texts
from components.wordnet.words import RELEASES


class Config(EmbedderConfig):
    """Settings of the keyword-to-prompt generator (paper section 4.1.1)."""

    section: ClassVar = "prompts"

    object: Annotated[str, Field(pattern=r"\S"), Expected("the name of the inspected part")]
    """Object name, W^o; the last word of a compound name is looked up when the whole is not in WordNet."""
    templates: Texts = ("a {object} with {word}",)
    """Candidate prompts S_t, with the fields `object` and `word`; every word is put into each."""
    words: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False), Expected("words")] = ()
    """Words W_t given by the user; when empty, those of WordNet."""
    wordnet: Annotated[str, OneOf(RELEASES)] = "3.0"
    """Release of WordNet, 3.0 or 3.1; not used where words are given."""
    depth: Annotated[int, Field(ge=1, le=5)] = 2
    """Steps followed along hypernyms and hyponyms."""
    outlier_rule: Annotated[str, OneOf(("quantile", "paper", "none"))] = "quantile"
    """`quantile` drops the farthest candidates, `paper` keeps d > `outlier_distance` as printed, `none` keeps all.
    The farthest have the lowest cosine, so `quantile` never changes the best prompt; see `kept_by_rule`."""
    outlier_quantile: Annotated[float, Field(gt=0, le=1)] = 0.9
    """Candidates with an L2 distance above this quantile of all are dropped by the rule `quantile`."""
    outlier_distance: Annotated[float, Field(ge=0, le=2)] = 0.5
    """L2 distance between unit vectors in the rule `paper`."""

    @field_validator("templates")
    @classmethod
    def _check_templates(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        try:
            fields = [{name for _, name, *_ in string.Formatter().parse(text) if name} for text in templates]
        except ValueError:
            fields = []
        right = bool(fields) and all(found == {"object", "word"} for found in fields)
        check(right, "prompts.templates", templates, "one text or more with {object} and {word} only")
        return templates
