"""The kernels for this process: opened or compiled at the first call, and checked against torch before use."""

import functools
import sys

from shoptalk.nn.native.build import build, cache_folder
from shoptalk.nn.native.check import disagreement
from shoptalk.nn.native.handle import Library, in_use, put_into_use, wanted


def library() -> Library | None:
    """The kernels, compiled first if need be (a few seconds, once per machine); None where that is not possible."""
    if not wanted():
        return None
    return in_use() or _library()


@functools.cache
def _library() -> Library | None:
    proven = checked(build(cache_folder()))
    if proven is not None:
        put_into_use(proven)
    return proven


def checked(candidate: Library | None) -> Library | None:
    """The same library; where it computes something wrong it is None, and one line on standard error says so."""
    wrong = None if candidate is None else disagreement(candidate)
    if wrong is None:
        return candidate
    sys.stderr.write(
        f"shoptalk: the compiled CPU kernels are wrong on this machine ({wrong}), so torch's own, slower operations "
        "are used. Please report it with the processor and the compiler. Set CXX to try another compiler, or "
        "SHOPTALK_NATIVE=0 to do without the kernels.\n"
    )
    return None
