"""Settings of the selection stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.artifacts import PROMPT_KINDS
from components.errors import check
from components.networks.config import EmbedderConfig
from components.settings import OneOf


class Config(EmbedderConfig):
    """Settings of the text-guided knowledge integrator (paper section 4.2)."""

    section: ClassVar = "selection"

    object: str = ""
    """Object name, W^o; read for the prompts `word` and `naive`."""
    rule: Annotated[str, OneOf(("text", "last", "fixed"))] = "text"
    """`text` takes the set nearest to the prompt (Eq. 5), `last` that of the last iteration (the ablation without
    text), `fixed` that of `iteration`."""
    iteration: Annotated[int, Field(ge=0)] = 0
    """Iteration whose set the rule `fixed` takes, counted from 0."""
    prompt: Annotated[str, OneOf(PROMPT_KINDS)] = "best"
    """The prompt P: `best` of the ranking, or, for comparison, `worst`, `word` (the object's name) or `naive`."""
    images: Annotated[int, Field(ge=0)] = 0
    """Images of each set that are compared and taken, its first ones; 0 for all."""

    @model_validator(mode="after")
    def _check_object(self) -> Self:
        named = self.prompt not in ("word", "naive") or bool(self.object.strip())
        check(named, "object", self.object, f"a name, for the prompt {self.prompt!r}")
        return self
