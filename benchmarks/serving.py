"""A server under load: `python -m benchmarks.serving RUN [--passages 100000 --folder FOLDER] [--seconds 600]`.

Visitors of four kinds arrive at a steady rate: 70 % ask, 20 % follow up, 8 % ask for a person and are answered by one,
2 % break off and come back for their reply. Two parts, each for so many seconds:

    calm      nothing is killed, no language model: how long replies take, how much memory is held
    killed    SIGKILL falls at random moments, and a mock language model words the answers (`benchmarks/mock_model.py`)

In both, at the end every accepted message must have exactly one stored reply, the one that its visitor was told, and no
response may have been a 5xx. With `--passages` the run is one with so many passages, made in `--folder` once
(`benchmarks/serving_passages.py`); without it, RUN as it is.

    figures                 of
    p50, p99                replies whose connection held (no kill fell into them), from sending to the whole body
    p50, p99 extractive     those of them that are answers from the documents, worded by no language model
    p50, p99 while up       all of them but those sent in the two seconds after a restart
    memory                  resident, of all processes of the server together, the most that was seen
"""

import argparse
import asyncio
import collections
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.mock_model import MockModel, knobs_of
from benchmarks.retrieval_serving import HARBOUR
from benchmarks.serving_passages import large_run

QUESTIONS = (
    *(
        row["question"]
        for row in map(json.loads, (HARBOUR / "visitor_questions.jsonl").read_text("utf-8").splitlines())
    ),
    "What is the weather on Mars?",
    "Do you sell insurance for elephants?",
)
FOLLOW_UPS = ("And for a child?", "And on Sundays?", "What about the return trip?", "How much is that?")
PERSON = "I want to talk to a person, please."
KINDS = (("ask", 70), ("follow up", 20), ("hand over", 8), ("break off", 2))
PARTS = ("calm", "killed")
EMBEDDED = 8_192
"""Of a large run's texts, those that are embedded (`benchmarks/serving_passages.py`)."""
_PATIENCE = 60.0
"""Seconds after which a visitor gives up trying again: longer than any restart."""
_AFTER_RESTART = 2.0


@dataclass
class Server:
    """The process, and its address, which stays the same when it is started anew."""

    run: Path
    database: Path
    port: int
    log: Path
    config: Path
    process: subprocess.Popen[bytes] | None = None
    kills: int = 0
    ready_at: float = 0.0
    starts: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "shoptalk", "serve", str(self.run), "--port", str(self.port)]
        with self.log.open("ab") as log:
            command += ["--db", f"sqlite:///{self.database}", "--config", str(self.config)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    async def wait(self, client: httpx2.AsyncClient) -> None:
        began = time.monotonic()
        while True:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()[-2000:]
            try:
                if (await client.get(f"{self.address}/readyz")).status_code == 200:
                    break
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
        self.ready_at = time.monotonic()
        self.starts.append(self.ready_at - began)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.kills += 1

    def weigh(self) -> None:
        """Keep the largest resident memory of all its processes together."""
        assert self.process is not None
        parents: dict[int, int] = {}
        resident: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                lines = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
                parents[int(folder.name)] = int(lines["PPid"])
                resident[int(folder.name)] = int(lines.get("VmRSS", "0 kB").split()[0]) * 1024
            except (OSError, KeyError):
                continue
        family = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in family} - family:
            family |= more
        self.memory = max(self.memory, sum(resident.get(pid, 0) for pid in family))


@dataclass
class Tally:
    """What visitors met with."""

    sent: collections.Counter[str] = field(default_factory=collections.Counter)
    statuses: collections.Counter[int] = field(default_factory=collections.Counter)
    resets: int = 0
    given_up: int = 0
    seconds: list[float] = field(default_factory=list)
    extractive: list[float] = field(default_factory=list)
    """Those of `seconds` that are of answers from the documents in their own words."""
    calm: list[float] = field(default_factory=list)
    """Those of `seconds` that do not fall right after a restart."""
    paths: collections.Counter[str] = field(default_factory=collections.Counter)
    """Of the replies, how they came about."""
    told: dict[str, str | None] = field(default_factory=dict)
    """By idempotency key: the reply's id as the visitor was told it."""
    conversations: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


