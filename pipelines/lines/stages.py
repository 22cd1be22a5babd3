"""The stages: one table, from which sections of a line, tasks of the pipelines and nodes of experiments are derived."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from components.augmentation.config import Config as AugmentationConfig
from components.dataset.config import Config as DatasetConfig
from components.dataset.config import FolderConfig
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.detectors.config import Config as DetectionConfig
from components.drift.config import Config as DriftConfig
from components.errors import check
from components.evaluation.config import Config as EvaluationConfig
from components.pretraining.config import Config as PretrainingConfig
from components.prompts.config import Config as PromptsConfig
from components.quality.config import Config as QualityConfig
from components.registration.config import Config as RegistrationConfig
from components.selection.config import Config as SelectionConfig
from components.settings import SHARED, Settings
from components.stage.images import Family
from components.vqgan.config import Config as VqganConfig
from components.vqgan_clip.config import Config as VqganClipConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Stage:
    """One stage. Its name is that of its component, its log, its MLflow run and its pod's label."""

    name: str
    family: Family
    """Dependency family of the image that it runs in."""
    config: type[Settings] = Settings
    """Its settings, where a pipeline gives them; its section of a line's YAML has the stage's name."""
    run: str = ""
    """Library function that does its work without KFP, as `MODULE.FUNCTION` below the folder. It takes the paths of its
    input artifacts, under their names, then the path of its output and the config."""
    output: str = ""
    """Artifact that later tasks take."""
    folder: str = ""
    """Folder below `components`, where it is not the name."""
    resources: Literal["task", "vqgan", "detection"] = "task"
    """Key of a line's section `cluster` that says what its tasks ask of a node."""
    wired: tuple[str, ...] = ()
    """Settings that the pipeline gives, and no line."""
    cached: bool = True
    """Whether KFP may reuse a task of the same inputs: not where data behind an address may have changed, and not where
    each run must end."""
    own_run: bool = False
    """Whether its record in MLflow is a run by itself, and no part of a pipeline run."""
    former: str = ""
    """Name of its section in the version before; read with a warning."""

    @property
    def component(self) -> Any:
        """The KFP component; imports kfp."""
        return getattr(import_module(f"components.{self.folder or self.name}.component"), self.name)

    @property
    def function(self) -> Any:
        """The library function `run`; may import torch."""
        module, _, name = self.run.rpartition(".")
        return getattr(import_module(f"components.{self.folder or self.name}.{module}"), name)

    @property
    def fields(self) -> tuple[str, ...]:
        """Settings that a line may give in this stage's section."""
        return tuple(name for name in self.config.model_fields if name not in (*SHARED, *self.wired))

    def parameter(self, field: str) -> str:
        """Name of the training pipeline's parameter of a setting."""
        return field if field in SHARED else f"{self.name}_{field}"


TRIAL = ("detector", "training_set")
"""Settings in which the trials of a run differ."""
_TABLE = (
    Stage("fingerprint", "generation", folder="dataset", output="Output", cached=False),
    Stage("dataset", "generation", DatasetConfig, "ingest.ingest_dataset", "reference"),
    Stage("image_folder", "generation", FolderConfig, "ingest.import_images", "images", folder="dataset"),
    Stage("defect_synthesis", "detection", DefectSynthesisConfig, "synthesise.synthesise_defects", "synthetic"),
    Stage("prompts", "generation", PromptsConfig, "generate.generate_prompts", "prompts"),
    Stage("augmentation", "generation", AugmentationConfig, "augment.augment_images", "augmented"),
    Stage(
        "vqgan", "generation", VqganConfig, "fine_tune.fine_tune", "candidates", resources="vqgan", former="generator"
    ),
    Stage("selection", "generation", SelectionConfig, "integrate.select_images", "selected"),
    Stage(
        "detection", "detection", DetectionConfig, "train.train_detector", "trained", resources="detection", wired=TRIAL
    ),
    Stage("evaluation", "detection", EvaluationConfig, "evaluate.evaluate_detectors", "predictions"),
    Stage("registration", "detection", RegistrationConfig, output="best", former="gate"),
    Stage("reporting", "detection", output="html"),
    Stage("conclusion", "detection", folder="reporting", cached=False),
    Stage("pretraining", "generation", PretrainingConfig, output="generator", resources="vqgan", cached=False),
    Stage(
        "vqgan_clip",
        "generation",
        VqganClipConfig,
        "generate.generate_from_text",
        "selected",
        resources="vqgan",
        wired=("prompt", "architecture", "weights", "codebook_size"),
        former="text_guided",
    ),
    Stage("quality", "generation", QualityConfig, "measure.measure_quality", "quality"),
    Stage("gather_cells", "detection", folder="tabulation", output="results"),
    Stage("merge_results", "detection", folder="tabulation", output="results"),
    Stage("draw_page", "detection", folder="tabulation", output="page"),
    Stage("drift", "detection", DriftConfig, output="drift", cached=False, own_run=True),
)
STAGES: Mapping[str, Stage] = {stage.name: stage for stage in _TABLE}
"""All stages by name."""


def with_new_keys(content: Any, prefix: str = "") -> Any:
    """Content of YAML or of options, with stages under their names in place of those of the version before.

    The prefix is in front of the keys in messages. Raises `InputError` where a stage has both its names.
    """
    found = {str(key): value for key, value in content.items()} if isinstance(content, Mapping) else content
    for stage in STAGES.values():
        if stage.former and isinstance(found, dict) and stage.former in found:
            old, new = f"{prefix}{stage.former}", f"{prefix}{stage.name}"
            value = found.pop(stage.former)
            check(stage.name not in found, old, value, f"{new} alone, the name of today")
            logger.warning("%s: now named %s; the old name is read for this version only", old, new)
            found[stage.name] = value
    return found
