"""Past runs out of the folders of local runs, and the union of what several places know of a line."""

import dataclasses
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from components.artifacts import RECORDS, read_json
from components.errors import InputError
from components.metrics.records import read_records
from components.registry.history import FINISHED, UNKNOWN, Conditions, LineHistory, PastRun, distinct_runs, read_history
from pipelines.local.workdir import STATE, Workdir


def read_workdir(root: Path, since: datetime | None = None) -> LineHistory:
    """Runs of a folder: out of its MLflow database, or, when its runs were logged elsewhere, out of its results.

    Results alone do not say under which conditions they came about, so they are comparable with nothing else.

    Raises:
        InputError: the folder holds no run of a line.
        OSError: its database cannot be read.
    """
    folder = Workdir(root=root.resolve())
    state = read_json(folder.root / STATE) if (folder.root / STATE).is_file() else None
    if not isinstance(state, dict) or "line" not in state:
        raise InputError(f"workdir: {root} holds no run of a line")
    line = str(state["line"])
    tracked = _tracked(folder, line, since)
    runs = list(tracked.runs)
    if not any(run.records for run in runs):
        known = {run.run_id for run in runs if run.status != FINISHED}
        runs += [run for run in _results(folder, line, state) if run.run_id not in known]
    chosen = [run for run in runs if since is None or run.started >= since]
    return dataclasses.replace(tracked, runs=distinct_runs(chosen))


def _tracked(folder: Workdir, line: str, since: datetime | None) -> LineHistory:
    nothing = LineHistory(line=line, runs=())
    if not (folder.root / "mlflow.db").is_file():
        return nothing
    found = next((one for one in read_history(folder.tracking_uri, None, since) if one.line == line), nothing)
    return dataclasses.replace(found, runs=tuple(dataclasses.replace(run, link=str(folder.root)) for run in found.runs))


def merge_histories(histories: Iterable[LineHistory]) -> list[LineHistory]:
    """One history for each line, every run once."""
    found: dict[str, LineHistory] = {}
    for history in histories:
        first = found.get(history.line, LineHistory(line=history.line, runs=()))
        found[history.line] = LineHistory(
            line=history.line,
            runs=distinct_runs((*first.runs, *history.runs)),
            versions=tuple(sorted({*first.versions, *history.versions}, key=lambda one: one.created, reverse=True)),
            drift=tuple(sorted({*first.drift, *history.drift}, key=lambda one: one.started, reverse=True)),
        )
    return [found[line] for line in sorted(found)]


def _results(folder: Workdir, line: str, state: dict[str, str]) -> Iterator[PastRun]:
    """The run in progress or failed, if there is one, and the last finished one."""
    ended = state.get("status", UNKNOWN)
    if ended != FINISHED:
        yield _run(folder, line, str(state.get("run_id", UNKNOWN)), ended, folder.root / STATE)
    if folder.metrics.is_file():
        run_id = str(state.get("run_id")) if ended == FINISHED else f"{folder.root.name}/{RECORDS}"
        yield _run(folder, line, run_id, FINISHED, folder.metrics)


def _run(folder: Workdir, line: str, run_id: str, status: str, file: Path) -> PastRun:
    time = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    records = tuple(read_records(file)) if file == folder.metrics else ()
    unknown = Conditions(dataset=f"{UNKNOWN} ({folder.root})", shots=UNKNOWN, profile=UNKNOWN, version=UNKNOWN)
    return PastRun(
        line=line,
        run_id=run_id,
        status=status,
        started=time,
        ended=time,
        seed=records[0].seed if records else None,
        conditions=unknown,
        records=records,
        link=str(folder.root),
    )
