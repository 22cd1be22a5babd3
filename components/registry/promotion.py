"""The champion of a line: a history that decides, and the alias `champion` that shows it.

MLflow sets an alias unconditionally, so two runs that finish at once could each replace the other's champion unseen,
but it writes a parameter of a run only once. The history of a line's champions is therefore the parameters
`champion.000001`, `champion.000002`, ... of one run, whose id is a tag of the registered model. To move the champion is
to write the entry after the last one that was read: of several writers one succeeds, and the others decide again.
Nothing is locked, so nobody waits for a process that crashed.

The alias follows its entry by some milliseconds; after a crash in between, the next run of the line, `vigil registry
promote` or `rollback` finishes the move. An alias that was moved by other means is taken over as an entry `outside`
when it stands for `SETTLE_SECONDS`; a process suspended for longer just before it sets the alias looks the same.
A deleted run of the history is restored. One that is gone is followed by a new history that starts with the alias, and
an entry that cannot be read counts as a move to what the alias shows.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.errors import InputError, check
from components.metrics.records import PROXY_METRIC
from components.registry.gate import REFUSED, Decision, GateLimits, GateRefusedError, Measurement, decide
from components.tracking.client import experiment_id, pages, tracking_client
from components.tracking.events import RUN_ID_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

logger = logging.getLogger(__name__)

CHAMPION = "champion"
CHALLENGER = "challenger"
"""Alias of the version that the latest run registered, whether it was promoted or not."""

FORCED, ROLLBACK, OUTSIDE, UNREADABLE = "forced", "rollback", "outside", "unreadable"
SETTLE_SECONDS = 1.0

_HISTORY_TAG = "vigil.history_run"
_APPLIED_TAG = "vigil.history_applied"
_KEY = "champion."
_DIGEST_TAG = "vigil.evaluation_digest"
_MEASUREMENT = "measurement.{digest:.16}"
_MAX_REASON, _MAX_PERSON = 2000, 200
_MAX_PARAMETER = 6000
"""Characters of a parameter's value; MLflow silently cuts off what is beyond."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One move of the champion by a person or a run."""

    number: int
    """Counted from 1."""
    action: str
    """`first`, `promoted`, `forced`, `rollback`, `outside`, or `unreadable` for one whose text is damaged."""
    version: str
    """Champion from here on; empty for none."""
    by: str
    why: str
    """At most 2000 characters, and fewer where the text would become too long for MLflow."""
    at: str
    """UTC, ISO 8601."""
    token: str
    """Distinguishes the writers of one entry."""

    def to_json(self) -> str:
        """Text of a parameter, which MLflow stores whole."""
        entry = self
        while len(text := json.dumps(asdict(entry), sort_keys=True, ensure_ascii=False)) > _MAX_PARAMETER:
            entry = replace(entry, why=entry.why[: len(entry.why) * 9 // 10])
        return text


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The history as it was read."""

    number: int
    """Entries."""
    champion: str
    """Version; empty for none."""
    former: tuple[str, ...]
    """Earlier champions that a rollback goes back to, the latest last."""

    def opponent_of(self, version: str) -> str:
        """Whom a version is compared with: the champion, or, where it is the champion itself, the one before it."""
        return self.champion if version != self.champion else next(reversed(self.former), "")


class LineModel:
    """The registered model of a line."""

    def __init__(self, line: str) -> None:
        """Find the registered model; raises `InputError` where MLflow has none for the line."""
        self.line = line
        self._client = tracking_client()
        self._reported: set[str] = set()
        self._history_run = _history_run(self._client, self._model())

    @classmethod
    def create(cls, line: str, run_id: str) -> "LineModel":
        """The registered model of a line; where it is missing, it is created, with its history beside the given run."""
        from mlflow.exceptions import MlflowException

        client = tracking_client()
        if _found(client.get_registered_model, line) is None:
            run = _new_history_run(client, line, client.get_run(run_id).info.experiment_id)
            try:
                client.create_registered_model(line, tags={_HISTORY_TAG: run})
            except MlflowException as error:
                client.delete_run(run)
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        return cls(line)

    def versions(self) -> "list[ModelVersion]":
        """All versions, the latest first."""
        found = pages(self._client.search_model_versions, filter_string=f"name = '{self.line}'")
        return sorted(found, key=lambda version: -int(version.version))

    def version(self, number: str) -> "ModelVersion":
        """One version; raises `InputError` where there is none of this number."""
        found = {str(version.version): version for version in self.versions()}
        if number not in found:
            known = f"one of {', '.join(reversed(found))}" if found else "a version, but it has none"
            raise InputError(f"version: {self.line} has no version {number!r}, expected {known}")
        return found[number]

    def aliases(self) -> dict[str, str]:
        """Version of each alias."""
        return {alias: str(version) for alias, version in self._model().aliases.items()}

    def version_of_run(self, run: str) -> "ModelVersion | None":
        """The version that a pipeline run has registered; None where it has none, or the run has no id."""
        return next((version for version in self.versions() if run and version.tags.get(RUN_ID_TAG) == run), None)

    def describe(self, number: str, measurement: Measurement, limits: GateLimits, run: str) -> None:
        """Keep with a version what a later comparison needs, and what a reader of the list wants to know."""
        record = measurement.record
        self.keep(number, measurement)
        shown = {"detector": record.detector, "training_set": record.training_set, "run_id": run}
        figures = ((name, record.metric(name)) for name in (limits.metric, PROXY_METRIC))
        shown["metric"] = ", ".join(f"{name}={value:.4f}" for name, value in figures if value is not None)
        needed = {"evaluation_digest": measurement.digest, "limits": json.dumps(limits.model_dump(), sort_keys=True)}
        self.tag(number, needed | shown)

    def keep(self, number: str, measurement: Measurement) -> None:
        """Keep a measurement with a version; one tag per digest, so that it is there completely or not at all."""
        self.tag(number, {_MEASUREMENT.format(digest=measurement.digest): measurement.to_json()})

    def measurement(self, number: str, digest: str) -> Measurement | None:
        """What was measured of a version under a digest, None where nothing was."""
        text = self.version(number).tags.get(f"vigil.{_MEASUREMENT.format(digest=digest)}")
        return None if text is None else Measurement.of(json.loads(text))

    def tag(self, number: str, values: Mapping[str, str]) -> None:
        """Set tags of a version."""
        for name, value in values.items():
            _again(self._client.set_model_version_tag, self.line, number, f"vigil.{name}", value)

    def challenge(self) -> None:
        """Give the newest version of a run the alias `challenger`, and look again, since another run may do so too."""
        newest = ""
        while (found := self._newest()) != newest:
            _again(self._client.set_registered_model_alias, self.line, CHALLENGER, found)
            newest = found

    def _newest(self) -> str:
        return next((str(version.version) for version in self.versions() if _DIGEST_TAG in version.tags), "")

    def entries(self) -> list[Entry]:
        """The history, oldest first; one whose text is damaged is `unreadable` and without a version."""
        found = []
        for key, text in self._client.get_run(self._history_run).data.params.items():
            if not key.startswith(_KEY):
                continue
            try:
                found.append(Entry(**json.loads(text)))
            except (TypeError, ValueError) as error:
                why = f"entry {key} of the history of {self.line}'s champions cannot be read ({error})"
                if key not in self._reported:
                    logger.warning("%s; what the alias shows counts in its place", why)
                self._reported.add(key)
                number = int(key.removeprefix(_KEY))
                found.append(Entry(number=number, action=UNREADABLE, version="", by="", why=why, at="", token=""))
        return sorted(found, key=lambda entry: entry.number)

    def standing(self) -> Standing:
        """The champion and its predecessors, after finishing a move that was interrupted or made by other means."""
        while True:
            entries = self.entries()
            recorded = entries[-1].version if entries else ""
            model = self._model()
            shown = str(model.aliases.get(CHAMPION, ""))
            if int(model.tags.get(_APPLIED_TAG, 0)) < len(entries):
                self._apply()
                continue
            if shown == recorded:
                return Standing(number=len(entries), champion=recorded, former=_former(entries))
            time.sleep(SETTLE_SECONDS)
            if len(self.entries()) == len(entries) and str(self._model().aliases.get(CHAMPION, "")) == shown:
                why = "the alias was moved by other means than vigil, or the history before it cannot be read"
                self._append(len(entries), OUTSIDE, shown, "unknown", why)

    def move(self, standing: Standing, action: str, version: str, *, by: str, why: str) -> bool:
        """Make a version the champion; False where the champion was moved after `standing` was read."""
        moved = self._append(standing.number, action, version, by, why)
        if moved:
            self._apply()
        return moved

    def carry_out(self, standing: Standing, decision: Decision, *, by: str, why: str = "") -> bool:
        """Do what was decided; False where the champion was moved after `standing` was read, to decide again.

        A challenger that is the champion already, because an earlier attempt ended before its tag, is not moved again.
        """
        reasons = f"{why}: {decision.reasons}" if why else decision.reasons
        number = decision.challenger
        if decision.gate == REFUSED:
            stands = len(self.entries()) == standing.number
        else:
            stands = number == standing.champion or self.move(standing, decision.gate, number, by=by, why=reasons)
        if stands:
            self.tag(number, {"gate_reasons": decision.reasons, "gate": decision.gate})
        return stands

    def promote(self, number: str, *, by: str, why: str, force: bool) -> str:
        """Make a version the champion, where the limits of its run hold or by force; returns the former champion.

        Raises `GateRefusedError` where a limit does not hold, `InputError` where the version does not exist, is the
        champion, or was not measured as the champion was.
        """
        tags = self.version(number).tags
        digest = tags.get(_DIGEST_TAG, "")
        while True:
            standing = self.standing()
            champion = standing.champion
            check(number != champion, "version", number, f"a version of {self.line} that is not its champion")
            if force:
                if self.move(standing, FORCED, number, by=by, why=why):
                    return champion
                continue
            own, other = self.measurement(number, digest), self.measurement(champion, digest) if champion else None
            if own is None:
                expected = "expected one that a run registered"
                raise InputError(f"version: {self.line} {number} has no measurement, {expected}")
            if champion and other is None:
                measured = f"{self.line} {number} was measured on another test split than champion {champion}"
                raise InputError(f"version: {measured}, expected a version of a newer run")
            limits = GateLimits(**json.loads(tags["vigil.limits"]))
            decision = decide(limits, self.line, (number, own), None if other is None else (champion, other))
            if decision.gate == REFUSED:
                raise GateRefusedError(f"the gate refuses version {number} of {self.line}: {decision.reasons}")
            if self.carry_out(standing, decision, by=by, why=why):
                return champion

    def rollback(self, *, by: str, why: str) -> tuple[str, str]:
        """Make the previous champion that still exists the champion again; returns the versions before and after.

        Raises `InputError` where there is no previous champion, or somebody else moved the champion meanwhile.
        """
        standing = self.standing()
        existing = {str(version.version) for version in self.versions()}
        former = [version for version in standing.former if version in existing]
        if not former:
            now = f"version {standing.champion}" if standing.champion else "now"
            raise InputError(f"line: {self.line} has no champion before {now}")
        if not self.move(standing, ROLLBACK, former[-1], by=by, why=why):
            moved = f"the champion of {self.line} was moved to version {self.entries()[-1].version} meanwhile"
            raise InputError(f"line: {moved}; run it again if that is not wanted")
        return standing.champion, former[-1]

    def _model(self) -> "RegisteredModel":
        found: RegisteredModel | None = _found(self._client.get_registered_model, self.line)
        if found is None:
            known = ", ".join(line_names()) or "none yet"
            raise InputError(f"line: MLflow has no registered model {self.line!r}, expected one of: {known}")
        return found

    def _append(self, number: int, action: str, version: str, by: str, why: str) -> bool:
        """Write the entry after the first `number` ones; False where another one was there before."""
        from mlflow.exceptions import MlflowException

        # An argument of a command may hold bytes that are no UTF-8.
        by, why = (text.encode("utf-8", "replace").decode("utf-8") for text in (by, why))
        entry = Entry(
            number=number + 1,
            action=action,
            version=version,
            by=by[:_MAX_PERSON],
            why=why[:_MAX_REASON],
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            token=secrets.token_hex(8),
        )
        key, value = f"{_KEY}{entry.number:06d}", entry.to_json()
        try:
            self._client.log_param(self._history_run, key, value, synchronous=True)
        except MlflowException:
            written = self._client.get_run(self._history_run).data.params.get(key)
            if written is None:
                raise
            return bool(written == value)
        return True

    def _apply(self) -> None:
        """Show the last entry by alias and tags, until it is still the last one afterwards."""
        while True:
            last = self.entries()[-1]
            if last.action != UNREADABLE:  # then the alias stays, and `standing` takes it over
                if any(last.version == str(version.version) for version in self.versions()):
                    _again(self._client.set_registered_model_alias, self.line, CHAMPION, last.version)
                    values = {"action": last.action, "by": last.by, "at": last.at, "why": last.why}
                    self.tag(last.version, {f"champion_{name}": value for name, value in values.items()})
                else:
                    self._client.delete_registered_model_alias(self.line, CHAMPION)
            _again(self._client.set_registered_model_tag, self.line, _APPLIED_TAG, str(last.number))
            if self.entries()[-1].number == last.number:
                return


def line_names() -> list[str]:
    """Registered models that are those of lines."""
    models = pages(tracking_client().search_registered_models)
    return sorted(model.name for model in models if _HISTORY_TAG in model.tags)


def needed_versions(client: "MlflowClient", line: str) -> dict[str, str]:
    """Versions that an alias names or a rollback may go back to, each with what it is; nothing is changed.

    Where an entry of the history cannot be read, all versions are needed.
    """
    model: RegisteredModel | None = _found(client.get_registered_model, line)
    if model is None:
        return {}
    needed = dict[str, str]()
    if history := _found(client.get_run, model.tags[_HISTORY_TAG]) if _HISTORY_TAG in model.tags else None:
        texts = [text for key, text in sorted(history.data.params.items()) if key.startswith(_KEY)]
        try:
            needed = dict.fromkeys(_former([Entry(**json.loads(text)) for text in texts]), "a former champion")
        except (TypeError, ValueError):
            every = pages(client.search_model_versions, filter_string=f"name = '{line}'")
            needed = {str(version.version): "perhaps a former champion" for version in every}
    for alias, version in model.aliases.items():
        needed[str(version)] = alias if needed.get(str(version)) != CHAMPION else CHAMPION
    return needed


def _former(entries: list[Entry]) -> tuple[str, ...]:
    """Champions below the last one: a rollback takes away what is above the version that it goes back to."""
    stack: list[str] = []
    for entry in entries:
        if entry.action == ROLLBACK:
            while stack and stack[-1] != entry.version:
                stack.pop()
        if not stack or stack[-1] != entry.version:
            stack.append(entry.version)
    return tuple(version for version in stack[:-1] if version and version != stack[-1])


def _history_run(client: "MlflowClient", model: "RegisteredModel") -> str:
    """Run that holds the history, restored where it was deleted.

    Of a model without a history, it is the run of its oldest version, the same for all processes; where it is gone for
    good, it is a new run, whose history starts with the alias.
    """
    line = model.name
    if _HISTORY_TAG not in model.tags:
        versions = pages(client.search_model_versions, filter_string=f"name = '{line}'")
        runs = [entry.run_id for entry in sorted(versions, key=lambda entry: int(entry.version)) if entry.run_id]
        if not runs:
            raise InputError(f"line: the registered model {line!r} was not made by vigil, expected another name")
        _again(client.set_registered_model_tag, line, _HISTORY_TAG, str(runs[0]))
        return str(runs[0])
    run_id = str(model.tags[_HISTORY_TAG])
    if kept := _found(client.get_run, run_id):
        if kept.info.lifecycle_stage == "deleted":
            client.restore_run(run_id)
        return run_id
    _again(client.set_registered_model_tag, line, _APPLIED_TAG, "0")
    new = _new_history_run(client, line, experiment_id(client, line))
    _again(client.set_registered_model_tag, line, _HISTORY_TAG, new)
    time.sleep(SETTLE_SECONDS)  # of two processes that start one at once, both keep what was set last
    return str(client.get_registered_model(line).tags[_HISTORY_TAG])


def _new_history_run(client: "MlflowClient", line: str, experiment: str) -> str:
    tags = {"mlflow.runName": f"{line}-champions", "vigil.stage": "champions", "vigil.line": line}
    run_id = str(client.create_run(experiment, tags=tags).info.run_id)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def _found(get: Callable[[str], Any], name: str) -> Any:
    """What MLflow has under a name or an id; None where it has nothing."""
    from mlflow.exceptions import MlflowException

    try:
        return get(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _again(set_value: Callable[..., None], *arguments: str) -> None:
    """Set an alias or a tag, again where it fails.

    Of two processes that set one for the first time at once, MLflow refuses one with a violated constraint of its
    database; set again, the value is there to be replaced.
    """
    from mlflow.exceptions import MlflowException
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

    when = retry_if_exception_type(MlflowException)
    Retrying(retry=when, stop=stop_after_attempt(4), wait=wait_random(0.05, 0.2), reraise=True)(set_value, *arguments)
