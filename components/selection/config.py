"""Settings of the selection stage."""

from dataclasses import dataclass

from components.errors import check
from components.networks.embedding import CONSE, check_embedder
from components.reference_prompts import PROMPT_KINDS

RULES = ("text", "last", "fixed")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the text-guided knowledge integrator (paper section 4.2)."""

    object: str = ""
    """Object name, W^o; read for the prompts `word` and `naive`."""
    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f and G of the paper."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""
    rule: str = "text"
    """`text` takes the set nearest to the prompt (Eq. 5), `last` that of the last iteration (the ablation without
    text), `fixed` that of `iteration`."""
    iteration: int = 0
    """Iteration whose set the rule `fixed` takes, counted from 0."""
    prompt: str = "best"
    """The prompt P: `best` of the ranking, or, for comparison, `worst`, `word` (the object's name) or `naive`."""
    images: int = 0
    """Images of each set that are looked at and taken, its first ones; 0 for all."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check_embedder(self.embedder, self.embedder_weights)
        check(self.rule in RULES, "selection.rule", self.rule, f"one of {', '.join(RULES)}")
        check(self.iteration >= 0, "selection.iteration", self.iteration, "0 or more")
        check(self.prompt in PROMPT_KINDS, "selection.prompt", self.prompt, f"one of {', '.join(PROMPT_KINDS)}")
        check(self.images >= 0, "selection.images", self.images, "0 or more")
        if self.prompt in ("word", "naive"):
            check(bool(self.object.strip()), "object", self.object, f"a name, for the prompt {self.prompt!r}")
