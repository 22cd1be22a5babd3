"""Checks what WordNet takes the name of a line's object for."""

from components.wordnet.words import noun_senses, related_words
from pipelines.checking.findings import Findings
from pipelines.lines.line import Line

_SHOWN = 4


def check_words(line: Line, findings: Findings) -> None:
    """Look up the senses of the object's name, one of which the given images will choose."""
    config = line.prompts
    if config.words:
        findings.facts["senses"] = []
        findings.add("note", "object.sense", "prompts.words are given: WordNet is not used")
        return
    with findings.errors_as("object.sense"):
        senses = noun_senses(config.object, config.wordnet)
        shown = [{"synset": sense.name(), "gloss": sense.definition()} for sense in senses]
        findings.facts["senses"] = shown
        name = config.object.lower().replace("_", " ")
        if name.replace(" ", "_") not in {lemma.lower() for sense in senses for lemma in sense.lemma_names()}:
            head = senses[0].lemma_names()[0].replace("_", " ")
            findings.add("note", "object.sense", f"{name!r} is not in WordNet: it is looked up as {head!r}")
        if len(senses) > 1:
            named = ", ".join(sense.name() for sense in senses[:_SHOWN])
            chosen = f"{len(senses)} senses ({named}{', ...' if len(senses) > _SHOWN else ''}): the given images choose"
            findings.add("note", "object.sense", f"{config.object!r} has {chosen}; prompts.words overrides them")
        without = [sense.name() for sense in senses if not related_words(sense, config.object, config.depth)]
        if without:
            level = "error" if len(without) == len(senses) else "warning"
            message = f"WordNet relates no word to {', '.join(without)}; give prompts.words"
            findings.add(level, "object.words", message)  # type: ignore[arg-type]
