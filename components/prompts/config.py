"""Settings of the prompts stage."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from components.errors import check
from components.networks.embedding import CONSE, check_embedder
from components.prompts.wordnet import RELEASES

OUTLIER_RULES = ("quantile", "paper", "none")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the keyword-to-prompt generator (paper section 4.1.1)."""

    object: str
    """Object name, W^o; the last word of a compound name is looked up when the whole is not in WordNet."""
    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f and G of the paper."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""
    templates: Sequence[str] = ("a {object} with {word}",)
    """Candidate prompts S_t, with the fields `object` and `word`; every word is put into each."""
    words: Sequence[str] = ()
    """Words W_t given by the user; when empty, WordNet is asked."""
    wordnet: str = "3.0"
    """Release of WordNet that is asked, 3.0 or 3.1; not used where words are given."""
    depth: int = 2
    """Steps followed along hypernyms and hyponyms."""
    outlier_rule: str = "quantile"
    """`quantile` drops the farthest candidates, `paper` keeps d > `outlier_distance` as printed, `none` keeps all.
    The farthest have the lowest cosine, so `quantile` never changes the best prompt; see `kept_by_rule`."""
    outlier_quantile: float = 0.9
    """Candidates with an L2 distance above this quantile of all are dropped by the rule `quantile`."""
    outlier_distance: float = 0.5
    """L2 distance between unit vectors in the rule `paper`."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(bool(self.object.strip()), "object", self.object, "the name of the inspected part")
        check_embedder(self.embedder, self.embedder_weights)
        templates = bool(self.templates) and all(_is_template(text) for text in self.templates)
        check(templates, "prompts.templates", self.templates, "one text or more with {object} and {word} only")
        check(all(isinstance(word, str) and word for word in self.words), "prompts.words", self.words, "words")
        check(self.wordnet in RELEASES, "prompts.wordnet", self.wordnet, f"one of {', '.join(RELEASES)}")
        check(1 <= self.depth <= 5, "prompts.depth", self.depth, "1 to 5")
        check(self.outlier_rule in OUTLIER_RULES, "prompts.outlier_rule", self.outlier_rule, f"one of {OUTLIER_RULES}")
        check(0 < self.outlier_quantile <= 1, "prompts.outlier_quantile", self.outlier_quantile, "above 0, at most 1")
        check(0 <= self.outlier_distance <= 2, "prompts.outlier_distance", self.outlier_distance, "0 to 2")


def _is_template(text: object) -> bool:
    if not isinstance(text, str):
        return False
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return False
    return fields == {"object", "word"}
