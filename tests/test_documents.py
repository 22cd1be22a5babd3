"""The documents: their links and anchors resolve, and every page of a topic begins with an example and a table."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("components", "pipelines", "images", "charts")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))])
TOPICS = sorted((ROOT / "pipelines" / "docs").glob("*.md"))

_CODE = re.compile(r"```.*?```", re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


def prose(path: Path) -> str:
    """A document without its code blocks."""
    return _CODE.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = (match["text"] for match in _HEADING.finditer(prose(path)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def links(path: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of every link that leads to a file of the project."""
    for match in _LINK.finditer(prose(path)):
        target, _, anchor = match["target"].partition("#")
        if "://" not in target and not target.startswith("mailto:"):
            yield (path.parent / target).resolve() if target else path, anchor


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_links_and_anchors_resolve(path: Path) -> None:
    broken = [
        f"{target}#{anchor}"
        for target, anchor in links(path)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert broken == []


@pytest.mark.parametrize("path", TOPICS, ids=name)
def test_topic_begins_with_an_example_and_a_table(path: Path) -> None:
    heading, first, *rest = (block for block in re.split(r"\n\n+", path.read_text(encoding="utf-8")) if block)
    while rest and rest[0].startswith("```"):
        rest.pop(0)
    assert heading.startswith("# ")
    assert first.startswith("```")
    assert rest[0].startswith("| ")


def test_every_topic_is_on_the_map() -> None:
    listed = {target for target, _ in links(ROOT / "pipelines" / "README.md")}
    assert set(TOPICS) <= listed
