"""The pretraining pipeline: one base model for many lines, out of their good images."""

import inspect
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import Model

from components.vqgan.component import pretrain

PIPELINE_NAME = "vigil-pretraining"


class Outputs(NamedTuple):
    """What a run leaves."""

    generator: Model


def _pretraining(*channels: Any) -> Outputs:
    """Train a base model for the generator on the good images of many lines."""
    values = dict(zip(SIGNATURE.parameters, channels, strict=True))
    # The images behind the same addresses may have changed, and a finished run is published once.
    trained = pretrain(**values).set_caching_options(False)
    return Outputs(generator=trained.outputs["generator"])


def _signature() -> inspect.Signature:
    """The component's own plain parameters."""
    parameters = inspect.signature(pretrain.python_func).parameters
    plain = [found for found in parameters.values() if found.name not in ("generator", "metrics")]
    kept = [found.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for found in plain]
    return inspect.Signature(kept, return_annotation=Outputs)


SIGNATURE = _signature()
_pretraining.__signature__ = SIGNATURE  # type: ignore[attr-defined]
pretraining = dsl.pipeline(name=PIPELINE_NAME)(_pretraining)
