"""The table of stages agrees with folders, components, sections of a line, and what the stages log."""

import ast
import inspect
import re
import subprocess
import sys
from inspect import Parameter
from pathlib import Path

import pytest

import components
from components.settings import Settings
from components.stage.images import image
from pipelines.experiments.request import SECTIONS as EXPERIMENT_SECTIONS
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import SECTIONS, Line
from pipelines.lines.stages import STAGES, Stage

ROOT = Path(components.__file__).parent
SHELLS = sorted(ROOT.glob("*/component.py"))
ALL = [pytest.param(stage, id=name) for name, stage in STAGES.items()]
RUN = [pytest.param(stage, id=name) for name, stage in STAGES.items() if stage.run]


def test_table_and_components_are_the_same_stages() -> None:
    written = {
        (path.parent.name, node.name)
        for path in SHELLS
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }
    assert written == {(stage.folder or name, name) for name, stage in STAGES.items()}


@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.parent.name)
def test_stages_are_logged_under_their_names(path: Path) -> None:
    logged = re.findall(r'with stage\(f?"(\w+)', path.read_text(encoding="utf-8"))
    table = [name for name, stage in STAGES.items() if (stage.folder or name) == path.parent.name]
    assert logged == ([] if path.parent.name == "tabulation" else table)


@pytest.mark.parametrize("stage", ALL)
def test_component_has_the_image_the_settings_and_the_output(stage: Stage) -> None:
    spec = stage.component.component_spec
    assert stage.component.python_func.__name__ == stage.name
    assert spec.implementation.container.image == image(stage.family)
    assert set(stage.config.model_fields) <= set(spec.inputs)
    assert not stage.output or stage.output in spec.outputs
    assert stage.resources in Cluster.model_fields
    assert set(stage.wired) <= set(stage.config.model_fields)


@pytest.mark.parametrize("stage", RUN)
def test_library_function_takes_the_components_artifacts_in_front_of_its_output(stage: Stage) -> None:
    inputs = stage.component.component_spec.inputs
    parameters = [*inspect.signature(stage.function).parameters]
    artifacts = [name for name in parameters if name in inputs and name not in stage.config.model_fields]
    needed = [
        name for name in artifacts if inspect.signature(stage.function).parameters[name].default is Parameter.empty
    ]
    assert parameters[: len(needed)] == needed
    assert "config" in parameters


@pytest.mark.parametrize("stage", [*SECTIONS.values(), *EXPERIMENT_SECTIONS.values()], ids=lambda stage: stage.name)
def test_section_is_named_after_the_stage(stage: Stage) -> None:
    assert stage.config is not Settings
    assert stage.config.section == stage.name
    assert stage.name not in SECTIONS or Line.model_fields[stage.name].annotation is stage.config


def test_former_names_are_no_names_of_today() -> None:
    former = [stage.former for stage in STAGES.values() if stage.former]
    assert not {*former} & {*STAGES, *Line.model_fields, *Cluster.model_fields}


def test_table_needs_neither_torch_nor_kfp() -> None:
    code = "import sys, pipelines.lines.stages; print({'torch', 'kfp', 'numpy', 'mlflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
