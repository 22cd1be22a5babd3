"""Makes the recurring runs of a cluster equal to the lines' schedules: the difference, and applying it.

The API cannot change a recurring run: its successor is created disabled, the old one deleted, the successor enabled.
An apply that ends in between leaves at most one enabled recurring run a line, and the next apply goes on from there.
One without a predecessor is created disabled too: the server makes Kubernetes' ScheduledWorkflow first and its own
record after it, and where the second fails, the first stays, in no list of the API; disabled, it starts nothing.
Two applies at once may both create one for a line: each lists them again at its end, and deletes the younger one.
Recurring runs whose description lacks VIGIL's marker are ignored.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components import __version__
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.submission import Package, compile_line, digest_of
from pipelines.cluster.transport import ClusterError, ClusterUnavailableError
from pipelines.lines.line import Line

CREATED, UPDATED, ENABLED, DISABLED, DELETED = "created", "updated", "enabled", "disabled", "deleted"
UNCHANGED, KEPT = "unchanged", "kept"
KINDS = (CREATED, UPDATED, ENABLED, DISABLED, DELETED, UNCHANGED, KEPT)

# The server keeps 255 characters of both lines; a line's name may have 63 and is in them once.
_EXPLANATION = "Managed by `vigil schedule apply`, which undoes changes by hand."
_MARKER = re.compile(
    r"managed-by=vigil line=(?P<line>\S+) version=(?P<version>\S+) package=(?P<package>[0-9a-f]+) "
    r"arguments=(?P<arguments>[0-9a-f]+) trigger=(?P<trigger>[0-9a-f]+)"
)
_TRIGGER = {"max_concurrency": 1, "no_catchup": True}
_ENABLED_MODE = "ENABLE"


@dataclass(frozen=True, kw_only=True)
class Desired:
    """The recurring run that a line defines."""

    line: str
    cron: str
    enabled: bool
    package: Package
    arguments: Mapping[str, Any]

    def description(self) -> str:
        """What a person reads about the recurring run, and the marker."""
        digests = " ".join(f"{name}={digest}" for name, digest in self.digests().items())
        return f"{_EXPLANATION}\nmanaged-by=vigil line={self.line} version={__version__} {digests}"

    def digests(self) -> dict[str, str]:
        """Digests of what the recurring run is created with."""
        return {
            "package": self.package.digest,
            "arguments": digest_of(self.arguments),
            "trigger": digest_of({"cron": self.cron, **_TRIGGER}),
        }


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A recurring run of the cluster that carries VIGIL's marker."""

    id: str
    line: str
    version: str
    """Of VIGIL, which made it."""
    cron: str
    enabled: bool
    digests: Mapping[str, str]
    arguments: Mapping[str, Any]
    created_at: str
    status: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is to be done for one line."""

    line: str
    kind: str
    """One of `KINDS`."""
    detail: str = ""
    """What differs, for people."""
    desired: Desired | None = None
    keep: Existing | None = None
    remove: tuple[Existing, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How applying the changes ended: each change is in one of the three."""

    done: Sequence[Change]
    failed: Mapping[str, ClusterError] = field(default_factory=dict)
    """Error by line."""
    skipped: Sequence[Change] = ()
    """Not begun."""


def desired_schedules(lines: Iterable[Line]) -> Iterator[Desired]:
    """Compile the lines that have a schedule."""
    for line in lines:
        if cron := line.schedule.start(line.name):
            package, arguments = compile_line(line), line.arguments()
            enabled = line.schedule.enabled
            yield Desired(line=line.name, cron=cron, enabled=enabled, package=package, arguments=arguments)


def existing_schedules(cluster: Kubeflow) -> list[Existing]:
    """The cluster's recurring runs whose description ends with VIGIL's marker; all others are left out."""
    found = []
    for run in cluster.recurring_runs():
        marker = _MARKER.fullmatch((run.description or "").strip().rpartition("\n")[2])
        if marker is None or not run.recurring_run_id:
            continue
        cron = run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else ""
        found.append(
            Existing(
                id=run.recurring_run_id,
                line=marker["line"],
                version=marker["version"],
                cron=cron or "",
                enabled=run.mode == _ENABLED_MODE,
                digests={name: marker[name] for name in ("package", "arguments", "trigger")},
                arguments=(run.runtime_config.parameters or {}) if run.runtime_config else {},
                created_at=run.created_at.isoformat() if run.created_at else "",
                status=str(run.status or ""),
            )
        )
    return found


def difference(desired: Iterable[Desired], existing: Iterable[Existing], *, prune: bool) -> list[Change]:
    """Changes by line; recurring runs without a line are deleted by `prune`, and kept otherwise."""
    by_line: dict[str, list[Existing]] = {}
    for run in sorted(existing, key=_age):
        by_line.setdefault(run.line, []).append(run)
    changes = [_change(wanted, by_line.pop(wanted.line, [])) for wanted in desired]
    gone = "no such line or schedule"
    for line, runs in by_line.items():
        pruned = Change(line=line, kind=DELETED, detail=gone, remove=tuple(runs))
        changes.append(pruned if prune else Change(line=line, kind=KEPT, detail=f"{gone}; not pruned"))
    return sorted(changes, key=lambda change: change.line)


