"""The browser of the tests."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import PROGRAMS, Browser, chromium, find_chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A tab of a headless Chromium."""
    program = find_chromium()
    if program is None:
        pytest.skip(f"none of {', '.join(PROGRAMS)} is installed (Debian: apt-get install chromium)")
    with chromium(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab
