"""Words related to an object name, from WordNet (paper section 4.1.1)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.errors import InputError, check

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import Synset

RELEASES = {"3.0": "wordnet", "3.1": "wordnet31"}
"""Releases of WordNet, and NLTK's names of them."""

_DIRECT_RELATIONS = (
    "part_meronym",
    "substance_meronym",
    "member_meronym",
    "part_holonym",
    "substance_holonym",
    "member_holonym",
)


@dataclass(frozen=True, kw_only=True)
class RelatedWord:
    """One word W_t and where it came from."""

    word: str
    """The word, with spaces between the words of a compound."""
    relation: str
    """`synonym`, `hypernym`, `hyponym`, `part_meronym`, ... or `given`."""
    synset: str
    """Name of the synset that the word is a lemma of; empty for a given word."""
    gloss: str
    """Definition of that synset."""


def open_wordnet(release: str = "3.0") -> Any:
    """NLTK's reader of a release of WordNet, one of `RELEASES`.

    Raises:
        InputError: it is not installed where NLTK looks for it, or the files there are of another release.
    """
    from nltk import corpus

    wordnet = getattr(corpus, RELEASES[release])
    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        expected = f"corpora/{RELEASES[release]}; expected it in NLTK_DATA, see `vigil wordnet --help`"
        raise InputError(f"WordNet: not found by NLTK as {expected}") from error
    found, place = wordnet.get_version(), f"corpora/{RELEASES[release]}"
    check(found == release, "prompts.wordnet", release, f"{found}, the release that the files in {place} state")
    return wordnet


def noun_senses(object_name: str, release: str = "3.0") -> "list[Synset]":
    """Noun synsets that an object name may stand for: those of things and substances, where there is one.

    What an inspection line sees is no person or idea.

    Args:
        object_name: W^o; where the whole name has no synset, its head noun is looked up.
        release: one of `RELEASES`.

    Raises:
        InputError: neither is in WordNet.
    """
    senses = _all_noun_senses(object_name, release)
    things = []
    for sense in senses:
        ancestors = {sense.name(), *(synset.name() for synset in sense.closure(_step("hypernym")))}
        if "physical_entity.n.01" in ancestors and "person.n.01" not in ancestors:
            things.append(sense)
    return things or senses


def left_out_senses(object_name: str, release: str = "3.0") -> "list[Synset]":
    """The noun synsets of an object name that `noun_senses` leaves out."""
    kept = noun_senses(object_name, release)
    return [sense for sense in _all_noun_senses(object_name, release) if sense not in kept]


def _all_noun_senses(object_name: str, release: str) -> "list[Synset]":
    wordnet = open_wordnet(release)
    words = object_name.lower().replace("_", " ").split()
    for start in range(len(words)):
        senses = wordnet.synsets("_".join(words[start:]), pos=wordnet.NOUN)
        if senses:
            return list(senses)
    raise InputError(f"object: got {object_name!r}, expected a noun of WordNet; or give prompts.words")


def related_words(sense: "Synset", object_name: str, depth: int) -> list[RelatedWord]:
    """Words related to one sense, each once, without the object name itself; nearer synsets first, then by name.

    Args:
        sense: the chosen noun synset.
        object_name: W^o, which is left out.
        depth: steps followed along hypernyms and hyponyms.
    """
    name = object_name.lower().replace("_", " ")
    seen = {name, name.split()[-1]}
    words = []
    related = [("synonym", sense)]
    for relation in ("hypernym", "hyponym"):
        related += [(relation, synset) for synset in sense.closure(_step(relation), depth=depth)]
    for relation in _DIRECT_RELATIONS:
        related += [(relation, synset) for synset in _by_name(sense, f"{relation}s")]
    for relation, synset in related:
        for lemma in synset.lemma_names():
            word = lemma.replace("_", " ")
            if word.lower() in seen:
                continue
            seen.add(word.lower())
            words.append(RelatedWord(word=word, relation=relation, synset=synset.name(), gloss=synset.definition()))
    return words


def _step(relation: str) -> "Callable[[Synset], Iterable[Synset]]":
    return lambda synset: _by_name(synset, f"{relation}s", f"instance_{relation}s")


def _by_name(synset: "Synset", *relations: str) -> "list[Synset]":
    """Synsets of some relations, each by name: NLTK keeps them in a set, whose order differs between processes."""
    return [other for relation in relations for other in sorted(getattr(synset, relation)())]


def wordnet_version(release: str = "3.0") -> str:
    """Version that the files of a release state, such as `3.0`."""
    return str(open_wordnet(release).get_version())