class Crowd:
    """The visitors, and the one person who answers those that are handed over."""

    def __init__(self, server: Server, client: httpx2.AsyncClient, rng: random.Random) -> None:
        self.server, self.client, self.rng = server, client, rng
        self.tally = Tally()
        self.number = 0
        self.said: dict[str, dict[str, Any]] = {}
        """By idempotency key, for those who have to say it again."""

    async def visit(self, kind: str) -> None:
        self.tally.sent[kind] += 1
        self.number += 1
        number = self.number
        if kind == "ask" or (kind == "follow up" and not self.tally.conversations):
            answer = await self.say(f"{self.rng.choice(QUESTIONS)} ({number})", number)
            if answer and answer["decision"] == "answer":
                self.tally.conversations.append(answer["conversation"])
        elif kind == "follow up":
            place = self.tally.conversations.pop(self.rng.randrange(len(self.tally.conversations)))
            await self.say(self.rng.choice(FOLLOW_UPS), number, conversation=place)
        elif kind == "hand over":
            answer = await self.say(PERSON, number)
            if answer and answer["decision"] == "escalate":
                await self.say("Are you there?", f"{number}-held", conversation=answer["conversation"])
                await self.send(
                    f"/v1/conversations/{answer['conversation']}/reply", {"text": "Yes, I am."}, timed=False
                )
        else:
            try:
                async with asyncio.timeout(self.rng.uniform(0.001, 0.05)):
                    await self.say(self.rng.choice(QUESTIONS), number)
            except TimeoutError:
                await asyncio.sleep(self.rng.uniform(0.2, 2.0))
                await self.say_again(number)

    async def say(self, text: str, key: object, conversation: str | None = None) -> dict[str, Any] | None:
        body = {"text": text, "conversation": conversation, "complete": True}
        self.said[str(key)] = body
        answer = await self.send("/v1/reply", body, key=str(key), timed="-held" not in str(key))
        if answer is not None:
            self.tally.told[str(key)] = answer["message"]
        return answer

    async def say_again(self, key: object) -> None:
        body = self.said[str(key)]
        await self.say(body["text"], key, body["conversation"])

    async def send(
        self, path: str, body: dict[str, Any], *, key: str | None = None, timed: bool = True
    ) -> dict[str, Any] | None:
        """Until it is answered: again after a broken connection, later after a 429."""
        ends = time.monotonic() + _PATIENCE
        headers = {} if key is None else {"Idempotency-Key": key}
        while time.monotonic() < ends:
            began = time.monotonic()
            try:
                response = await self.client.post(self.server.address + path, json=body, headers=headers)
            except httpx2.TransportError:
                self.tally.resets += 1
                timed = False
                await asyncio.sleep(0.2)
                continue
            self.tally.statuses[response.status_code] += 1
            if response.status_code == 429:
                timed = False
                await asyncio.sleep(float(response.headers["retry-after"]))
                continue
            if response.status_code >= 400:
                print(path, response.status_code, response.text[:300], file=sys.stderr)
                return None
            seconds = time.monotonic() - began
            answer: dict[str, Any] = response.json()
            path = f"{answer['decision']}, {answer['trace'].get('path', 'person')}" if "trace" in answer else "agent"
            self.tally.paths[path] += 1
            if timed:
                self.tally.seconds.append(seconds)
                if path == "answer, extractive":
                    self.tally.extractive.append(seconds)
                if began - self.server.ready_at > _AFTER_RESTART:
                    self.tally.calm.append(seconds)
            return answer
        self.tally.given_up += 1
        return None


async def drive(server: Server, *, seconds: float, rate: float, kill_every: float, seed: int) -> Tally:
    """Let visitors come, kill and start the server, and wait until all have their replies."""
    rng = random.Random(seed)
    async with httpx2.AsyncClient(timeout=30.0, limits=httpx2.Limits(max_connections=500)) as client:
        server.start()
        await server.wait(client)
        for text in QUESTIONS[:16]:  # the first batches of a process are slower; they are nobody's
            await client.post(f"{server.address}/v1/reply", json={"text": text})
        crowd = Crowd(server, client, rng)
        began = time.monotonic()
        n_kills = max(1, round(seconds / kill_every)) if kill_every else 0
        kills = sorted((began + rng.uniform(0.05, 0.95) * seconds for _ in range(n_kills)), reverse=True)
        visits: set[asyncio.Task[None]] = set()
        restart: asyncio.Task[None] | None = None
        n_arrived = 0
        while (now := time.monotonic()) - began < seconds:
            if kills and now >= kills[-1] and (restart is None or restart.done()):
                kills.pop()
                server.kill()
                server.start()
                server.ready_at = float("inf")
                restart = asyncio.create_task(server.wait(client))
            if now - began >= n_arrived / rate:
                kind = rng.choices([name for name, _ in KINDS], [weight for _, weight in KINDS])[0]
                visits.add(asyncio.create_task(crowd.visit(kind)))
                n_arrived += 1
                if n_arrived % int(max(1.0, rate)) == 0:
                    server.weigh()
            await asyncio.sleep(max(0.0, min(0.05, began + n_arrived / rate - time.monotonic())))
        await asyncio.gather(*visits)
        server.weigh()
        assert server.process is not None
        server.process.terminate()
        server.process.wait(timeout=40)
    return crowd.tally


