"""Tests of the log lines that a person, and the console of a local run, read."""

import logging

import pytest

from components.logs import configure_logging

LOGGERS = ("components.stage.run", "pipelines.local.run")


@pytest.mark.parametrize("name", LOGGERS)
def test_line_has_the_prefix_and_goes_to_standard_error(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger(name).info("vqgan: step %d/%d", 1, 5)
    logging.getLogger(name).debug("hidden")
    assert tuple(capsys.readouterr()) == ("", "[vigil] vqgan: step 1/5\n")


def test_configured_twice_a_line_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger(LOGGERS[0]).warning("MLflow does not answer")
    assert capsys.readouterr().err == "[vigil] MLflow does not answer\n"


def test_root_logger_of_another_library_does_not_repeat_a_line(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    configure_logging()
    logging.getLogger(LOGGERS[0]).warning("once")
    assert caplog.records == []
    assert capsys.readouterr().err == "[vigil] once\n"


def test_debug_lines_appear_by_the_environment_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIGIL_VERBOSE", "1")
    configure_logging()
    logging.getLogger(LOGGERS[0]).debug("shown")
    assert capsys.readouterr().err == "[vigil] shown\n"


def test_lines_and_tracebacks_hold_no_credentials(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logger = logging.getLogger(LOGGERS[0])
    logger.error(
        "GET %s", "http://ann:secret@mlflow:5000/api", exc_info=RuntimeError("http://ann:secret@mlflow:5000 is locked")
    )
    shown = capsys.readouterr().err
    assert shown.startswith("[vigil] GET http://mlflow:5000/api\nRuntimeError: http://mlflow:5000 is locked")
    assert "secret" not in shown
