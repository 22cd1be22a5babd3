"""Components for pipelines of other people: each stage's compiled file, and the table of what they take and give.

`python -m pipelines.dags.reuse` (`make components`) writes `components/STAGE/component.yaml` and the table of
`components/README.md`. `VIGIL_IMAGE_REGISTRY` is in front of the images' names then.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import components
from pipelines.lines.stages import STAGES

REUSABLE = (
    *("dataset", "image_folder", "prompts", "augmentation", "vqgan", "vqgan_clip", "selection", "detection"),
    *("evaluation", "registration", "drift", "quality", "pretraining"),
)
"""Stages that need no run of VIGIL's own pipeline around them."""
ROOT = Path(components.__file__).parent
README = ROOT / "README.md"
_TABLE = re.compile(r"(?<=<!-- components -->\n).*(?=<!-- end -->)", re.DOTALL)
_SHOWN_INPUTS = 12


def component_files() -> Mapping[Path, str]:
    """Path and content of each component's file; equal code gives equal bytes."""
    return {_path(name): _compiled(STAGES[name].component) for name in REUSABLE}


def with_table(text: str) -> str:
    """The README's text with the table of today."""
    rows = ["| component | settings and inputs | outputs |", "|---|---|---|"]
    for name in REUSABLE:
        spec = STAGES[name].component.component_spec
        inputs = [f"`{key}` ({_kind(item)})" for key, item in (spec.inputs or {}).items() if not _has_default(item)]
        defaults = [f"`{key}`" for key, item in (spec.inputs or {}).items() if _has_default(item)]
        more = f", … {len(defaults) - _SHOWN_INPUTS} more" if len(defaults) > _SHOWN_INPUTS else ""
        listed = f"; with defaults {', '.join(defaults[:_SHOWN_INPUTS])}{more}" if defaults else ""
        outputs = [f"`{key}` ({_kind(item)})" for key, item in (spec.outputs or {}).items()]
        link = f"[{name}]({_path(name).relative_to(ROOT).as_posix()})"
        rows.append(f"| {link} | {', '.join(inputs)}{listed} | {', '.join(outputs)} |")
    table = "\n".join(rows) + "\n"
    return _TABLE.sub(lambda _: table, text)


def write_components() -> None:
    """Write all files, and the README's table."""
    for path, text in component_files().items():
        path.write_text(text, encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


def _path(name: str) -> Path:
    """A component's file in its stage's folder; one of a folder's several has its own name."""
    folder = STAGES[name].folder or name
    return ROOT / folder / ("component.yaml" if folder == name else f"{name}.yaml")


def _compiled(component: Any) -> str:
    from kfp import compiler

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "component.yaml"
        compiler.Compiler().compile(component, str(path))
        return path.read_text(encoding="utf-8")


def _kind(item: Any) -> str:
    kind = str(item.type).removeprefix("system.").partition("@")[0]
    return f"list of {kind}" if getattr(item, "is_artifact_list", False) else kind


def _has_default(item: Any) -> bool:
    return bool(getattr(item, "optional", False))


if __name__ == "__main__":
    write_components()
