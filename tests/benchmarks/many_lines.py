"""What compiling, submitting and scheduling cost per line: CPU seconds and calls for few and for many lines.

Both, and their ratio, are of one run. The API server is the tests' fake, in this process, and counted as well. Run
it from the project's folder: `python -m tests.benchmarks.many_lines`.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from components.stage.images import REGISTRY
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.schedules import Change, Desired, carry_out, desired_schedules, difference, existing_schedules
from pipelines.cluster.submission import start_run
from pipelines.cluster.transport import Connection
from pipelines.dags.package import write_packages
from pipelines.lines.line import Line, parse_line
from tests.pipelines.kfp_api import KfpApi, serve

Figures = dict[str, float]
"""CPU seconds per line by step, and the number of calls per line."""


def lines_of(size: int) -> list[Line]:
    """That many lines with schedules."""
    return [
        parse_line(
            {
                "name": f"line-{number:04d}",
                "object": "part",
                "dataset": {"uri": f"s3://lines/{number}"},
                "schedule": {"cron": "0 0 2 * * *"},
            },
            Path(),
        )
        for number in range(size)
    ]


def measured(lines: Sequence[Line], api: KfpApi, **steps: Callable[[], object]) -> Figures:
    """Do the steps one after the other."""
    calls, seconds = len(api.calls), dict[str, float]()
    for name, step in steps.items():
        start = time.process_time()
        step()
        seconds[name] = (time.process_time() - start) / len(lines)
    return {**seconds, "all": sum(seconds.values()), "calls": (len(api.calls) - calls) / len(lines)}


def compiled(lines: Sequence[Line], api: KfpApi) -> Figures:
    """`vigil compile` of a folder."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(lines, api, compile=lambda: write_packages(Path(folder), lines))


def submitted(lines: Sequence[Line], api: KfpApi) -> Figures:
    """`vigil submit` of a folder, which compiles too."""
    cluster = Kubeflow(Connection(host=api.url))
    return measured(lines, api, submit=lambda: [start_run(cluster, line) for line in lines])


def applied(lines: Sequence[Line], api: KfpApi) -> Figures:
    """`vigil schedule apply` of a folder."""
    cluster = Kubeflow(Connection(host=api.url))
    desired, changes = list[Desired](), list[Change]()
    return measured(
        lines,
        api,
        compile=lambda: desired.extend(desired_schedules(lines)),
        compare=lambda: changes.extend(difference(desired, existing_schedules(cluster), prune=True)),
        change=lambda: carry_out(cluster, changes),
    )


def figures(size: int) -> dict[str, Figures]:
    """What each command takes per line for a folder of that size, on a cluster that is empty for each but the last."""
    os.environ.setdefault(REGISTRY, "registry.example")
    lines = lines_of(size)
    found = {}
    for name, command in {"compile": compiled, "submit": submitted}.items():
        with serve(KfpApi(page_limit=100)) as api:
            found[name] = command(lines, api)
    with serve(KfpApi(page_limit=100)) as api:
        return found | {"first apply": applied(lines, api), "second apply": applied(lines, api)}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=(20, 200), help="numbers of lines")
    few, many = parser.parse_args().sizes
    figures(1)  # imports and caches
    results = {size: figures(size) for size in (few, many)}
    for command, steps in results[few].items():
        for name, small in steps.items():
            large = results[many][command][name]
            ratio = f"{large / small:.2f}" if small else "none"
            print(f"{command:12}  {name:8}  {few}: {small:.5f}  {many}: {large:.5f}  ratio {ratio}")


if __name__ == "__main__":
    main()
