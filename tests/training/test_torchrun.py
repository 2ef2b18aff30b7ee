"""`torchrun -m shoptalk pretrain` as docs/guides/several-machines.md tells it: killed workers, and two hosts."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shoptalk.nn.tiny import WORDS
from shoptalk.training.advance import read_log
from tests.training.test_launch import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
STEPS = 150
RELATIVE = 1e-4
"""Over so many steps at the objective's own rate, summing in another order moves losses by up to this."""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


@pytest.fixture
def command(tiny_base: Path, tmp_path: Path) -> list[str]:
    """A training whose batches have two groups or more, but for its --out; a snapshot every half second or so."""
    rng = random.Random(0)
    source = tmp_path / "turns.jsonl"
    rows = [{"id": f"c{i}", "turns": [{"role": "user", "text": " ".join(rng.sample(WORDS, 9))}]} for i in range(900)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "-m", "shoptalk", "pretrain", str(source), "--base", str(tiny_base), "--objective", "mlm", "--steps",
        str(STEPS), "--set", "objectives.mlm.batch=300", "--set", "train.snapshot_seconds=0.5", "--set",
        "train.precision=float32",
    ]  # fmt: skip


@pytest.fixture
def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def losses(folder: Path) -> list[float]:
    rows = read_log(folder)
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    return [row["loss"] for row in rows]


def uninterrupted(command: list[str], out: Path, environment: dict[str, str]) -> list[float]:
    subprocess.run([sys.executable, *command, "--out", str(out)], check=True, env=environment, capture_output=True)
    return losses(out)


def workers(torchrun: "subprocess.Popen[bytes]") -> list[int]:
    children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text(encoding="utf-8").split()
    return [int(child) for child in children if b"pretrain" in Path(f"/proc/{child}/cmdline").read_bytes()]


def rows_in(folder: Path) -> int:
    return len(read_log(folder))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_job_restarts_by_itself_when_a_worker_is_killed(
    command: list[str], environment: dict[str, str], tmp_path: Path
):
    out = tmp_path / "run"
    with (tmp_path / "said").open("wb") as said:
        job = subprocess.Popen(
            [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "2", *command, "--out", str(out)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
        )
    wait_for(lambda: rows_in(out) >= 40 and any(out.glob("step-*")), seconds=300)
    killed = workers(job)
    os.kill(killed[1], signal.SIGKILL)
    output, _ = job.communicate(timeout=300)
    assert job.returncode == 0, (tmp_path / "said").read_text()
    assert output.decode().splitlines() == [str(out / "encoder")]
    np.testing.assert_allclose(losses(out), uninterrupted(command, tmp_path / "whole", environment), rtol=RELATIVE)


# ------------------------------------------------------------------------------------------- two hosts

HOSTS = {"a": "10.99.7.1", "b": "10.99.7.2"}


@pytest.fixture
def hosts() -> Iterator[dict[str, str]]:
    """Two network namespaces and a cable between them; the name of each by letter."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and `ip netns` (iproute2)")
    names = {letter: f"shoptalk-{os.getpid()}-{letter}" for letter in HOSTS}
    made = subprocess.run(["ip", "netns", "add", names["a"]], check=False, capture_output=True)
    if made.returncode != 0:
        pytest.skip(f"no network namespaces here: {made.stderr.decode().strip()}")
    try:
        subprocess.run(["ip", "netns", "add", names["b"]], check=True)
        ends = ["type", "veth", "peer", "name", "eth-b", "netns", names["b"]]
        subprocess.run(["ip", "link", "add", "eth-a", "netns", names["a"], *ends], check=True)
        for letter, address in HOSTS.items():
            inside = ["ip", "-n", names[letter]]
            subprocess.run([*inside, "addr", "add", f"{address}/24", "dev", f"eth-{letter}"], check=True)
            for device in ("lo", f"eth-{letter}"):
                subprocess.run([*inside, "link", "set", device, "up"], check=True)
        yield names
    finally:
        for name in names.values():
            die(name)
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def die(host: str) -> None:
    """Kill what runs on a host, all at once."""
    found = subprocess.run(["ip", "netns", "pids", host], check=False, capture_output=True).stdout.split()
    for process in map(int, found):
        os.kill(process, signal.SIGKILL)


def test_two_hosts_train_together_and_go_on_when_one_dies_and_returns(
    command: list[str], environment: dict[str, str], hosts: dict[str, str], tmp_path: Path
):
    out = tmp_path / "run"
    number = itertools.count()

    def start(letter: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / f"said-{letter}-{next(number)}").open("wb") as said:
            return subprocess.Popen(
                [
                    "ip", "netns", "exec", hosts[letter], *TORCHRUN, "--nnodes", "1:2", "--nproc-per-node", "1",
                    "--max-restarts", "3", "--rdzv-backend", "c10d", "--rdzv-id", "chat", "--rdzv-endpoint",
                    f"{HOSTS['a']}:29400", "--rdzv-conf", f"is_host={letter == 'a'}", "--local-addr", HOSTS[letter],
                    *command, "--set", "train.snapshot_seconds=0.2", "--out", str(out),
                ],
                env=environment | {"GLOO_SOCKET_IFNAME": f"eth-{letter}", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
                stdout=said,
                stderr=said,
            )  # fmt: skip

    first, second = start("a"), start("b")
    wait_for(lambda: rows_in(out) >= 30 and any(out.glob("step-*")), seconds=300)
    die(hosts["b"])
    second.wait()
    at_death = rows_in(out)
    wait_for(lambda: rows_in(out) >= at_death + 10, seconds=300)
    third = start("b")
    assert first.wait(300) == 0, (tmp_path / "said-a-0").read_text()
    third.wait(300)
    np.testing.assert_allclose(losses(out), uninterrupted(command, tmp_path / "whole", environment), rtol=RELATIVE)
