"""A run whose test split has good images only, or none: what is not measured is null, and proxies are used and named."""

import json
from pathlib import Path

import pytest

from components.artifacts import CHOICE, CONFIG, RECORDS, ImageSet, read_json, write_json
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.defect_synthesis.synthesise import synthesise_defects
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.metrics.records import read_records
from components.registration.config import Config
from components.registration.register import register_best
from components.reporting.report import given_against_held_out
from components.reporting.sources import Sources, precision_recall_curves, roc_curves, synthetic_defects, worst_errors
from components.tracking.run import StageRun, Task
from tests.components.image_sets import write_reference
from tests.components.validations import write_validation
