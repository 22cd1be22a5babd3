"""Sends recorded events to MLflow, in their order, across outages and refusals."""

import base64
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from components.tracking.client import DeletedExperimentError, is_refusal, is_unavailable, keep_mlflow_quiet, one_line
from components.tracking.events import SPOOL, Recorded
from components.tracking.mlflow_runs import ArtifactStoreError, MlflowRuns

logger = logging.getLogger(__name__)

FAILURE_FILE = "failure.txt"
OUTAGE_REPORTED = "outage-reported"
"""File of a local run's spool: one of its processes has reported that MLflow does not answer."""


class Writer:
    """Sends events, and reports once what goes wrong."""

    def __init__(self) -> None:
        """Open and send nothing yet."""
        keep_mlflow_quiet()
        self._runs = MlflowRuns()
        self.run_ids = self._runs.run_ids
        self.deleted: DeletedExperimentError | None = None
        """Why events wait, where their experiment is deleted."""
        self._reported: set[str] = set()
        self._lost = 0

    def write(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Send events in their order, but files after all others, since an artifact store that is down holds them up.

        Returns those that could not be sent because MLflow, or the artifact store, did not answer, or because their
        experiment is deleted. An event that MLflow refuses, or that cannot be written at all, is reported and dropped.
        """
        self.deleted = None
        pieces = [piece for recorded in events for piece in _pieces(recorded)]
        left = self._send([piece for piece in pieces if piece[1].kind != "file"])
        files = [piece for piece in pieces if piece[1].kind == "file"]
        return [*left, *files] if left else self._send(files)

    def close(self) -> None:
        """Stop the monitors of stages that never ended, and report what was dropped."""
        self._runs.stop_monitors()
        self.report_losses()

    def report_losses(self) -> None:
        """Report how many events were dropped, if any were."""
        if self._lost:
            self._report("losses", f"MLflow lacks {self._lost} events, which it refused or which could not be written")

    def _send(self, events: Sequence[Recorded]) -> list[Recorded]:
        rest = list(events)
        while rest:
            group = _group(rest)
            (task, event), following = group[0], rest[len(group) :]
            try:
                if event.kind == "metrics":
                    self._runs.metrics(task, [event for _, event in group])
                else:
                    getattr(self._runs, event.kind)(task, event)
            except ArtifactStoreError as error:
                self._report("store", f"MLflow's artifact store does not answer, files wait ({one_line(error)})")
                return [*following, *group]
            except DeletedExperimentError as error:
                self.deleted = error
                self._report("experiment", str(error))
                return rest
            except Exception as error:  # noqa: BLE001 (whatever happens to MLflow stops no stage)
                if is_unavailable(error):
                    self._report_outage(error)
                    return rest
                self._lost += len(group)
                what, kind = f"{event.kind} of {task.stage}", type(error).__name__
                if is_refusal(error):
                    self._report("refusal", f"MLflow refused {what} ({one_line(error)})")
                else:
                    text = f"{what} is not recorded in MLflow ({kind}: {one_line(error)})"
                    self._report(f"{kind} of {task.stage}", text)
            rest = following
        return []

    def _report_outage(self, error: Exception) -> None:
        """Report once that MLflow does not answer; in a local run, from the first of its processes that notices."""
        spool = os.environ.get(SPOOL, "")
        if spool and "outage" not in self._reported:
            try:
                Path(spool).mkdir(parents=True, exist_ok=True)
                (Path(spool) / OUTAGE_REPORTED).touch(exist_ok=False)
            except OSError as problem:
                if isinstance(problem, FileExistsError):  # on a full disk, it is reported twice rather than never
                    self._reported.add("outage")
        self._report("outage", f"MLflow does not answer, the run goes on without it ({one_line(error)})")

    def _report(self, about: str, text: str) -> None:
        """Log a warning unless one about the same has been logged."""
        if about not in self._reported:
            logger.warning("%s", text)
        self._reported.add(about)


def _group(events: Sequence[Recorded]) -> list[Recorded]:
    """The first event, with the metrics that follow it for the same run when it is of that kind."""
    task, first = events[0]
    if first.kind != "metrics":
        return [events[0]]
    same = (task, "metrics", first.parent)
    return list(takewhile(lambda recorded: (recorded[0], recorded[1].kind, recorded[1].parent) == same, events))


def _pieces(recorded: Recorded) -> list[Recorded]:
    """An event as it is sent: a failure's log is a file, which is sent by itself."""
    task, event = recorded
    if event.kind != "failure" or "log" not in event.values:
        return [recorded]
    values = dict(event.values)
    log = {"name": FAILURE_FILE, "base64": base64.b64encode(values.pop("log").encode()).decode()}
    return [(task, replace(event, values=values)), (task, replace(event, kind="file", values=log))]
