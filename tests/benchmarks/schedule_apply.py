"""What applying schedules costs per line: CPU seconds and calls for few and for many lines, as a ratio, in one run.

The API server is the tests' stand-in, in this process, and counted as well. Run it from the project's folder:
`python -m tests.benchmarks.schedule_apply`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.cluster import Kubeflow
from pipelines.line import Line, parse_line
from pipelines.schedules import carry_out, desired_schedules, difference, existing_schedules
from pipelines.transport import Connection
from tests.pipelines.kfp_api import KfpApi, serve


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


def measured(cluster: Kubeflow, api: KfpApi, lines: Sequence[Line]) -> dict[str, float]:
    """CPU seconds per line for compiling, comparing and changing, and the number of calls per line."""
    calls, times = len(api.calls), [time.process_time()]
    desired = list(desired_schedules(lines))
    times.append(time.process_time())
    changes = difference(desired, existing_schedules(cluster), prune=True)
    times.append(time.process_time())
    carry_out(cluster, changes)
    times.append(time.process_time())
    names = ("compile", "compare", "change")
    seconds = {name: (end - start) / len(lines) for name, start, end in zip(names, times, times[1:], strict=False)}
    return {**seconds, "all": (times[-1] - times[0]) / len(lines), "calls": (len(api.calls) - calls) / len(lines)}


def first_and_second(size: int) -> tuple[dict[str, float], dict[str, float]]:
    """What the first apply of a folder of that size takes per line, and the second."""
    with serve(KfpApi(page_limit=100)) as api:
        cluster, lines = Kubeflow(Connection(host=api.url)), lines_of(size)
        return measured(cluster, api, lines), measured(cluster, api, lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=(20, 200), help="numbers of lines")
    few, many = parser.parse_args().sizes
    first_and_second(1)  # imports and caches
    results = {size: first_and_second(size) for size in (few, many)}
    for index, which in enumerate(("first apply", "second apply")):
        for name in results[few][index]:
            small, large = results[few][index][name], results[many][index][name]
            print(f"{which:12}  {name:8}  {few}: {small:.5f}  {many}: {large:.5f}  ratio {large / small:.2f}")


if __name__ == "__main__":
    main()
