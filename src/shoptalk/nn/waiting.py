"""How threads wait for each other: asleep, so that another program may have the core meanwhile.

OpenMP's threads spin at the end of every loop until the last of them is there. Where another process computes, the last
one waits for its core while the others burn theirs: training falls to a fifth (benchmarks/README.md). torch and the
kernels of `nn/native` run on one and the same pool of threads, so one setting is for both. The runtime reads it once,
when it is loaded with torch; this module imports none of that.
"""

import os
from collections.abc import MutableMapping

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""By which a user may have said it: of any OpenMP runtime, of GNU's (torch's on Linux), of LLVM's and Intel's."""


def let_threads_sleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have the threads of this process, and of those that it starts, sleep while they wait; call before torch is there.

    Where the user has set any of `SETTINGS`, it is as the user set it.
    """
    if not any(name in environment for name in SETTINGS):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
