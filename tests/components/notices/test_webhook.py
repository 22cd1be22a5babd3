"""Notices to a webhook over HTTP: retries, what it gets, and that its address is never shown."""

from pathlib import Path

import pytest

from components import __version__
from components.errors import InputError
from components.notices import webhook as module
from components.notices.webhook import FOLDER, Notice, notify, webhook_of
from tests.components.notices.hooks import SECRET_PATH, webhook

NOTICE = Notice(
    line="bolts",
    event="failed",
    text="vqgan failed:\n<loss> & more",
    run_id="r1",
    link="http://kf/r1",
    facts={"a": "b"},
)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "wait_before", lambda attempt: None)


def test_slack_gets_one_escaped_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        monkeypatch.setenv(FOLDER, str(hook.folder(tmp_path)))
        assert notify(NOTICE)
    (posted,) = hook.posted
    assert posted == {"text": "*bolts* failed: vqgan failed: &lt;loss&gt; &amp; more <http://kf/r1|run>"}


def test_plain_gets_every_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with webhook() as hook:
        monkeypatch.setenv(FOLDER, str(hook.folder(tmp_path, "plain")))
        assert notify(NOTICE)
    (posted,) = hook.posted
    assert posted["facts"] == {"a": "b"}
    assert (posted["line"], posted["event"], posted["run_id"]) == ("bolts", "failed", "r1")
    assert (posted["link"], posted["vigil"]) == ("http://kf/r1", __version__)


def test_busy_webhook_is_asked_again(tmp_path: Path) -> None:
    with webhook([503, 429, 200]) as hook:
        assert webhook_of(hook.folder(tmp_path)).post(NOTICE)
    assert len(hook.posted) == 3


@pytest.mark.parametrize(("statuses", "posted"), [([500], module.ATTEMPTS), ([404], 1), ([302], 1)])
def test_refusal_is_one_warning_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, statuses: list[int], posted: int
) -> None:
    with webhook(statuses) as hook:
        assert not webhook_of(hook.folder(tmp_path)).post(NOTICE)
    assert len(hook.posted) == posted
    assert f"HTTP {statuses[0]}" in caplog.text
    assert SECRET_PATH not in caplog.text


def test_dead_webhook_is_one_warning_without_the_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with webhook() as hook:
        folder = hook.folder(tmp_path)
    monkeypatch.setenv(FOLDER, str(folder))
    assert not notify(NOTICE)
    assert "was not taken (NewConnectionError)" in caplog.text
    assert "secret-token" not in caplog.text
    assert "secret-token" not in repr(webhook_of(folder))


def test_wrong_files_name_the_file_and_no_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("hooks.example/secret-token", encoding="utf-8")
    with pytest.raises(InputError, match="holds no address") as caught:
        webhook_of(tmp_path)
    assert "secret-token" not in str(caught.value)
    (tmp_path / "url").write_text("https://hooks.example/secret-token", encoding="utf-8")
    (tmp_path / "format").write_text("xml", encoding="utf-8")
    with pytest.raises(InputError, match="got 'xml', expected slack or plain"):
        webhook_of(tmp_path)
    monkeypatch.setenv(FOLDER, str(tmp_path / "none"))
    assert not notify(NOTICE)
    assert "was not sent: VIGIL_WEBHOOK_DIR" in caplog.text


def test_without_a_webhook_nothing_is_sent() -> None:
    assert not notify(NOTICE)
