"""Figures of lines for Prometheus, read from MLflow now and then and given out at each scrape."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from components.errors import without_credentials
from components.registry.history import FINISHED, RUNNING, LineHistory, read_history

if TYPE_CHECKING:
    from prometheus_client.core import Metric

logger = logging.getLogger(__name__)

_CHAMPION = "champion"
_STATES = (FINISHED, "FAILED", "KILLED", RUNNING)
_HELP = {
    "vigil_line_last_success_timestamp_seconds": "Start of the last run that finished.",
    "vigil_line_last_run_timestamp_seconds": "Start of the last run.",
    "vigil_line_last_run_failed": "Whether the last run that ended failed.",
    "vigil_line_champion_metric": "The champion's figure by which the line is gated.",
    "vigil_line_champion_timestamp_seconds": "When the champion was registered.",
    "vigil_line_drift": "Whether the last measurement of drift asks to train again.",
    "vigil_line_drift_timestamp_seconds": "Start of the last measurement of drift.",
}


class LineCollector(Collector):
    """What is known of the lines, for Prometheus's client library."""

    def __init__(self, uri: str, days: int) -> None:
        """Know nothing yet; runs of so many days will be read."""
        self._uri, self._days = uri, days
        self._lines: Sequence[LineHistory] = ()
        self._read_at, self._up = 0.0, False

    def read(self) -> None:
        """Read all lines from MLflow; where it does not answer, what was read stays, and `vigil_mlflow_up` is 0."""
        try:
            self._lines = read_history(self._uri, None, datetime.now(UTC) - timedelta(days=self._days))
        except (OSError, RuntimeError, ValueError) as error:
            self._up = False
            logger.warning("MLflow does not answer (%s)", without_credentials(str(error)))
        else:
            self._up, self._read_at = True, time.time()

    def read_every(self, seconds: float, stopped: Callable[[float], bool]) -> None:
        """Read again and again, until `stopped`, which waits so long, says so."""
        while not stopped(seconds):
            self.read()

    def collect(self) -> "Iterator[Metric]":
        """The figures as they were last read."""
        yield GaugeMetricFamily("vigil_mlflow_up", "Whether MLflow answered the last reading.", float(self._up))
        yield GaugeMetricFamily("vigil_read_timestamp_seconds", "When MLflow was last read.", self._read_at)
        runs = GaugeMetricFamily("vigil_line_runs", "Runs that are read, by state.", labels=["line", "state"])
        figures = {name: GaugeMetricFamily(name, text, labels=_labels(name)) for name, text in _HELP.items()}
        for line in self._lines:
            for state in _STATES:
                runs.add_metric([line.line, state.lower()], sum(run.status == state for run in line.runs))
            for name, labels, value in _figures(line):
                figures[name].add_metric([line.line, *labels], value)
        yield runs
        yield from figures.values()


def _labels(name: str) -> list[str]:
    return ["line", "metric", "version"] if name == "vigil_line_champion_metric" else ["line"]


def _figures(line: LineHistory) -> Iterator[tuple[str, list[str], float]]:
    """Name, labels beside the line, and value of what is known of a line."""
    finished = [run for run in line.runs if run.status == FINISHED]
    ended = [run for run in line.runs if run.status != RUNNING]
    if finished:
        yield "vigil_line_last_success_timestamp_seconds", [], finished[0].started.timestamp()
    if line.runs:
        yield "vigil_line_last_run_timestamp_seconds", [], line.runs[0].started.timestamp()
    if ended:
        yield "vigil_line_last_run_failed", [], float(ended[0].status != FINISHED)
    champion = next((version for version in line.versions if _CHAMPION in version.aliases), None)
    if champion:
        yield "vigil_line_champion_timestamp_seconds", [], champion.created.timestamp()
        name, _, value = champion.metric.partition("=")
        if value:
            yield "vigil_line_champion_metric", [name, str(champion.number)], float(value)
    if line.drift:
        yield "vigil_line_drift", [], float(line.drift[0].retrain)
        yield "vigil_line_drift_timestamp_seconds", [], line.drift[0].started.timestamp()


def serve(uri: str, *, host: str, port: int, seconds: float, days: int, stop: threading.Event | None = None) -> Any:
    """Serve `/metrics` until `stop` is set, and read MLflow every so many seconds in between; blocks."""
    from prometheus_client import CollectorRegistry, start_http_server

    collector, registry, stop = LineCollector(uri, days), CollectorRegistry(), stop or threading.Event()
    collector.read()
    registry.register(collector)
    server, thread = start_http_server(port, host, registry)
    try:
        collector.read_every(seconds, stop.wait)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
