"""How a pipeline makes its tasks: a stage's component with its settings, the line's name and the task settings."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.dags.task_settings import apply_settings
from pipelines.lines.cluster import Cluster
from pipelines.lines.stages import STAGES


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """Makes the tasks of one pipeline."""

    line: Any
    """Name of the line, or the pipeline's parameter that holds it."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """The training pipeline's parameters, out of which a stage gets its settings."""
    cluster: Cluster | None = None
    """Task settings; none for KFP's local runner."""
    label: str = ""
    """Name of the line on the pods; empty in a package that serves all lines."""

    @property
    def parallelism(self) -> int | None:
        """How many iterations of a loop run at once; none for all."""
        return self.cluster.parallelism if self.cluster else None

    def __call__(self, name: str, **inputs: Any) -> Any:
        """Make the task of a stage, and return its artifact that later tasks take; nothing where it has none.

        The inputs are artifacts and values; what is missing of the stage's settings is taken from the parameters.
        """
        output = STAGES[name].output
        task = self.task(name, **inputs)
        return task.outputs[output] if output else None

    def task(self, name: str, **inputs: Any) -> Any:
        """As a call, but returns the task itself, for a stage with several outputs that others take."""
        stage = STAGES[name]
        settings = {
            name: self.parameters[stage.parameter(name)]
            for name in stage.config.model_fields
            if stage.parameter(name) in self.parameters and name not in inputs
        }
        task = stage.component(line=self.line, **inputs, **settings)
        if not stage.cached:
            task.set_caching_options(False)
        if self.cluster is not None:
            apply_settings(task, stage, self.cluster, self.label)
        return task


def parameter(name: str, default: Any = inspect.Parameter.empty, kind: Any = None) -> inspect.Parameter:
    """Parameter of a pipeline; without a type, that of its default. A tuple is a list of texts in KFP."""
    if isinstance(default, tuple):
        kind, default = kind or list[str], list(default)
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind or type(default)
    )


def with_parameters(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], outputs: type
) -> Callable[..., Any]:
    """A pipeline function with parameters that are computed.

    KFP reads a pipeline's parameters off its function's signature and calls it by position; it has no other way to
    declare them. The settings of all stages are about eighty, so their signature is derived from the configs. The
    function takes the parameters by keyword; the outputs are a `NamedTuple`.
    """

    def pipeline(*values: Any) -> Any:
        return function(**dict(zip(signature.parameters, values, strict=True)))

    signature = inspect.Signature(parameters, return_annotation=outputs)
    pipeline.__signature__ = signature  # type: ignore[attr-defined]
    pipeline.__doc__ = function.__doc__
    return pipeline
