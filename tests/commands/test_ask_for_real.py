"""`shoptalk ask RUN --page` as a person meets it: the command, its run on disk, and a browser."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shoptalk.adaptation import adapt
from shoptalk.config import load
from tests.chromium import open_chromium, without_chromium
from tests.commands.test_ask import SMALL, written_bank
from tests.commands.test_ask_replies import talks
from tests.conftest import Listener, SmallWorld

pytestmark = [without_chromium, pytest.mark.slow]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_bank(tmp_path_factory.mktemp("bank") / "bank.csv", 300)


@pytest.fixture(scope="module")
def finished(bank: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = SmallWorld(tmp_path_factory.mktemp("world"), labels_per_class=12)
    out = tmp_path_factory.mktemp("finished") / "run"
    config = load(overrides=SMALL, base=str(tiny_base), budget="12000tok", draws=5, shots=2, candidates=("mlm", "none"))
    adapt([world.conversations], out=out, config=config, report=Listener(), labels=world.labels)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@contextlib.contextmanager
def asking(run: Path, bank: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the address that it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "BROWSER": "true", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "shoptalk", "ask", str(run), "--bank", str(bank), "--page", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as running:
        assert running.stderr is not None
        try:
            lines = iter(running.stderr.readline, "")
            address = next(match for line in lines if (match := re.search(r"http://127\.0\.0\.1:\d+/\S+/", line)))
            yield running, address.group()
        finally:
            running.kill()


def ready(page: Any) -> None:
    page.wait_for_selector("body.ready")


def press(page: Any, key: str) -> None:
    """A key, and the page that it leads to."""
    ready(page)
    turn = page.locator("main").get_attribute("data-turn")
    page.keyboard.press(key)
    page.wait_for_selector(f"main[data-turn='{int(turn) + 1}']")


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_person_settles_a_run_by_keys_with_a_pause_between(run: Path, bank: Path) -> None:
    with open_chromium() as browser, contextlib.ExitStack() as phone:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        with asking(run, bank) as (running, address):
            page.goto(address)
            lines = (run / "asked/base-adapted/disagreements.jsonl").read_text(encoding="utf-8").splitlines()
            newer = {row["text"]: row["answers"][1] for row in map(json.loads, lines)}

            def key() -> str:
                """Of what the adapted model has answered: this person is always of its opinion."""
                options = page.locator(".options button bdi").all_inner_texts()
                return str(1 + options.index(newer[page.locator("#message").inner_text()]))

            for _ in range(3):
                press(page, key())
            assert [row["given"] for row in rows_of(run)] == ["answer"] * 3
            press(page, "u")
            press(page, "0")
            press(page, "s")
            assert [row["given"] for row in rows_of(run)] == ["answer", "answer", "none", "skip"]
            page.reload()
            assert "Question 4." in page.locator("h1").inner_text()
            running.send_signal(signal.SIGINT)
            _, errors = running.communicate(timeout=60)
            assert running.returncode == 130, errors
            page.wait_for_selector("#stopped:visible", timeout=15_000)
        running, address = phone.enter_context(asking(run, bank))
        page.set_viewport_size({"width": 1440, "height": 900})
        page.goto(address)
        assert "Question 4." in page.locator("h1").inner_text()
        for _ in range(100):
            if not page.locator("h1 .soft").count():
                break
            press(page, key())
        assert "take adapted" in page.locator("h1").inner_text()
        ready(page)
        page.get_by_role("button", name="Done: end the asking").click()
        outcome = json.loads(running.communicate(timeout=60)[0])
        assert outcome["choice"] == "adopt" and running.returncode == 0
        verdict = json.loads((run / "verdict.json").read_text(encoding="utf-8"))
        assert verdict["choice"] == "adopt" and verdict["asked"]["sentence"] == outcome["sentence"]
        assert outcome["asked"] == sum(row["given"] != "skip" and not row["again"] for row in rows_of(run))
        labels = {row["text"]: row["label"] for row in rows_of(run) if row["given"] == "answer"}
        assert all(newer[text] == label for text, label in labels.items())


def test_a_run_without_labels_asks_which_reply_fits(tiny_base: Path, tmp_path: Path) -> None:
    later, run = talks(tmp_path / "later.jsonl", 80, seed=5), tmp_path / "run"
    overrides = ["objectives.turns.batch=8", "objectives.turns.lr=0.005", "merges=[]", "task=reply"]
    config = load(overrides=overrides, base=str(tiny_base), budget="12000tok", candidates=("turns", "none"))
    adapt([talks(tmp_path / "talks.jsonl", 60, seed=2)], out=run, config=config, report=Listener())
    with open_chromium() as browser, asking(run, later) as (running, address):
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(address)
        assert "Which of these two replies fits?" in page.locator("h1").inner_text()
        lines = (run / "asked/base-adapted/disagreements.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        before = page.locator("#message .said").all_inner_texts()
        assert before[-1] in {row["context"][-1][1] for row in rows}
        replies = page.locator(".options bdi").all_inner_texts()
        assert set(replies) in [set(row["answers"]) for row in rows]
        press(page, "1")
        press(page, "0")
        page.set_viewport_size({"width": 1440, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        ready(page)
        page.get_by_role("button", name="Stop for now").click()
        outcome = json.loads(running.communicate(timeout=60)[0])
        assert (outcome["asked"], running.returncode) == (2, 0)
        assert [row["label"] for row in rows_of(run)] == [replies[0], None]


def test_two_commands_cannot_ask_about_one_run_at_once(run: Path, bank: Path) -> None:
    with asking(run, bank):
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-m", "shoptalk", "ask", str(run), "--bank", str(bank), "--page"]
        second = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
        assert second.returncode == 2 and str(run) in second.stderr and "Traceback" not in second.stderr
