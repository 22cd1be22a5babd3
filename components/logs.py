"""Log lines of the stages and of the command line: one format, on standard error.

A line is `[vigil] MESSAGE`, so that a reader of a pod's log, and the console of a local run, find ours among the rest.
A stage's messages begin with its name:

    [vigil] vqgan: started
    [vigil] vqgan: step 12/400, 95 s left, total=0.41 mse=0.02
    [vigil] vqgan: done in 98.2 s
    [vigil] vqgan: input-error: MESSAGE      what the user gave is wrong
    [vigil] vqgan: failure: MESSAGE          anything else
"""

import logging
import os
import sys

from components.errors import without_credentials

PREFIX = "[vigil]"
VERBOSE = "VIGIL_VERBOSE"
"""Environment variable that lets debug lines appear, in the tasks of a local run too; set by `vigil --verbose`."""


class _StandardError(logging.Handler):
    """Prints to what is standard error at that moment, without the credentials that addresses hold."""

    def emit(self, record: logging.LogRecord) -> None:
        print(without_credentials(self.format(record)), file=sys.stderr, flush=True)


def configure_logging() -> None:
    """Print what both packages log; called again, only the level may change."""
    handler = _StandardError()
    handler.setFormatter(logging.Formatter(f"{PREFIX} %(message)s"))
    for package in ("components", "pipelines"):
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(logging.DEBUG if os.environ.get(VERBOSE) else logging.INFO)
        logger.propagate = False  # KFP and MLflow have handlers of their own on the root logger
