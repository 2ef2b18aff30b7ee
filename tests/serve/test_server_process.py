"""The real process on a real run: it is killed and loses nothing, ends gracefully, and is backed up while it serves."""

import contextlib
import functools
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import command_line
from tests.assistant.small_run import documents_of_harbour, small_run
from tests.assistant.test_translator import GOOD, saved

QUESTION = "How much is it to take a bicycle?"


class Process:
    """`shoptalk serve` on one port, started again and again."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.port = "0"
        self.child: subprocess.Popen[str] | None = None

    def start(self) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "SHOPTALK_KEY"}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "shoptalk", "serve", str(self.run), "--port", self.port],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.child.stderr is not None
        line = next((line for line in self.child.stderr if not line.startswith("Knowledge: ")), "")
        match = re.search(r"at (http://127\.0\.0\.1:(\d+)) \(ready in", line)
        assert match, line + self.child.stderr.read()
        self.port = match[2]
        return match[1]

    def end(self, how: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(how)
        self.child.communicate(timeout=60)
        return self.child.returncode


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    run = small_run(tmp_path / "run", documents_of_harbour("luggage-and-bicycles.md"))
    process = Process(run)
    yield process
    if process.child is not None and process.child.poll() is None:
        process.end(signal.SIGKILL)


def ask(address: str, text: str, key: str, conversation: str | None = None) -> Any:
    """Until it is answered, however often the server goes away meanwhile."""
    for _ in range(300):
        try:
            body = {"text": text, "conversation": conversation}
            response = httpx2.post(f"{address}/v1/reply", json=body, headers={"Idempotency-Key": key}, timeout=30)
        except httpx2.TransportError:
            time.sleep(0.1)
            continue
        assert response.status_code == 200, response.text
        return response.json()
    raise AssertionError("never answered")


@pytest.mark.slow
def test_nothing_that_was_accepted_is_lost_or_answered_twice_when_the_process_is_killed(process: Process) -> None:
    address = process.start()
    told: dict[str, str] = {}
    stop = threading.Event()

    def visit(who: int) -> None:
        for number in range(1000):
            if stop.is_set():
                return
            key = f"{who}-{number}"
            told[key] = ask(address, f"{QUESTION} {key}", key)["message"]

    visitors = [threading.Thread(target=visit, args=(who,)) for who in range(4)]
    for visitor in visitors:
        visitor.start()
    for _ in range(3):
        time.sleep(1.0)
        process.end(signal.SIGKILL)
        process.start()
    time.sleep(1.0)
    stop.set()
    for visitor in visitors:
        visitor.join()
    process.end(signal.SIGTERM)
    with sqlite3.connect(process.run / "serve.db") as connection:
        rows = connection.execute("SELECT idempotency_key, answered_by FROM message WHERE role = 'visitor'").fetchall()
        replies = connection.execute("SELECT count(*) FROM message WHERE role = 'assistant'").fetchone()[0]
    connection.close()
    assert dict(rows) == told and len(rows) == len(told) == replies


@pytest.mark.slow
def test_a_process_that_is_told_to_stop_answers_what_it_accepted(process: Process) -> None:
    address = process.start()
    conversation = ask(address, QUESTION, "first")["conversation"]
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(ask(address, "And a dog?", "second", conversation)))
    waiting.start()  # its turn stays open for two seconds
    time.sleep(0.5)
    began = time.monotonic()
    process.end(signal.SIGTERM)
    waiting.join()
    assert answers[0]["message"] and time.monotonic() - began < 8


@pytest.mark.slow
def test_a_backup_of_a_run_that_is_being_served_is_put_back_whole(process: Process, tmp_path: Path) -> None:
    def shoptalk(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "shoptalk", *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    address = process.start()
    conversation = ask(address, QUESTION, "before")["conversation"]
    saved = shoptalk("backup", process.run, "--out", tmp_path / "saved.zip")
    assert saved.returncode == 0, saved.stderr
    ask(address, QUESTION, "after")
    refused = shoptalk("restore", process.run, tmp_path / "saved.zip")
    assert refused.returncode == 2 and "Stop it" in refused.stderr
    process.end(signal.SIGTERM)
    restored = shoptalk("restore", process.run, tmp_path / "saved.zip", "--json")
    assert restored.returncode == 0 and json.loads(restored.stdout)["restored"] == 2, restored.stderr
    address = process.start()
    assert len(httpx2.get(f"{address}/v1/conversations/{conversation}").json()["messages"]) == 2
    with sqlite3.connect(process.run / "serve.db") as connection:
        assert connection.execute("SELECT count(*) FROM message").fetchone()[0] == 2
    connection.close()


@pytest.mark.slow
def test_what_the_guide_shows_works_as_written(process: Process) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
    address = process.start()
    shown = {language: re.findall(rf"```{language}\n(.*?)```", guide, re.S)[0] for language in ("sh", "py")}
    here = {language: text.replace("http://127.0.0.1:8000", address) for language, text in shown.items()}
    asked = subprocess.run(["sh", "-c", here["sh"]], capture_output=True, text=True, timeout=60, check=True)
    answer = json.loads(asked.stdout)
    assert "4 crowns" in answer["text"] and answer["sources"][0]["document"] == "documents/luggage-and-bicycles.md"
    client = subprocess.run([sys.executable, "-c", here["py"]], capture_output=True, text=True, timeout=60, check=True)
    assert "4 crowns" in client.stdout and "Luggage and bicycles" in client.stdout


def test_a_backup_holds_calibration_rules_and_logo_and_names_what_it_lacks(tmp_path: Path) -> None:
    from shoptalk.artifact import create, open_artifact
    from shoptalk.serve.backups import back_up, put_back
    from shoptalk.serve.database import Database, sqlite_url

    run, other = tmp_path / "run", tmp_path / "other"
    (run / "looks").mkdir(parents=True)
    other.mkdir()
    Database(sqlite_url(run / "serve.db")).close()
    settings = '[assistant]\nrules = "rules.toml"\nlogo = "looks/logo.svg"\n'
    files = {"assistant.toml": settings, "rules.toml": "rule = []\n", "looks/logo.svg": "<svg/>"}
    for name, text in files.items():
        (run / name).write_text(text, encoding="utf-8")
    with create(run / "calibration", kind="calibration", config={}, parents={}) as folder:
        (folder / "calibration.json").write_text("{}", encoding="utf-8")
    assert back_up(run, tmp_path / "saved.zip")["left_out"] == []
    (other / "rules.toml").write_text("rule = [1]\n", encoding="utf-8")
    assert put_back(other, tmp_path / "saved.zip")["restored"] == 5
    assert open_artifact(other / "calibration") == open_artifact(run / "calibration")
    assert {name: (other / name).read_text(encoding="utf-8") for name in files} == files
    assert (other / "rules.toml.before-restore").read_text(encoding="utf-8") == "rule = [1]\n"
    (run / "assistant.toml").write_text(settings + "[srve]\n", encoding="utf-8")  # which nothing that serves would take
    back_up(run, tmp_path / "misspelt.zip")
    assert {"rules.toml", "looks/logo.svg"} <= set(zipfile.ZipFile(tmp_path / "misspelt.zip").namelist())
    (run / "assistant.toml").write_text('[assistant]\nrules = "../rules.toml"\n', encoding="utf-8")
    assert back_up(run, tmp_path / "not" / "there" / "yet.zip")["files"] > 0
    assert back_up(run, tmp_path / "again.zip")["left_out"] == ["../rules.toml"]


def test_a_restore_that_is_killed_at_any_moment_leaves_a_whole_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shoptalk.serve import backups
    from shoptalk.serve.database import Database, new_site, sqlite_url

    run = tmp_path / "run"
    run.mkdir()
    database = Database(sqlite_url(run / "serve.db"))
    backups.back_up(run, tmp_path / "saved.zip")
    database.write_now(lambda session: session.add(new_site("later", "Later", ())))
    left: list[list[str]] = []
    replace = Path.replace

    def watched(path: Path, target: Path) -> Path:
        rows = sqlite3.connect(f"file:{run / 'serve.db'}?mode=ro", uri=True)
        with contextlib.closing(rows):
            left.append([row[0] for row in rows.execute("SELECT id FROM site")])
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", watched)
    database.close()
    backups.put_back(run, tmp_path / "saved.zip")
    assert left[0] == ["later", "main"]  # until the other takes its place
    with contextlib.closing(sqlite3.connect(run / "serve.db")) as rows:
        assert [row[0] for row in rows.execute("SELECT id FROM site")] == ["main"]


def test_a_file_that_is_no_backup_is_refused(tmp_path: Path) -> None:
    import zipfile

    from shoptalk.errors import InputError
    from shoptalk.serve.backups import put_back

    run = tmp_path / "run"
    run.mkdir()
    for names in (
        ["serve.db", "../evil"],
        ["/etc/passwd"],
        ["serve.db", "encoder/model"],
        ["knowledge/x"],
        ["serve.db", "a/../../x.toml"],
    ):
        with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
            for name in names:
                archive.writestr(name, "x")
        with pytest.raises(InputError, match="no backup"):
            put_back(run, tmp_path / "bad.zip")
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be read"):
        put_back(run, tmp_path / "bad.zip")
    with pytest.raises(InputError, match=r"nowhere is no folder\. Give the folder of a run"):
        put_back(tmp_path / "nowhere", tmp_path / "bad.zip")


def test_keys_are_made_listed_and_revoked_on_the_command_line(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    call = functools.partial(command_line.call, capsys, monkeypatch)
    run = tmp_path / "run"
    run.mkdir()
    made = json.loads(call("keys", run, "--add", "desk", "--scopes", "agent,chat", "--json")[1])
    assert made["key"].startswith("st_")
    site = json.loads(call("keys", run, "--site", "shop", "--origin", "https://shop.example", "--json")[1])["sites"][1]
    assert site["origins"] == ["https://shop.example"] and site["public_key"].startswith("pk_")
    listed = call("keys", run)[1]
    assert "desk" in listed and made["key"] not in listed
    (key,) = made["sites"][0]["keys"]
    assert "revoked" in call("keys", run, "--revoke", key["id"])[1]
    assert call("keys", run, "--add", "x", "--scopes", "everything")[0] == 2
    assert call("keys", run, "--site", "shop", "--origin", "shop.example/path")[0] == 2


def test_serve_refuses_what_cannot_be_served_and_says_why(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("SHOPTALK_KEY", raising=False)
    call = functools.partial(command_line.call, capsys, monkeypatch)
    assert "no folder" in call("serve", tmp_path / "none", "--port", 0)[2]
    assert "not the folder of a finished run" in call("serve", tmp_path, "--port", 0)[2]
    assert not list(tmp_path.iterdir())  # and nothing is left in it
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "manifest.json").write_text("{}", encoding="utf-8")
    status, _, error = call("serve", tmp_path, "--port", 0, "--host", "0.0.0.0")
    assert status == 2 and "SHOPTALK_KEY" in error
    (tmp_path / "assistant.toml").write_text("[serve]\nturn_second = 1\n", encoding="utf-8")
    assert "Did you mean" in call("serve", tmp_path, "--port", 0)[2]


@pytest.mark.slow
def test_the_start_says_that_threads_are_translated_and_then_they_are(process: Process) -> None:
    saved(process.run, GOOD)
    address = process.start()
    assert process.child is not None and process.child.stderr is not None
    told = [process.child.stderr.readline() for _ in range(2)]
    assert told[0].startswith("The run has no head") and "desk, de to en: chrF 56.1" in told[1]
    assert httpx2.get(f"{address}/readyz").json()["remarks"] == [line.strip() for line in told]
    conversation = ask(address, QUESTION, "translated")["conversation"]
    answer = httpx2.get(f"{address}/v1/conversations/{conversation}/translation", timeout=60)
    assert answer.status_code == 200 and len(answer.json()["data"]) == 2, answer.text