def check(database: Path, tally: Tally) -> list[str]:
    """What is wrong with what was stored; nothing, if all is well."""
    with sqlite3.connect(database) as connection:
        rows = connection.execute(
            "SELECT m.idempotency_key, m.id, m.answered_by, r.id, r.conversation_id = m.conversation_id "
            "FROM message m LEFT JOIN message r ON r.id = m.answered_by WHERE m.role = 'visitor'"
        ).fetchall()
        unnamed = connection.execute(
            "SELECT count(*) FROM reply_trace t "
            "WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.answered_by = t.message_id)"
        ).fetchone()[0]
    connection.close()
    problems = [f"message {id} has no reply" for _, id, answer, _, _ in rows if answer is None]
    problems += [f"message {id}: its reply is not there" for _, id, answer, there, _ in rows if answer and not there]
    problems += [f"message {id}: its reply is elsewhere" for _, id, _, there, same in rows if there and not same]
    if unnamed:
        problems.append(f"{unnamed} replies answer nothing")
    keys = collections.Counter(key for key, *_ in rows if key is not None)
    problems += [f"key {key} is stored {n} times" for key, n in keys.items() if n > 1]
    stored = {key: answer for key, _, answer, _, _ in rows if key is not None}
    for key, answer in tally.told.items():
        if key not in stored:
            problems.append(f"key {key} was accepted and is not stored")
        elif answer is not None and stored[key] != answer:
            problems.append(f"key {key}: the visitor was told {answer}, stored is {stored[key]}")
    return problems


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] if seconds else float("nan")


async def _part(server: Server, model: MockModel | None, name: str, options: argparse.Namespace) -> Tally:
    kill_every = options.kill_every if name == "killed" else 0.0
    choices = {"seconds": options.seconds, "rate": options.rate, "kill_every": kill_every, "seed": options.seed}
    server.config.write_text('[assistant]\nname = "Harbour"\n', encoding="utf-8")
    if model is None:
        return await drive(server, **choices)
    async with model.listening() as address:
        generator = f'[assistant.generator]\nmodel = "{options.model}"\nbase_url = "{address}"\n'
        server.config.write_text(generator, encoding="utf-8")
        return await drive(server, **choices)


def measured(run: Path, name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The figures of one part, and the server's log."""
    model = MockModel() if name == "killed" and options.model else None
    with tempfile.TemporaryDirectory() as scratch:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        folder = Path(scratch)
        server = Server(run, folder / "serve.db", port, folder / "log", folder / "assistant.toml")
        tally = asyncio.run(_part(server, model, name, options))
        problems = check(server.database, tally)
        log = server.log.read_text(encoding="utf-8", errors="replace")
    figures: dict[str, Any] = {
        "visitors": sum(tally.sent.values()),
        "statuses": {str(status): n for status, n in sorted(tally.statuses.items())},
        "replies": dict(tally.paths.most_common()),
        "language model asked (failed)": f"{model.asked} ({model.failed})" if model else "-",
        "connections reset": tally.resets,
        "given up": tally.given_up,
        "kills": server.kills,
        "ready after, s": round(max(server.starts), 1),
    }
    for title, seconds in (("", tally.seconds), (" extractive", tally.extractive), (" while up", tally.calm)):
        for share in (0.50, 0.99):
            figures[f"p{100 * share:.0f}{title}, ms"] = round(percentile(seconds, share), 1)
    figures["memory, MB"] = round(server.memory / 1e6)
    figures["5xx"] = sum(n for status, n in tally.statuses.items() if status >= 500)
    figures["problems"] = problems[:20]
    return figures, log


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0, help="of each part")
    parser.add_argument("--rate", type=float, default=20.0, help="visitors a second")
    parser.add_argument("--kill-every", type=float, default=60.0, help="mean seconds between kills, one at least")
    parser.add_argument("--model", default="mock-first-300ms-words-40-fails-2", help="the mock's name; '' for none")
    parser.add_argument("--passages", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "shoptalk-large-run")
    parser.add_argument("--only", choices=PARTS, default=None)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.model:
        knobs_of(options.model)
    os.environ.pop("SHOPTALK_KEY", None)
    run = options.run
    if options.passages:
        run = large_run(run, options.folder, passages=options.passages, embedded=EMBEDDED)
    bad = False
    for name in PARTS if options.only is None else (options.only,):
        figures, log = measured(run, name, options)
        if options.json:
            print(json.dumps({"part": name, **figures}), flush=True)
        else:
            print(f"| {name} | value |\n|---|---|")
            print("\n".join(f"| {title} | {value} |" for title, value in figures.items()), flush=True)
        if "Traceback" in log:
            print(log[-4000:], file=sys.stderr)
        bad = bad or bool(figures["problems"] or figures["5xx"] or figures["given up"])
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
