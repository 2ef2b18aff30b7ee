import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info, threadpool_limits

from shoptalk.nn.heads.logistic import fit
from shoptalk.nn.waiting import SETTINGS, let_threads_sleep
from shoptalk.probes.rank import rankme


def test_threads_sleep_where_the_user_said_nothing():
    environment = {"PATH": "/bin"}
    let_threads_sleep(environment)
    assert environment == {"PATH": "/bin", "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}


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
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr and "GOMP_SPINCOUNT = '1000'" in done.stderr


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_small_fits_and_measures_use_one_blas_thread_and_give_the_others_back(monkeypatch: pytest.MonkeyPatch):
    seen: list[set[int]] = []
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    singular_values, fit_whole = np.linalg.svd, LogisticRegression.fit
    monkeypatch.setattr(
        np.linalg, "svd", lambda *of, **more: (seen.append(blas_threads()), singular_values(*of, **more))[1]
    )
    monkeypatch.setattr(LogisticRegression, "fit", lambda *of: (seen.append(blas_threads()), fit_whole(*of))[1])
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        rankme(vectors)
        fit(vectors, np.arange(60) % 3)
        assert seen == [{1}, {1}] and blas_threads() == before
