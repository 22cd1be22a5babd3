"""The pretraining pipeline: one base model for many lines, out of their good images."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import Model

from components.errors import check
from components.pretraining.component import pretraining as pretrain
from components.pretraining.config import PretrainConfig
from components.pretraining.publication import check_base_name
from components.storage.s3 import is_s3
from pipelines.dags.package import check_package
from pipelines.dags.training import Settle, leave
from pipelines.lines.line import Line, load_cluster
from pipelines.lines.task_settings import LOOP, apply_settings

PIPELINE_NAME = "vigil-pretraining"


class Outputs(NamedTuple):
    """What a run leaves."""

    generator: Model


def pretraining_pipeline(settle: Settle = leave, defaults: Mapping[str, Any] | None = None) -> Any:
    """The pretraining pipeline as a KFP graph component; its parameters are those of the component.

    Args:
        settle: called with the task and the name of its stage; writes task settings.
        defaults: values of parameters that a run leaves out, in place of the component's.
    """
    signature = _signature(defaults or {})

    def _pretraining(*channels: Any) -> Outputs:
        """Train a base model for the generator on the good images of many lines."""
        values = dict(zip(signature.parameters, channels, strict=True))
        # The images behind the same addresses may have changed, and a finished run is published once.
        trained = pretrain(**values).set_caching_options(False)
        settle(trained, LOOP)
        return Outputs(generator=trained.outputs["generator"])

    _pretraining.__signature__ = signature  # type: ignore[attr-defined]
    return dsl.pipeline(name=PIPELINE_NAME)(_pretraining)


def write_package(path: Path, name: str, config: PretrainConfig, cluster_defaults: Path | None) -> None:
    """Compile the pipeline with its task settings, and a config as the defaults of its parameters.

    Args:
        path: package to write, .yaml.
        name: the base model's in the weights manifest; its experiment, and a label of the pod.
        config: settings.
        cluster_defaults: YAML of a line's section `cluster`, whose `generator` the task takes.

    Raises:
        InputError: the path is no .yaml file in an existing folder, the name cannot be used, a cluster setting is
            wrong, or the config names a path of this machine or publishes nowhere.
    """
    from kfp import compiler

    check_package(path)
    check_base_name(name)
    _check_for_cluster(config)
    cluster = load_cluster(cluster_defaults)
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in config.model_dump().items()}
    pipeline = pretraining_pipeline(
        lambda task, stage: apply_settings(task, stage, cluster, name), {**values, "line": name}
    )
    compiler.Compiler().compile(pipeline, str(path))


def datasets_of(lines: Sequence[Line]) -> tuple[dict[str, str], ...]:
    """The data sets of lines as `PretrainConfig.datasets` has them, each once."""
    found = []
    for line in lines:
        dataset = line.configs["dataset"]
        place = {"uri": dataset.uri, "layout": dataset.layout}
        found.append(place | {"test_fraction": str(dataset.test_fraction), "seed": str(dataset.seed)})
    return tuple(dict(items) for items in dict.fromkeys(tuple(dataset.items()) for dataset in found))


def _check_for_cluster(config: PretrainConfig) -> None:
    expected = "s3://BUCKET/PREFIX, which the tasks of a cluster can read"
    for uri in (*config.sources, *(dataset["uri"] for dataset in config.datasets)):
        check(is_s3(uri), "pretraining.sources", uri, expected)
    check(bool(config.publish), "pretraining.publish", config.publish, "s3://BUCKET/PREFIX of the weights manifest")


def _signature(defaults: Mapping[str, Any]) -> inspect.Signature:
    """The component's own plain parameters."""
    parameters = inspect.signature(pretrain.python_func).parameters
    plain = [found for found in parameters.values() if found.name not in ("generator", "metrics")]
    kept = [
        found.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD, default=defaults.get(found.name, found.default))
        for found in plain
    ]
    return inspect.Signature(kept, return_annotation=Outputs)


pretraining = pretraining_pipeline()
