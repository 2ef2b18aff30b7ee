import os
import subprocess
import sys

import pytest

from shoptalk.nn.waiting import SETTINGS, let_threads_sleep


def test_threads_sleep_where_the_user_said_nothing():
    environment = {"PATH": "/bin"}
    let_threads_sleep(environment)
    assert environment == {"PATH": "/bin", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_users_own_setting_wins(name: str):
    environment = {name: "ACTIVE"}
    let_threads_sleep(environment)
    assert environment == {name: "ACTIVE"}


def test_the_command_line_says_so_before_the_runtime_that_reads_it_is_loaded():
    script = (
        "import os, sys\n"
        "from shoptalk.cli import app\n"
        "app.app = lambda: print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])\n"
        "app.main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "PASSIVE"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch has another OpenMP runtime there")
def test_torchs_runtime_obeys_it():
    script = (
        "from shoptalk.nn.waiting import let_threads_sleep\n"
        "let_threads_sleep()\n"
        "import torch\n"
        "torch.ones(10**6).sum()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    environment["OMP_DISPLAY_ENV"] = "VERBOSE"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr
