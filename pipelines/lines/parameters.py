"""The parameters of the training pipeline, derived from the stages' configs: one table for the DAG and the lines."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from components.augmentation import config as augmentation
from components.dataset import config as ingestion
from components.detectors import config as detectors
from components.evaluation import config as evaluation
from components.networks.embedding import CONSE
from components.prompts import config as prompts
from components.registration import config as registration
from components.selection import config as selection
from components.settings import SHARED, Settings
from components.vqgan import config as vqgan


@dataclass(frozen=True, kw_only=True)
class Section:
    """A section of a line's YAML, and the prefix of its pipeline parameters."""

    config: type[Settings]
    """The stage's config class."""
    wired: tuple[str, ...] = ()
    """Fields that the pipeline itself sets."""

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields that a line may set in this section."""
        fixed = (*SHARED, *self.wired)
        return {name: field for name, field in self.config.model_fields.items() if name not in fixed}


SECTIONS: Mapping[str, Section] = {
    "dataset": Section(config=ingestion.Config),
    "prompts": Section(config=prompts.Config),
    "augmentation": Section(config=augmentation.Config),
    "generator": Section(config=vqgan.Config),
    "selection": Section(config=selection.Config),
    "detection": Section(config=detectors.Config, wired=("detector", "training_set")),
    "evaluation": Section(config=evaluation.Config),
    "gate": Section(config=registration.Config),
}

_REQUIRED = {"line": str, "object": str, "trials": list[dict[str, str]], "settings": str, "dataset_uri": str}
_SHARED_DEFAULTS = {"seed": 0, "embedder": CONSE, "embedder_weights": ""}


def pipeline_signature(outputs: type) -> inspect.Signature:
    """Signature of the pipeline function: what a line must give, what stages share, and every section's fields."""
    parameters = [_parameter(name, kind, inspect.Parameter.empty) for name, kind in _REQUIRED.items()]
    parameters += [_parameter(name, type(default), default) for name, default in _SHARED_DEFAULTS.items()]
    for prefix, section in SECTIONS.items():
        for name, field in section.fields.items():
            if f"{prefix}_{name}" not in _REQUIRED:
                parameters.append(_parameter(f"{prefix}_{name}", *_literal(field.default)))
    return inspect.Signature(parameters, return_annotation=outputs)


def stage_arguments(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the stage of a section, by the stage's own names, out of the pipeline's parameters."""
    section = SECTIONS[prefix]
    names = [name for name in section.config.model_fields if name not in section.wired]
    return {name: values[name if name in SHARED else f"{prefix}_{name}"] for name in names}


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind)


def _literal(default: Any) -> tuple[Any, Any]:
    """Type and default as KFP wants them: a tuple is a list there."""
    return (list[str], list(default)) if isinstance(default, tuple) else (type(default), default)
