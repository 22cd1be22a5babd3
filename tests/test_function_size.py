"""Budget of function bodies: 8 lines in the median, 25 at the 90th percentile, 40 at most."""

import ast
import statistics
from pathlib import Path

import components
import pipelines


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def all_sizes() -> dict[str, int]:
    sizes = {}
    for package in (components, pipelines):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    sizes[f"{path}:{node.lineno} {node.name}"] = body_lines(node)
    return sizes


def test_functions_keep_to_the_budget() -> None:
    sizes = all_sizes()
    ordered = sorted(sizes.values())
    assert [name for name, size in sizes.items() if size > 40] == []
    assert statistics.median(ordered) <= 8
    assert ordered[int(0.9 * (len(ordered) - 1))] <= 25
