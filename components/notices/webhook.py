"""Posts notices to a webhook, whose address is a secret: it is read from a mounted file and never shown.

`VIGIL_WEBHOOK_DIR` names the folder of the mounted Secret: its file `url` holds the address, its file `format`, if
there is one, `slack` (the default: one text, as Slack, Mattermost and others take it) or `plain` (every field as JSON).
A webhook that does not answer stops nothing.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from components import __version__
from components.errors import InputError, check
from components.storage.network import BUSY, pool, wait_before

logger = logging.getLogger(__name__)

FOLDER = "VIGIL_WEBHOOK_DIR"
SLACK, PLAIN = "slack", "plain"
ATTEMPTS = 4
_SECONDS = 10.0
_MOST_LETTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One message about a line."""

    line: str
    event: str
    """`finished`, `failed`, `silent` or `overdue`."""
    text: str
    """One line for people."""
    run_id: str = ""
    link: str = ""
    """Page of the run."""
    facts: Mapping[str, str] = field(default_factory=dict)

    def body(self, form: str) -> dict[str, Any]:
        """JSON of the request."""
        if form == PLAIN:
            return {**asdict(self), "text": self.text[:_MOST_LETTERS], "vigil": __version__}
        text = f"*{_escaped(self.line)}* {self.event}: {_escaped(self.text[:_MOST_LETTERS])}"
        return {"text": f"{text} <{self.link}|run>" if self.link else text}


@dataclass(frozen=True, kw_only=True)
class Webhook:
    """Where notices go."""

    url: str = field(repr=False)
    form: str = SLACK

    def post(self, notice: Notice) -> bool:
        """Post a notice, up to four times, and return whether it was taken.

        What goes wrong is one warning, without the address. Redirects are not followed. urllib3's own retries would log
        the address.
        """
        body, headers = json.dumps(notice.body(self.form)).encode(), {"Content-Type": "application/json"}
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                wait_before(attempt)
            try:
                with pool(self.url) as connections:
                    options: dict[str, Any] = {"retries": False, "timeout": _SECONDS, "redirect": False}
                    answer = connections.request("POST", self.url, body=body, headers=headers, **options)
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:  # its text holds the address
                outcome = type(error).__name__
                continue
            if answer.status < 300:
                return True
            outcome = f"HTTP {answer.status}"
            if answer.status not in BUSY:
                break
        logger.warning("webhook: a notice about %s was not taken (%s)", notice.line, outcome)
        return False


def webhook_of(folder: str | Path) -> Webhook:
    """The webhook that the files of a folder describe; `InputError` says what is wrong, without the address."""
    directory = Path(folder)
    check((directory / "url").is_file(), FOLDER, str(folder), "a folder with a file url")
    url = (directory / "url").read_text(encoding="utf-8", errors="replace").strip()
    form = (directory / "format").read_text(encoding="utf-8").strip() if (directory / "format").is_file() else SLACK
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or len(url.split()) != 1:
        raise InputError(f"{directory / 'url'}: holds no address, expected one http(s)://HOST/PATH")
    check(form in (SLACK, PLAIN), str(directory / "format"), form, f"{SLACK} or {PLAIN}")
    return Webhook(url=url, form=form)


def notify(notice: Notice) -> bool:
    """Post a notice by the webhook of the environment; whether it was taken. Without one, nothing happens."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return False
    try:
        webhook = webhook_of(folder)
    except (InputError, OSError) as error:
        logger.warning("webhook: a notice about %s was not sent: %s", notice.line, error)
        return False
    return webhook.post(notice)


def _escaped(text: str) -> str:
    """A text without what Slack takes for markup, in one line."""
    shown = " ".join(text.split())
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
