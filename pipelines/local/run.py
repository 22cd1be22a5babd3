"""Runs a line's pipeline on this machine by KFP's local runners, without a cluster."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from components.artifacts import RECORDS
from components.errors import InputError
from components.generator.checkpoint import CHECKPOINTS
from components.stage.resources import AT_ONCE
from components.stage.run import INPUT_ERROR
from components.tracking.events import KFP_MLFLOW_RUN, RUN_ID, SPOOL, TRACKING_URI
from components.tracking.spool import published, record_end
from pipelines.lines.line import Line
from pipelines.local.console import StageFailed, StageLog
from pipelines.local.processes import own_processes
from pipelines.local.warm import warm_tasks
from pipelines.local.workdir import FINISHED, Workdir, open_workdir

logger = logging.getLogger(__name__)

Runner = Literal["subprocess", "docker"]
"""Where the stages run: in processes of this environment, or in containers of the images."""

_LOG_LINES = 60
_LOOP_TASKS = 2
"""Iterations of a loop that KFP's local runner has at once: `conservative_max` of its `ParallelExecutor`."""


class StageError(RuntimeError):
    """A stage failed for another reason than bad input; the message names it."""


class StageCrashedError(StageError):
    """A stage's process ended without an error message."""

    def __init__(self, task: str, log: Path) -> None:
        """Name the task, and keep the end of the log."""
        super().__init__(f"task {task} crashed, perhaps out of memory; see {log}")
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        self.record = {"stage": task, "message": "crashed", "log": "".join(lines[-_LOG_LINES:])}


class LineRefusedError(InputError):
    """The check in front of a run refused the line."""

    @property
    def record(self) -> dict[str, str]:
        """What is recorded of the run, as of a stage that failed."""
        return {"stage": "check", "message": str(self), "log": str(self)}


def run_line(
    line: Line, workdir: Path, runner: Runner = "subprocess", before: Callable[[Line], None] = lambda _: None
) -> tuple[Workdir, str]:
    """Run the pipeline of a line, and return the folder with the results, and MLflow's address.

    Stages that an earlier run in the folder finished, by either runner, are reused. `before` may refuse the line, which
    ends the run as a stage that rejects its input does. Raises `InputError` where a
    stage rejects its input, `StageError` where it fails otherwise; after an interruption, its processes have ended.
    """
    with open_workdir(workdir, line.name) as folder, _environment(folder) as tracking_uri:
        os.environ[AT_ONCE] = f"detection={min(_LOOP_TASKS, len(line.arguments()['trials']))}"
        run_id = folder.begin(line.name)
        os.environ[RUN_ID] = run_id
        with _recorded(line.name, run_id, folder):
            try:
                before(line)
            except InputError as error:
                raise LineRefusedError(*error.args) from error
            outputs = _execute(line, folder, runner)
        folder.publish(Path(outputs["report"].path), folder.report)
        folder.publish(Path(outputs["predictions"].path) / RECORDS, folder.metrics)
        return folder, tracking_uri


@contextlib.contextmanager
def _environment(folder: Workdir) -> Iterator[str]:
    """Set what the tasks inherit, yield MLflow's address, and restore the environment."""
    before = dict(os.environ)
    tracking_uri = os.environ.setdefault(TRACKING_URI, folder.tracking_uri)
    os.environ.setdefault(CHECKPOINTS, str(folder.checkpoints))
    os.environ |= {SPOOL: str(folder.spool), "PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false"}
    os.environ.pop(KFP_MLFLOW_RUN, None)  # a shell's own run would be taken for every stage's
    try:
        yield tracking_uri
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _recorded(line: str, run_id: str, folder: Workdir) -> Iterator[None]:
    """Record how the block ended, in the folder and in MLflow; the block's own error is the one that is raised."""
    status, failure = "FAILED", None
    with published(folder.spool) as publish:
        try:
            yield
            status = FINISHED
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except (StageCrashedError, LineRefusedError) as error:
            failure = error.record
            raise
        finally:
            with contextlib.suppress(OSError):
                folder.set_status(line, run_id, status)
            try:
                record_end(line, status, failure)
                if not publish():
                    lacking = "what MLflow lacks is kept in %s for the next run of this folder"
                    logger.warning(lacking, os.environ[SPOOL])
            except Exception as error:  # noqa: BLE001 (no error of MLflow replaces the run's own result)
                logger.warning("the run's end is not recorded in MLflow (%s: %s)", type(error).__name__, error)


def _execute(line: Line, folder: Workdir, runner: Runner) -> dict[str, Any]:
    """Run the compiled package and return its output artifacts by name."""
    from kfp import compiler, components, local

    from pipelines.dags.training import training

    compiler.Compiler().compile(training, str(folder.package))
    pipeline = components.load_component_from_file(str(folder.package))
    log = StageLog(folder.log)
    with contextlib.closing(log), _tasks(runner, line, folder, log) as tasks:
        local.init(tasks, pipeline_root=str(folder.artifacts), enable_caching=True)
        with contextlib.redirect_stdout(log), warnings.catch_warnings(action="ignore"):
            try:
                outputs = dict(pipeline(**line.arguments()).outputs)
                log.require_success()
            except (StageFailed, RuntimeError) as error:
                if log.failure is None:
                    raise StageCrashedError(log.failed_task, folder.log) from error
                stage, kind, message = log.failure
                if kind == INPUT_ERROR:
                    raise InputError(message) from error
                raise StageError(f"stage {stage} failed: {message}; see {folder.log}") from error
    return outputs


@contextlib.contextmanager
def _tasks(runner: Runner, line: Line, folder: Workdir, log: StageLog) -> Iterator[Any]:
    """Yield KFP's `DockerRunner` or `SubprocessRunner`; what it started has ended after the block."""
    if runner == "docker":
        from pipelines.local.containers import docker_runner, run_containers

        with docker_runner(line, folder) as tasks, own_processes(), run_containers(os.environ[RUN_ID]) as failed:
            log.watch(failed)
            yield tasks
        return
    from kfp.local import SubprocessRunner

    with warm_tasks(), own_processes():  # tasks end before the process that they are children of
        yield SubprocessRunner(use_venv=False)
