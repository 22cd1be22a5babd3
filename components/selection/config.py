"""Settings of the selection stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.artifacts import PROMPT_KINDS
from components.errors import check
from components.networks.config import EmbedderConfig
from components.networks.patches import BACKBONE
from components.settings import OneOf

TEXT, NORMALITY, BOTH = BY = ("text", "normality", "both")


class Config(EmbedderConfig):
    """Settings of the text-guided knowledge integrator (paper section 4.2)."""

    section: ClassVar = "selection"

    object: str = ""
    """Object name, W^o; read for the prompts `word` and `naive`."""
    rule: Annotated[str, OneOf(("text", "last", "fixed"))] = "text"
    """`text` takes the set nearest to the prompt (Eq. 5), `last` that of the last iteration (the ablation without
    text), `fixed` that of `iteration`."""
    by: Annotated[str, OneOf(BY)] = TEXT
    """What the rule `text` goes by: the `text` alone (Eq. 5); `normality`, the set, of those of its images that bring
    good images nearer which the bank does not hold without bringing synthetic defects nearer, that does most of it; or
    `both`, the set nearest to the prompt among those that do any, and those of its images. Normality takes two given
    images, or calibration images; without them it is the text alone, and the result says so."""
    iteration: Annotated[int, Field(ge=0)] = 0
    """Iteration whose set the rule `fixed` takes, counted from 0."""
    prompt: Annotated[str, OneOf(PROMPT_KINDS)] = "best"
    """The prompt P: `best` of the ranking, or, for comparison, `worst`, `word` (the object's name) or `naive`."""
    images: Annotated[int, Field(ge=0)] = 0
    """Images of each set that are compared and taken, its first ones; 0 for all."""

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`; the backbone last."""
        return (*super().references, *(() if self.by == TEXT else (BACKBONE,)))

    @model_validator(mode="after")
    def _check_by(self) -> Self:
        check(
            self.rule == "text" or self.by == TEXT, "selection.by", self.by, f"text, with selection.rule: {self.rule}"
        )
        return self

    @model_validator(mode="after")
    def _check_object(self) -> Self:
        named = self.prompt not in ("word", "naive") or bool(self.object.strip())
        check(named, "object", self.object, f"a name, for the prompt {self.prompt!r}")
        return self
