"""A browser, and a website beside a server that knows it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.faces.host_pages import Website, website
from tests.serve.faces.widget_tabs import QUICK, join
from tests.serve.live import live_server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from tests.chromium import open_chromium  # skips where playwright is missing

    with open_chromium() as opened:
        yield opened


@pytest.fixture
def site() -> Iterator[Website]:
    with website() as opened:
        yield opened


@pytest.fixture
def served(tmp_path: Path, site: Website) -> Iterator[Website]:
    """The website, beside a server that knows it."""
    with live_server(tmp_path, QUICK) as address:
        join(site, address)
        yield site