def carry_out(cluster: Kubeflow, changes: Sequence[Change]) -> Outcome:
    """Carry out the changes; an error of one line does not stop the others, a cluster that is unavailable does."""
    done, failed, created = list[Change](), dict[str, ClusterError](), dict[str, str]()
    for index, change in enumerate(changes):
        try:
            own = _carry_out(cluster, change)
        except ClusterUnavailableError as error:
            return Outcome(done=done, failed={**failed, change.line: error}, skipped=changes[index + 1 :])
        except ClusterError as error:
            failed[change.line] = error
        else:
            done.append(change)
            created |= {change.line: own} if own else {}
    outcome = Outcome(done=done, failed=failed)
    return _without_duplicates(cluster, outcome, created) if created else outcome


def _carry_out(cluster: Kubeflow, change: Change) -> str:
    """Carry out a change, and return the id of the recurring run that it created, if it did."""
    desired, current, enabled = change.desired, "", False
    if change.keep:
        current, enabled = change.keep.id, change.keep.enabled
    elif desired:
        current = cluster.create_recurring_run(
            desired.package.upload(cluster),
            dict(desired.arguments),
            cron=desired.cron,
            display_name=desired.line,
            description=desired.description(),
            experiment_id=cluster.experiment(desired.line),
        )
    for run in change.remove:
        cluster.delete_recurring_run(run.id)
    if desired and enabled != desired.enabled:
        cluster.set_enabled(current, enabled=desired.enabled)
    return "" if change.keep else current


def _without_duplicates(cluster: Kubeflow, outcome: Outcome, created: Mapping[str, str]) -> Outcome:
    """The outcome, once every recurring run that was created beside an older one is deleted.

    Another apply at the same time made the older one: both found none, or both replaced the same one.
    """
    removed = {run.id for change in outcome.done for run in change.remove}
    try:
        left = sorted((run for run in existing_schedules(cluster) if run.id not in removed), key=_age, reverse=True)
    except ClusterError as error:
        known = [change for change in outcome.done if change.line not in created]
        return Outcome(done=known, failed={**outcome.failed, **dict.fromkeys(created, error)})
    oldest = {run.line: run for run in left}
    done, failed = list[Change](), dict(outcome.failed)
    for change in outcome.done:
        own, other = created.get(change.line), oldest.get(change.line)
        if change.desired is None or not own or other is None or other.id == own:
            done.append(change)
            continue
        try:
            cluster.delete_recurring_run(own)
        except ClusterError as error:
            failed[change.line] = error
            continue
        if found := ", ".join(_differences(change.desired, other)):
            failed[change.line] = ClusterError(f"another apply created it otherwise at the same time: {found}")
        else:
            detail = "another apply created it at the same time"
            done.append(dataclasses.replace(change, kind=UNCHANGED, detail=detail))
    return Outcome(done=done, failed=failed)


def _age(run: Existing) -> tuple[str, str]:
    """Sorts the oldest first, in the same order for every apply."""
    return run.created_at, run.id


def _change(desired: Desired, existing: Sequence[Existing]) -> Change:
    """The change of a line, given its recurring runs, the oldest first."""
    equal = [run for run in existing if not _differences(desired, run)]
    keep = max(equal, key=lambda run: run.enabled == desired.enabled, default=None)
    remove = tuple(run for run in existing if run is not keep)
    kind, detail = UNCHANGED, ""
    if not existing:
        kind, detail = CREATED, desired.cron if desired.enabled else f"{desired.cron}, disabled"
    elif keep is None:
        kind, detail = UPDATED, ", ".join(_differences(desired, existing[-1]))
    elif remove:
        kind, detail = UPDATED, "an interrupted update is completed"
    elif keep.enabled != desired.enabled:
        kind = ENABLED if desired.enabled else DISABLED
    return Change(line=desired.line, kind=kind, detail=detail, desired=desired, keep=keep, remove=remove)


def _differences(desired: Desired, existing: Existing) -> list[str]:
    """What differs, in words; the argument `settings` repeats the others, and is named when it differs alone."""
    digests, found = desired.digests(), []
    if existing.digests["package"] != digests["package"]:
        found.append(f"package {existing.digests['package']} -> {digests['package']}")
    if existing.digests["arguments"] != digests["arguments"]:
        wanted, present = desired.arguments, existing.arguments
        changed = [name for name in sorted({*wanted, *present}) if wanted.get(name) != present.get(name)]
        found.append(f"arguments {' '.join([name for name in changed if name != 'settings'] or changed)}")
    if existing.cron != desired.cron:
        found.append(f"cron {existing.cron} -> {desired.cron}")
    elif existing.digests["trigger"] != digests["trigger"]:
        found.append("trigger")
    return found
