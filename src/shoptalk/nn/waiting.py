"""How threads wait for each other: they spin briefly and then sleep, so that another program may have the core.

OpenMP's threads spin at the end of every loop until the last of them is there. Where another process computes, the last
one waits for its core while the others burn theirs: training falls to a third or less. Threads that sleep at once have
to be woken for every loop, which costs a tenth where nothing else runs (benchmarks/README.md). torch and the kernels of
`nn/native` run on one and the same pool of threads, so one setting is for both. The runtime reads it once, when it is
loaded with torch; this module imports none of that.
"""

import contextlib
import os
from collections.abc import Iterator, MutableMapping

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""Variables that a user may have set: of any OpenMP runtime, of GNU's (torch's on Linux), of LLVM's and Intel's."""

SPINS = 1_000
"""Turns of GNU's waiting loop before a thread sleeps, about ten microseconds; by itself it takes 300,000."""


def let_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have the threads of this process, and of the processes that it starts, sleep after `SPINS` turns of waiting.

    To be called before torch is imported. Runtimes other than GNU's have their threads sleep at once. Where the user
    has set any of `SETTINGS`, nothing is changed.
    """
    if not any(name in environment for name in SETTINGS):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
        environment["GOMP_SPINCOUNT"] = str(SPINS)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """For small products of NumPy and SciPy: their BLAS has its own threads, which spin and ignore the settings above.

    Measured with two threads on two cores that others use too, and with one: a logistic regression (1,848 texts, 384
    dimensions, 77 classes) 9.2 s and 0.3 s; singular values (512 by 384) 2.1 s and 0.02 s. Products of thousands by
    thousands take as long either way.
    """
    from threadpoolctl import threadpool_limits  # here, because starting up needs none of it

    with threadpool_limits(1, user_api="blas"):
        yield
