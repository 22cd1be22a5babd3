"""The comparison as tables in the terminal and as JSON, and the texts that these share with the page."""

import dataclasses
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from components.metrics.records import EXTRA_HEADS, PROXY_HEADS
from components.metrics.seeds import Gain, Spread
from components.registry.history import PastRun
from pipelines.comparing.lines import Best, Group, LineComparison, Trial

HEADS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "image_ap": "AP",
    "image_f1_max": "F1-max",
    **EXTRA_HEADS,
    **PROXY_HEADS,
    "latency_ms": "ms/image",
}
"""What a metric is called in a table's head."""


def print_overview(lines: Sequence[LineComparison], console: Console) -> None:
    """One row for each line, in the given order."""
    table = Table("line", "attention", "why", "runs", "last run", "best", "champion", "gain of generated")
    for line in lines:
        why = escape("\n".join(reason.text for reason in line.reasons)) or "-"
        group = line.groups[0] if line.groups else None
        table.add_row(
            escape(line.line),
            str(line.score),
            why,
            counts_text(line),
            f"{line.last.started:%Y-%m-%d %H:%M}" if line.last else "-",
            escape(best_text(group.best if group else None)),
            champion_text(line),
            escape("\n".join(f"{name}: {gain_text(gain)}" for name, gain in group.gains.items()) if group else "-"),
        )
    console.print(table)


def print_line(line: LineComparison, console: Console) -> None:
    """A table for each group of comparable runs, with the gains of the generated set and the best record below it."""
    console.print(f"[bold]{escape(line.line)}[/]: {counts_text(line)}; champion: {champion_text(line)}")
    if line.instead_of:
        console.print(f"  {escape(instead_text(line))}", soft_wrap=True)
    for reason in line.reasons:
        console.print(f"  needs attention ({reason.weight}): {escape(reason.text)}", soft_wrap=True)
    for group in line.groups:
        title = f"{conditions_text(group)}\n{seeds_text(group)}"
        table = Table("detector", "training set", "n", *(HEADS[name] for name in group.measures), title=escape(title))
        for trial in group.trials:
            table.add_row(*map(escape, trial_cells(trial, group.measures)))
        console.print(table)
        for detector, gain in group.gains.items():
            details = f" ({differences_text(gain)}); {gain.statement}" if gain else ""
            console.print(f"{escape(detector)}: {HEADS[line.metric]} of generated {escape(gain_text(gain) + details)}")
        link = f" {group.best.run.link}" if group.best else ""
        console.print(f"best: {escape(best_text(group.best) + link)}\n")


def to_json(lines: Sequence[LineComparison]) -> str:
    """JSON list with an object for each line, in the given order; times are ISO 8601."""
    documents = [
        {
            "line": line.line,
            "metric": line.metric,
            "instead_of": line.instead_of or None,
            "attention": {"score": line.score, "reasons": [dataclasses.asdict(reason) for reason in line.reasons]},
            "runs": line.counts,
            "last_run": _run_document(line.last) if line.last else None,
            "champion": dataclasses.asdict(line.champion) if line.champion else None,
            "groups": [_group_document(group) for group in line.groups],
        }
        for line in lines
    ]
    return json.dumps(documents, indent=2, default=datetime.isoformat, allow_nan=False)


def _group_document(group: Group) -> dict[str, Any]:
    trials = []
    for trial in group.trials:
        metrics = {
            name: {**dataclasses.asdict(found), "by_seed": trial.by_seed[name]} if found else None
            for name, found in trial.metrics.items()
        }
        trials.append({"detector": trial.detector, "training_set": trial.training_set, "metrics": metrics})
    gains: dict[str, dict[str, Any] | None] = dict.fromkeys(group.gains)
    for detector, gain in group.gains.items():
        if gain:
            more = {"n": len(gain.differences), "differences": dict(gain.differences), "statement": gain.statement}
            gains[detector] = dataclasses.asdict(gain) | more
    best = None
    if group.best:
        run, version = _run_document(group.best.run), group.best.version and dataclasses.asdict(group.best.version)
        own = {name: getattr(group.best.record, name) for name in ("detector", "training_set", "seed")}
        best = {**own, "value": group.best.value, "run": run, "version": version}
    return {
        "conditions": {**dataclasses.asdict(group.conditions), "settings": dict(group.conditions.settings)},
        "varying_settings": group.settings,
        "runs": group.runs,
        "seeds": group.seeds,
        "newest": group.newest,
        "trials": trials,
        "gains": gains,
        "best": best,
    }


def _run_document(run: PastRun) -> dict[str, Any]:
    return {name: getattr(run, name) for name in ("run_id", "status", "started", "seed", "link")}


def conditions_text(group: Group) -> str:
    """What the runs of a group share."""
    shared = group.conditions
    dataset = shared.dataset[:12] if len(shared.dataset) == 64 else shared.dataset
    text = f"data {dataset}, shots {shared.shots}, profile {shared.profile}, version {shared.version}"
    return ", ".join([text, *(f"{name} {value or 'not recorded'}" for name, value in group.settings.items())])


def seeds_text(group: Group) -> str:
    """Seeds and runs of a group."""
    seeds = ", ".join("?" if seed is None else str(seed) for seed in group.seeds)
    return f"{_count(group.runs, 'run')}, {_count(len(group.seeds), 'seed')} ({seeds})"


def counts_text(line: LineComparison) -> str:
    """Runs by how they ended, without the kinds that there are none of."""
    return ", ".join(f"{number} {kind}" for kind, number in line.counts.items() if number) or "no runs"


def champion_text(line: LineComparison) -> str:
    """The champion's version."""
    return f"version {line.champion.number}" if line.champion else "none"


def instead_text(line: LineComparison) -> str:
    """By what a line without bad test images is compared."""
    return f"compared by {line.metric}, of synthetic defects: no run has measured {line.instead_of}"


def best_text(best: Best | None) -> str:
    """The best record, the seed it has and the version it became."""
    if best is None:
        return "-"
    aliases = "".join(f" @{alias}" for alias in best.version.aliases) if best.version else ""
    became = f", version {best.version.number}{aliases}" if best.version else ""
    return f"{best.value:.4f} {best.record.trial}, run {best.run.run_id}{became}"


def spread_text(found: Spread | None, digits: int = 4) -> str:
    """Mean and standard deviation."""
    sd = f" ± {found.sd:.{digits}f}" if found and found.sd is not None else ""
    return f"{found.mean:.{digits}f}{sd}" if found else "-"


def trial_cells(trial: Trial, measures: Sequence[str]) -> list[str]:
    """Detector, training set, number of values, and the mean and standard deviation of the given metrics."""
    found = {name: trial.metrics[name] for name in measures}
    count = max((spread.n for spread in found.values() if spread is not None), default=0)
    values = [spread_text(spread, 0 if name == "latency_ms" else 4) for name, spread in found.items()]
    return [trial.detector, trial.training_set, str(count), *values]


def gain_text(gain: Gain | None) -> str:
    """Mean gain and over what."""
    return "not measured" if gain is None else f"{gain.mean:+.4f} over {gain.baseline} (n={len(gain.differences)})"


def differences_text(gain: Gain) -> str:
    """The paired differences."""
    return ", ".join(f"seed {seed}: {difference:+.4f}" for seed, difference in gain.differences)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
