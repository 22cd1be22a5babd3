"""Shorter pauses between attempts."""

from types import SimpleNamespace

import pytest


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on at once where huggingface_hub would pause for a second, five times for an attempt, and we for up to one."""
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("components.storage.network._FIRST_WAIT", 0.01)
    monkeypatch.setattr("components.storage.network._JITTER", 0.01)
