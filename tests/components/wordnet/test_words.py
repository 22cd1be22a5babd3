"""Related words come from WordNet's relations of the right sense."""

import json
import os
import subprocess
import sys

import pytest

from components.errors import InputError
from components.wordnet import words
from components.wordnet.words import (
    RelatedWord,
    WordNetMissingError,
    check_noun,
    check_settings,
    noun_senses,
    related_words,
    wordnet_version,
)

_WITHOUT_WORDNET = """
import nltk.data
from components.wordnet.words import open_wordnet
nltk.data.path.clear()
open_wordnet()
"""
_PRINT_RELATED_WORDS = """
from components.wordnet.words import noun_senses, related_words
for name in ("screw", "transistor", "cable"):
    for sense in noun_senses(name):
        print(*related_words(sense, name, 3), sep="\\n")
"""


def _related(object_name: str, depth: int = 2) -> list[RelatedWord]:
    return related_words(noun_senses(object_name)[0], object_name, depth)


def _by_relation(words: list[RelatedWord], relation: str) -> set[str]:
    return {word.word for word in words if word.relation == relation}


def test_relations_of_a_transistor() -> None:
    words = _related("transistor")

    assert _by_relation(words, "part_meronym") == {"base", "emitter", "collector"}
    assert {"semiconductor device", "semiconductor", "conductor"} <= _by_relation(words, "hypernym")
    assert "field-effect transistor" in _by_relation(words, "hyponym")
    assert _by_relation(words, "synonym") == {"junction transistor", "electronic transistor"}


def test_word_carries_its_synset_and_gloss() -> None:
    (emitter,) = (word for word in _related("transistor") if word.word == "emitter")

    assert emitter.synset == "emitter.n.01"
    assert emitter.gloss == "the electrode in a transistor where electrons originate"


@pytest.mark.parametrize("object_name", ["transistor", "Transistor", "metal nut", "metal_nut", "car", "screw"])
def test_no_word_twice_and_never_the_object_itself(object_name: str) -> None:
    words = [word.word.lower() for word in _related(object_name)]

    assert words
    assert len(words) == len(set(words))
    assert object_name.lower().replace("_", " ") not in words
    assert not any("_" in word for word in words)


def test_depth_limits_the_steps_along_hypernyms() -> None:
    assert "conductor" not in _by_relation(_related("transistor", depth=1), "hypernym")
    assert "instrumentality" in _by_relation(_related("transistor", depth=5), "hypernym")


def test_words_synsets_and_their_order_do_not_depend_on_the_hash_seed(capsys: pytest.CaptureFixture[str]) -> None:
    exec(_PRINT_RELATED_WORDS, {})
    here = capsys.readouterr().out

    elsewhere = subprocess.run(
        [sys.executable, "-c", _PRINT_RELATED_WORDS],
        env={**os.environ, "PYTHONHASHSEED": "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout

    assert here == elsewhere
    assert "word='coaxial cable'" in here


@pytest.mark.parametrize("object_name", ["metal nut", "metal_nut", "Metal Nut"])
def test_head_noun_stands_in_for_a_compound_that_wordnet_lacks(object_name: str) -> None:
    names = [sense.name() for sense in noun_senses(object_name)]

    assert names == [sense.name() for sense in noun_senses("nut")]
    assert "nut.n.03" in names


def test_compound_that_wordnet_has_is_taken_whole() -> None:
    assert [sense.name() for sense in noun_senses("semiconductor device")] == ["semiconductor_device.n.01"]


def test_senses_of_an_object_are_things() -> None:
    names = [sense.name() for sense in noun_senses("screw")]

    assert "screw.n.04" in names
    assert "prison_guard.n.01" not in names
    assert "sexual_intercourse.n.01" not in names


@pytest.mark.parametrize(
    ("name", "kept", "left_out"),
    [
        ("screw", "screw.n.02", "fuck.n.01"),
        ("nut", "nut.n.03", "testis.n.01"),
        ("valve", "valve.n.03", "valve.n.01"),
        ("cock", "stopcock.n.01", "cock.n.01"),
        ("toothbrush", "toothbrush.n.01", "soup-strainer.n.01"),
    ],
)
def test_vulgar_and_bodily_senses_are_left_out(name: str, kept: str, left_out: str) -> None:
    names = [sense.name() for sense in noun_senses(name)]
    assert kept in names
    assert left_out not in names


def test_noun_that_names_no_thing_keeps_its_senses() -> None:
    assert [sense.name() for sense in noun_senses("theorem")] == ["theorem.n.01", "theorem.n.02"]


def test_object_without_synset_is_named() -> None:
    with pytest.raises(InputError, match="object: got 'left qwyzzt', expected a noun of WordNet"):
        noun_senses("left qwyzzt")


def test_run_whose_object_is_no_noun_ends_unless_words_are_given() -> None:
    settings = {"object": "qwyzzt", "prompts_words": [], "prompts_wordnet": "3.0"}
    with pytest.raises(InputError, match="object: got 'qwyzzt', expected a noun"):
        check_settings(json.dumps(settings))
    check_settings(json.dumps(settings | {"prompts_words": ["scratch"]}))
    check_settings(json.dumps({"line": "vigil-table2"}))


def test_unknown_noun_is_known_where_wordnet_is_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    check_noun("metal nut")
    with pytest.raises(InputError, match=r"object: got 'qwyzzt', expected a noun of WordNet; or give prompts\.words"):
        check_noun("qwyzzt")

    def missing(_: str) -> None:
        raise WordNetMissingError("WordNet: not found")

    monkeypatch.setattr(words, "open_wordnet", missing)
    check_noun("qwyzzt")


def test_version_of_wordnet() -> None:
    assert wordnet_version() == "3.0"


def test_missing_wordnet_is_bad_input() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_WORDNET], capture_output=True, text=True, check=False, timeout=120
    )

    assert result.stderr.splitlines()[-1].endswith("expected it in NLTK_DATA, see `vigil wordnet --help`")
    assert "WordNetMissingError: WordNet: not found by NLTK" in result.stderr
