"""The pretraining pipeline: one base model for many lines, out of their good images."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import Model

from components.errors import check
from components.pretraining.config import Config
from components.pretraining.publication import check_base_name
from components.storage.addresses import is_s3
from pipelines.dags.package import check_package, compile_package
from pipelines.dags.tasks import Tasks, with_parameters
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import Line, load_cluster
from pipelines.lines.stages import STAGES

PIPELINE_NAME = "vigil-pretraining"


class Outputs(NamedTuple):
    """What a run leaves."""

    generator: Model


def pretraining_pipeline(
    cluster: Cluster | None = None, label: str = "", defaults: Mapping[str, Any] | None = None
) -> Any:
    """The pretraining pipeline as a KFP graph component, for KFP's local runner where no cluster is given.

    Its parameters are those of the component, with other defaults where they are given; the label is the base model's
    name on the pod.
    """

    def pretraining(line: Any, **settings: Any) -> Outputs:
        """Train a base model for the generator on the good images of many lines."""
        stage = Tasks(line=line, cluster=cluster, label=label)
        return Outputs(generator=stage("pretraining", **settings))

    component = STAGES["pretraining"].component
    parameters = [
        found.replace(default=(defaults or {}).get(name, found.default))
        for name, found in inspect.signature(component.python_func).parameters.items()
        if name not in component.component_spec.outputs
    ]
    return dsl.pipeline(name=PIPELINE_NAME)(with_parameters(pretraining, parameters, Outputs))


def write_package(path: Path, name: str, config: Config, cluster_defaults: Path | None) -> None:
    """Compile the pipeline with its task settings, and a config as the defaults of its parameters.

    The name is the base model's in the weights manifest, its experiment and a label of the pod; the task takes the
    settings `vqgan` of a YAML of a line's section `cluster`.

    Raises:
        InputError: the path is no .yaml file in an existing folder, the name cannot be used, a cluster setting is
            wrong, or the config names a path of this machine or publishes nowhere.
    """
    check_package(path)
    check_base_name(name)
    for uri in (*config.sources, *(dataset["uri"] for dataset in config.datasets)):
        check(is_s3(uri), config.key("sources"), uri, "s3://BUCKET/PREFIX, which the tasks of a cluster can read")
    check(bool(config.publish), config.key("publish"), config.publish, "s3://BUCKET/PREFIX of the weights manifest")
    defaults = {**config.model_dump(mode="json"), "line": name}
    compile_package(path, pretraining_pipeline(load_cluster(cluster_defaults), name, defaults))


def datasets_of(lines: Sequence[Line]) -> tuple[dict[str, str], ...]:
    """The data sets of lines as `Config.datasets` has them, each once."""
    fields = ("uri", "layout", "test_fraction", "seed")
    found = dict.fromkeys(tuple(str(getattr(line.dataset, name)) for name in fields) for line in lines)
    return tuple(dict(zip(fields, values, strict=True)) for values in found)


pretraining = pretraining_pipeline()
