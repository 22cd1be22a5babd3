"""What a stage records, as events that a file can hold."""

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from components.artifacts import replacing
from components.errors import check

logger = logging.getLogger(__name__)

RUN_ID = "VIGIL_RUN_ID"
SPOOL = "VIGIL_TRACKING_SPOOL"
TRACKING_URI = "MLFLOW_TRACKING_URI"
KFP_MLFLOW_RUN = "MLFLOW_RUN_ID"
"""Set by KFP's own MLflow integration: the run that it has made for the task."""
RUN_ID_TAG = "vigil.run_id"
STAGE_TAG = "vigil.stage"
PARENT_TAG = "mlflow.parentRunId"
CACHED_TAG = "vigil.cached"
PIPELINE = "pipeline"
FINGERPRINT = "fingerprint"
"""The first stage of every attempt at a pipeline run."""

KINDS = ("start", "params", "metrics", "tags", "file", "dataset", "cached", "failure", "end", "close", "sweep")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Which run events belong to."""

    line: str
    """Name of the production line, and of the experiment."""
    run_id: str
    """Pipeline run; empty where the stage runs by itself and its run has no parent."""
    stage: str
    """With what is particular to one of several tasks, such as `detection patchcore/none`."""
    mlflow_run_id: str = ""
    """Run that KFP's own MLflow integration has made for the task; empty without it."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing to record; JSON-serialisable."""

    kind: str
    values: Mapping[str, Any]
    parent: bool = False
    """Whether it belongs to the pipeline run."""
    time: int = field(default_factory=lambda: int(time.time() * 1000))
    """Milliseconds since the epoch."""

    def __post_init__(self) -> None:
        """Raise `InputError` for an unknown kind."""
        check(self.kind in KINDS, "kind", self.kind, f"one of {', '.join(KINDS)}")


Recorded: TypeAlias = tuple[Task, Event]


def current_task(line: str, stage: str) -> Task:
    """The stage that this process runs, by its environment."""
    run_id, mlflow_run_id = (os.environ.get(name, "") for name in (RUN_ID, KFP_MLFLOW_RUN))
    return Task(line=line, run_id=run_id, stage=stage, mlflow_run_id=mlflow_run_id)


class EventFile:
    """Reads the events of a file while it grows."""

    def __init__(self, path: Path) -> None:
        """Begin at its first line."""
        self._path = path
        self._read = 0

    def new_events(self) -> list[Recorded]:
        """Events of the lines that were completed since the last call; a damaged line is reported and lost."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            *lines, rest = file.read().split(b"\n")
            self._read = file.tell() - len(rest)
        events = []
        for line in lines:
            try:
                content = json.loads(line)
                events.append((Task(**content["task"]), Event(**content["event"])))
            except (ValueError, KeyError, TypeError):
                logger.warning("%s: a damaged line is not recorded in MLflow", self._path.name)
        return events


def read_events(path: Path) -> list[Recorded]:
    """Events of a file, but for a last line that a killed process left incomplete."""
    return EventFile(path).new_events()


def write_events(path: Path, events: Sequence[Recorded]) -> None:
    """Write a file that `read_events` reads, complete or not at all."""
    with replacing(path) as partial:
        partial.write_text("".join(event_line(task, event) for task, event in events), encoding="utf-8")


def keep_events(path: Path, events: Sequence[Recorded]) -> None:
    """Write events that could not be sent; a full disk loses them, not the stage."""
    try:
        write_events(path, events)
    except OSError as error:
        logger.warning("%s: what MLflow lacks could not be kept (%s)", path.name, error)


def event_line(task: Task, event: Event) -> str:
    """One event as a line of a file."""
    return json.dumps({"task": asdict(task), "event": asdict(event)}) + "\n"
