"""A WordNet database of a few nouns in the format of the manual page wndb(5WN), with any release in its header."""

from collections.abc import Mapping, Sequence
from pathlib import Path

Noun = tuple[Sequence[str], str, Mapping[str, Sequence[str]]]
"""Words, gloss, and by the symbol of a relation the first words of the nouns that it leads to."""

_HEADER = "  1 WordNet {release} Copyright 2011 by Princeton University.  All rights reserved.  \n"
_POINTERS = ("@", "~", "@i", "~i", "%p", "%s", "%m", "#p", "#s", "#m")
_OTHERS = ("cntlist.rev", "adj.exc", "adv.exc", "noun.exc", "verb.exc")
_EMPTY = tuple(f"{kind}.{part}" for kind in ("data", "index") for part in ("adv", "verb"))


def write_database(folder: Path, nouns: Sequence[Noun], release: str) -> Path:
    """Write the files that NLTK reads; the first word of each noun must be its own."""
    folder.mkdir(parents=True)
    header = _HEADER.format(release=release)
    offsets = {words[0]: 0 for words, _, _ in nouns}
    position = len(header)
    for words, gloss, pointers in nouns:
        offsets[words[0]] = position
        position += len(_row(words, gloss, pointers, offsets))
    rows = [_row(words, gloss, pointers, offsets) for words, gloss, pointers in nouns]
    files = {
        "data.noun": header + "".join(rows),
        "index.noun": header + "".join(_index_rows(nouns, offsets)),
        "data.adj": header,
        "index.adj": header,
        "index.sense": "",
        "lexnames": "".join(f"{index:02d}\tnoun.artifact\t1\n" for index in range(45)),
        **dict.fromkeys((*_OTHERS, *_EMPTY), ""),
    }
    for name, content in files.items():
        (folder / name).write_text(content, encoding="ascii")
    return folder


def _row(words: Sequence[str], gloss: str, pointers: Mapping[str, Sequence[str]], offsets: Mapping[str, int]) -> str:
    named = "".join(f"{word} 0 " for word in words)
    targets = [f"{symbol} {offsets[word]:08d} n 0000 " for symbol in _POINTERS for word in pointers.get(symbol, ())]
    links = f"{len(targets):03d} {''.join(targets)}"
    return f"{offsets[words[0]]:08d} 06 n {len(words):02x} {named}{links}| {gloss}  \n"


def _index_rows(nouns: Sequence[Noun], offsets: Mapping[str, int]) -> list[str]:
    senses: dict[str, list[int]] = {}
    for words, _, _ in nouns:
        for word in words:
            senses.setdefault(word.lower(), []).append(offsets[words[0]])
    return [
        f"{word} n {len(found)} 1 @ {len(found)} 0 {' '.join(f'{offset:08d}' for offset in found)}  \n"
        for word, found in sorted(senses.items())
    ]
