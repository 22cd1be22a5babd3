"""Tests of the stages' KFP shells: thin, and with the parameters and defaults of their configs."""

import ast
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

import components
from components.augmentation.component import augmentation
from components.augmentation.config import Config as AugmentationConfig
from components.dataset.component import dataset, fingerprint, image_folder
from components.dataset.config import Config as IngestionConfig
from components.dataset.config import FolderConfig
from components.defect_synthesis.component import defect_synthesis
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.detection.component import detection
from components.detectors.config import Config as DetectionConfig
from components.drift.component import drift
from components.drift.config import Config as DriftConfig
from components.evaluation.component import evaluation
from components.evaluation.config import Config as EvaluationConfig
from components.pretraining.component import pretraining
from components.pretraining.config import Config as PretrainingConfig
from components.prompts.component import prompts
from components.prompts.config import Config as PromptsConfig
from components.quality.component import quality
from components.quality.config import Config as QualityConfig
from components.registration.component import registration
from components.registration.config import Config as RegistrationConfig
from components.reporting.component import conclusion, reporting
from components.selection.component import selection
from components.selection.config import Config as SelectionConfig
from components.stage.images import Family, image
from components.tabulation.component import draw_page, gather_cells, merge_results
from components.vqgan.component import vqgan
from components.vqgan.config import Config as GeneratorConfig
from components.vqgan_clip.component import vqgan_clip
from components.vqgan_clip.config import Config as TextGuidedConfig

ROOT = Path(components.__file__).parent
SHELLS = sorted(ROOT.glob("*/component.py"))
PLAIN = {str, int, float, bool, list[str], list[int], list[dict[str, str]]}
MAX_STATEMENTS = 10

CONFIGS = [
    pytest.param(dataset, IngestionConfig, {"dataset_digest"}, id="dataset"),
    pytest.param(image_folder, FolderConfig, {"dataset_digest"}, id="image_folder"),
    pytest.param(defect_synthesis, DefectSynthesisConfig, set(), id="defect_synthesis"),
    pytest.param(prompts, PromptsConfig, set(), id="prompts"),
    pytest.param(augmentation, AugmentationConfig, set(), id="augmentation"),
    pytest.param(vqgan, GeneratorConfig, set(), id="vqgan"),
    pytest.param(pretraining, PretrainingConfig, set(), id="pretraining"),
    pytest.param(vqgan_clip, TextGuidedConfig, set(), id="vqgan_clip"),
    pytest.param(selection, SelectionConfig, set(), id="selection"),
    pytest.param(detection, DetectionConfig, set(), id="detection"),
    pytest.param(evaluation, EvaluationConfig, set(), id="evaluation"),
    pytest.param(registration, RegistrationConfig, set(), id="registration"),
    pytest.param(drift, DriftConfig, {"images", "detector"}, id="drift"),
    pytest.param(quality, QualityConfig, set(), id="quality"),
]
FAMILIES: dict[Any, Family] = {
    fingerprint: "generation",
    dataset: "generation",
    image_folder: "generation",
    defect_synthesis: "detection",
    prompts: "generation",
    augmentation: "generation",
    vqgan: "generation",
    pretraining: "generation",
    vqgan_clip: "generation",
    selection: "generation",
    detection: "detection",
    evaluation: "detection",
    registration: "detection",
    reporting: "detection",
    conclusion: "detection",
    drift: "detection",
    gather_cells: "detection",
    merge_results: "detection",
    draw_page: "detection",
    quality: "generation",
}


def plain_parameters(component: Any) -> dict[str, inspect.Parameter]:
    """Parameters that are no artifacts, without the line's name."""
    parameters = inspect.signature(component.python_func).parameters
    return {name: found for name, found in parameters.items() if found.annotation in PLAIN and name != "line"}


def component_functions(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            yield node


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def count_statements(function: ast.FunctionDef) -> int:
    """Statements of the body at any depth, without the docstring."""
    return sum(isinstance(node, ast.stmt) for statement in function.body[1:] for node in ast.walk(statement))


def config_default(field: FieldInfo) -> Any:
    """Default of a config's field, as a component's signature states it."""
    if field.is_required():
        return inspect.Parameter.empty
    return list(field.default) if isinstance(field.default, tuple) else field.default


@pytest.mark.parametrize(("component", "config", "wired"), CONFIGS)
def test_parameters_and_defaults_are_those_of_the_config(component: Any, config: Any, wired: set[str]) -> None:
    found = {name: parameter.default for name, parameter in plain_parameters(component).items() if name not in wired}
    assert found == {name: config_default(field) for name, field in config.model_fields.items()}


@pytest.mark.parametrize(("component", "config", "wired"), CONFIGS)
def test_wired_parameters_have_no_default(component: Any, config: Any, wired: set[str]) -> None:
    for name in wired:
        assert plain_parameters(component)[name].default is inspect.Parameter.empty


@pytest.mark.parametrize("component", FAMILIES)
def test_default_has_the_annotated_type(component: Any) -> None:
    for name, parameter in plain_parameters(component).items():
        kind = typing.get_origin(parameter.annotation) or parameter.annotation
        assert parameter.default is inspect.Parameter.empty or type(parameter.default) is kind, name


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (fingerprint, {"uri", "layout", "settings"}),
        (reporting, {"settings"}),
        (conclusion, {"settings", "dataset_uri", "dataset_digest"}),
    ],
)
def test_components_without_a_config(component: Any, expected: set[str]) -> None:
    parameters = plain_parameters(component)
    assert set(parameters) == expected
    assert all(parameter.default is inspect.Parameter.empty for parameter in parameters.values())


@pytest.mark.parametrize("component", FAMILIES)
def test_every_parameter_is_described(component: Any) -> None:
    docstring = inspect.getdoc(component.python_func) or ""
    for name in inspect.signature(component.python_func).parameters:
        assert f"\n    {name}: " in docstring, name


@pytest.mark.parametrize(("component", "family"), FAMILIES.items())
def test_base_image_is_that_of_the_family(component: Any, family: Family) -> None:
    assert component.component_spec.implementation.container.image == image(family)
    assert image(family).endswith(f":{components.__version__}")


def test_every_component_is_tested() -> None:
    written = {function.name for path in SHELLS for function in component_functions(path)}
    assert written == {component.python_func.__name__ for component in FAMILIES}


@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.parent.name)
def test_shell_is_thin(path: Path) -> None:
    for function in component_functions(path):
        assert count_statements(function) <= MAX_STATEMENTS, function.name


@pytest.mark.parametrize("path", SHELLS, ids=lambda path: path.parent.name)
def test_shell_keeps_its_annotations(path: Path) -> None:
    assert "__future__" not in imported_packages(path)


def test_only_shells_import_kfp() -> None:
    importers = {path for path in ROOT.rglob("*.py") if "kfp" in imported_packages(path)}
    assert importers == set(SHELLS)
