"""Words related to an object name, from WordNet (paper section 4.1.1)."""

import io
import json
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from components.errors import InputError, check

if TYPE_CHECKING:
    from nltk.corpus.reader.wordnet import Synset

RELEASES = {"3.0": "wordnet", "3.1": "wordnet31"}
"""Releases of WordNet, and NLTK's names of them."""

_NO_THINGS = {"person.n.01", "body_part.n.01", "body_substance.n.01", "body_covering.n.01"}
_VULGAR = {"obscenity.n.02", "disparagement.n.01", "ethnic_slur.n.01", "slang.n.02"}
"""Usage that WordNet marks synsets and lemmas with."""

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


class WordNetMissingError(InputError):
    """WordNet is not installed where NLTK looks for it."""


def open_wordnet(release: str = "3.0") -> Any:
    """NLTK's reader of a release of WordNet, one of `RELEASES`.

    Raises:
        InputError: it is not installed where NLTK looks for it, or the files there are of another release.
    """
    try:
        wordnet = _load(RELEASES[release])
    except LookupError as error:
        expected = f"corpora/{RELEASES[release]}; expected it in NLTK_DATA, see `vigil wordnet --help`"
        raise WordNetMissingError(f"WordNet: not found by NLTK as {expected}") from error
    found, place = wordnet.get_version(), f"corpora/{RELEASES[release]}"
    check(found == release, "prompts.wordnet", release, f"{found}, the release that the files in {place} state")
    return wordnet


@cache
def _load(corpus: str) -> Any:
    """NLTK's reader of a corpus, without its map to WordNet 3.0: half the load, and for other languages alone."""
    from nltk.corpus.reader.wordnet import WordNetCorpusReader
    from nltk.corpus.util import LazyCorpusLoader

    class EnglishReader(WordNetCorpusReader):  # type: ignore[misc]
        def map_wn(self, version: str = "wordnet") -> None:
            return None

        def open(self, file: str) -> Any:
            """NLTK's stream, which can be set to any byte; a plain one of an index, which is read once from its start.

            The latter takes half of the load.
            """
            if file not in {f"index.{name}" for name in self._FILEMAP.values()}:
                return super().open(file)
            return io.TextIOWrapper(self._root.join(file).open(), self._encoding)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        reader = LazyCorpusLoader(corpus, EnglishReader, None)
        reader.ensure_loaded()
    return reader


def check_noun(object_name: str, release: str = "3.0") -> None:
    """Raise `InputError` where WordNet is at hand and has no sense of an object name that prompts could be about."""
    with suppress(WordNetMissingError):
        noun_senses(object_name, release)


def check_settings(settings: str) -> None:
    """Check the object of a run as `check_noun` does, by its settings as JSON, unless words are given."""
    values = json.loads(settings)
    if "object" in values and not values["prompts_words"]:
        check_noun(values["object"], values["prompts_wordnet"])


def noun_senses(object_name: str, release: str = "3.0") -> "list[Synset]":
    """Noun synsets that an object name may stand for: those of things and substances, where there is one.

    What an inspection line sees is no person, body part or idea. Senses that WordNet marks as vulgar, or as slang, are
    left out.

    Args:
        object_name: W^o; where the whole name has no synset, its head noun is looked up.
        release: one of `RELEASES`.

    Raises:
        InputError: neither is in WordNet.
    """
    wordnet = open_wordnet(release)
    words = object_name.lower().replace("_", " ").split()
    for start in range(len(words)):
        found = wordnet.synsets("_".join(words[start:]), pos=wordnet.NOUN)
        senses = [sense for sense in found if not _is_vulgar(sense)]
        if senses:
            return [sense for sense in senses if _is_thing(sense)] or senses
    raise InputError(f"object: got {object_name!r}, expected a noun of WordNet; or give prompts.words")


def _is_thing(sense: "Synset") -> bool:
    ancestors = {sense.name(), *(synset.name() for synset in sense.closure(_step("hypernym")))}
    return "physical_entity.n.01" in ancestors and not ancestors & _NO_THINGS


def _is_vulgar(sense: "Synset") -> bool:
    marks = [*sense.usage_domains(), *(mark for lemma in sense.lemmas() for mark in lemma.usage_domains())]
    return any(mark.name() in _VULGAR for mark in marks)


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
        if _is_vulgar(synset):
            continue
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
