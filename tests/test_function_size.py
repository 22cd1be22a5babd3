"""Ceiling of function bodies: 40 lines without the docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

import components
import images
import pipelines

CEILING = 40


def sizes() -> Iterator[tuple[str, int]]:
    """Place and number of body lines of every function."""
    for package in (components, pipelines, images):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    body = node.body[1:] if ast.get_docstring(node) else node.body
                    lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                    yield f"{path}:{node.lineno} {node.name}", lines


def test_no_function_is_over_the_ceiling() -> None:
    assert [name for name, lines in sizes() if lines > CEILING] == []
