"""What recording costs: time of the demo line with MLflow, as a ratio to that without, in one run.

The two kinds of run take turns in the order without, with, with, without, so that a trend of the machine's load falls
on both; `--together` runs both of a pair at once. On a loaded machine the ratio of the processor's time, of all of a
run's processes, is the one to read: other processes' work is not in it. Run it from the project's folder:
`python -m tests.benchmarks.tracking_overhead`.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND = "from pipelines.cli import main; main()"
_STAGE = re.compile(r"\[vigil\] (?P<stage>[^:]+): done in (?P<seconds>[0-9.]+) s")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run of the demo line took."""

    wall: float
    """Seconds from start to end."""
    processor: float
    """Seconds of the processor, of the run's processes together, in user and system mode."""
    stages: dict[str, float]
    """Wall seconds by stage, tasks of one stage added."""


class Demo:
    """A run of the demo line in a folder."""

    def __init__(self, folder: Path, tracked: bool) -> None:
        """Start it."""
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        environment |= {} if tracked else {"MLFLOW_TRACKING_URI": ""}
        command = [sys.executable, "-c", COMMAND, "demo", "--workdir", str(folder / "demo")]
        self.tracked = tracked
        self._folder = folder
        self._started = time.perf_counter()
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)

    def cost(self) -> Cost:
        """Wait for its end; what its own processes have used is told by the kernel.

        Raises:
            RuntimeError: the run failed.
        """
        _, status, used = os.wait4(self._process.pid, 0)
        wall = time.perf_counter() - self._started
        log = (self._folder / "demo" / "run.log").read_text(encoding="utf-8", errors="replace")
        if status:
            raise RuntimeError(f"the demo line ended with {status}: {log[-1000:]}")
        shutil.rmtree(self._folder)
        return Cost(wall=wall, processor=used.ru_utime + used.ru_stime, stages=stage_seconds(log))


def stage_seconds(log: str) -> dict[str, float]:
    """Wall seconds by stage, as the stages' console lines tell them."""
    found: dict[str, float] = defaultdict(float)
    for match in _STAGE.finditer(log):
        found[match["stage"].partition(" ")[0]] += float(match["seconds"])
    return dict(found)


def run_round(folder: Path, tracked_first: bool, together: bool) -> Iterator[tuple[bool, Cost]]:
    """Cost of a run of each kind."""
    runs: list[Demo] = []
    for tracked in (tracked_first, not tracked_first):
        own = folder / f"tracked-{tracked}"
        own.mkdir()
        runs.append(Demo(own, tracked))
        if not together:
            yield tracked, runs.pop().cost()
    for run in runs:
        yield run.tracked, run.cost()


def summary(costs: dict[bool, list[Cost]]) -> list[str]:
    """Lines with the ratios of the medians, and the stages that take longer."""

    def ratio(values: Sequence[float], others: Sequence[float]) -> str:
        own, other = statistics.median(values), statistics.median(others)
        return f"{own:.1f} s with, {other:.1f} s without, ratio {own / other:.3f}"

    walls = ratio(*([cost.wall for cost in costs[tracked]] for tracked in (True, False)))
    processors = ratio(*([cost.processor for cost in costs[tracked]] for tracked in (True, False)))
    lines = [f"wall time: {walls}", f"processor time: {processors}"]
    for stage in costs[True][0].stages:
        own, other = (statistics.median(cost.stages[stage] for cost in costs[tracked]) for tracked in (True, False))
        lines.append(f"{stage}: {own:.1f} s with, {other:.1f} s without, difference {own - other:+.1f} s")
    return lines


def main() -> None:
    """Run the rounds, and print each run's times and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2, help="pairs of runs")
    parser.add_argument("--together", action="store_true", help="run the two of a pair at the same time")
    given = parser.parse_args()
    costs: dict[bool, list[Cost]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as directory:
        for index in range(given.rounds):
            for tracked, cost in run_round(Path(directory), index % 2 == 1, given.together):
                costs[tracked].append(cost)
                kind = "with" if tracked else "without"
                print(f"{kind} MLflow: {cost.wall:.1f} s, {cost.processor:.1f} s of the processor", flush=True)
    print("\n".join(summary(costs)))


if __name__ == "__main__":
    main()
