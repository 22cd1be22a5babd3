"""The drift pipeline: one task, for a schedule, that compares a line's new good images with what its champion knew."""

from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset

from components.drift.config import Config
from components.errors import check
from components.registry.promotion import CHAMPION
from components.storage.addresses import is_s3
from pipelines.dags.package import check_package, compile_package
from pipelines.dags.tasks import Tasks
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import Line

PIPELINE_NAME = "vigil-drift"


class Outputs(NamedTuple):
    """What a run leaves."""

    drift: Dataset
    html: HTML


def drift_pipeline(line: str, images: str, detector: str, config: Config, cluster: Cluster | None = None) -> Any:
    """The drift pipeline as a KFP graph component, for a cluster, or without one for KFP's local runner.

    Its parameters have the arguments as defaults; of the config, a run may change the limits.
    """
    label = line if cluster else ""
    fixed = config.model_dump(exclude={"alpha", "min_shift", "max_false_alarm_rate"})

    def drift(
        line: str = line,
        images: str = images,
        detector: str = detector,
        alpha: float = config.alpha,
        min_shift: float = config.min_shift,
        max_false_alarm_rate: float = config.max_false_alarm_rate,
    ) -> Outputs:
        """Compare new good images of a line with those that its detector was trained and tested with."""
        measured = Tasks(line=line, cluster=cluster, label=label).task(
            "drift",
            images=images,
            detector=detector,
            alpha=alpha,
            min_shift=min_shift,
            max_false_alarm_rate=max_false_alarm_rate,
            **fixed,
        )
        return Outputs(drift=measured.outputs["drift"], html=measured.outputs["html"])

    return dsl.pipeline(name=PIPELINE_NAME)(drift)


def write_package(path: Path, line: Line, images: str, detector: str, config: Config) -> None:
    """Compile the drift pipeline of a line with its task settings into a .yaml file of an existing folder.

    The new images are `s3://BUCKET/PREFIX`, the detector is `champion` or such a prefix; all else raises `InputError`.
    """
    check_package(path)
    check(is_s3(images), "images", images, "s3://BUCKET/PREFIX, which the tasks of a cluster can read")
    known = detector == CHAMPION or is_s3(detector)
    check(known, "detector", detector, "champion or s3://BUCKET/PREFIX, which the tasks of a cluster can read")
    compile_package(path, drift_pipeline(line.name, images, detector, config, line.cluster))
