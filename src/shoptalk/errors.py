"""The exceptions that Shoptalk raises on purpose.

ShoptalkError
├── InputError          the user's input is wrong: exit status 2
│   ├── SourceError     a source or labels file cannot be used
│   ├── ConfigError     a setting is unknown or out of range
│   └── BaseModelError  a model reference cannot be resolved or opened
├── DivergedError       training ran into numbers that are not finite: exit status 2
├── CollapsedError      training has made all vectors one: exit status 2
├── StorageError        the output folder cannot be written (full, read-only, in use): exit status 2
└── ArtifactError       a folder on disk is not the complete artifact it should be: exit status 2
    └── AbsentError     a file that it should hold is not there

Every message says what was given, what was expected, and what to do next. Where the machine or a limit that the user
has set ends a command (`exhausted`), that is told likewise, with exit status 2. Anything else that escapes is a bug in
Shoptalk and leaves with exit status 1.
"""

import errno
import re

_OUT_OF_MEMORY = (
    "Memory ran out. Close other programs, raise the limit (`ulimit -v`), or give a smaller model, batch or --budget; "
    "then run the same command again: finished stages are kept."
)
_EXHAUSTED = {
    errno.ENOSPC: "There is no space left where the output goes: free some and run the same command again.",
    errno.EDQUOT: "The disk quota is used up: free some space and run the same command again.",
    errno.EFBIG: "A file became larger than this process may write: raise the limit (`ulimit -f`), and run the same "
    "command again.",
    errno.EMFILE: "Too many files are open: raise the limit (`ulimit -n`), and run the same command again.",
    errno.ENFILE: "Too many files are open on this machine: close other programs, and run the same command again.",
    errno.ENOMEM: _OUT_OF_MEMORY,
}
# As torch, its allocators and the loader of libraries say it, in exceptions of no kind of their own.
_NO_MEMORY = re.compile(r"out of memory|(can't|cannot) allocate memory|not enough memory|failed to map segment", re.I)


class ShoptalkError(Exception):
    """Base of all errors raised on purpose."""


class InputError(ShoptalkError):
    """The user's input is wrong."""


class SourceError(InputError):
    """A source, labels or test file cannot be used."""


class ConfigError(InputError):
    """A setting is unknown or out of range."""


class TooLittleTextError(ConfigError):
    """There is text for fewer steps of a candidate than can be judged."""


class BaseModelError(InputError):
    """A model reference cannot be resolved or opened."""


class DivergedError(ShoptalkError):
    """Training ran into numbers that are not finite."""


class CollapsedError(ShoptalkError):
    """Training has made all vectors one."""


class StorageError(ShoptalkError):
    """The output folder cannot be written."""


class ArtifactError(ShoptalkError):
    """A folder on disk is not the complete artifact it should be."""


class AbsentError(ArtifactError):
    """A file that a folder on disk should hold is not there."""


def errno_of(error: BaseException) -> int:
    """The system's error number, 0 where there is none.

    safetensors and tokenizers, written in Rust, put it into the text of exceptions of their own; NumPy loses it.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    return errno.ENOSPC if re.fullmatch(r"\d+ requested and \d+ written", str(error)) else 0


def exhausted(error: BaseException) -> str | None:
    """What to tell people where an error is no bug but the end of what the machine has, or of what the user allows;
    None for any other.
    """
    if isinstance(error, ShoptalkError):
        return None
    if isinstance(error, MemoryError):
        return _OUT_OF_MEMORY
    advice = _EXHAUSTED.get(errno_of(error))
    if advice is None and isinstance(error, RuntimeError | ImportError | OSError) and _NO_MEMORY.search(str(error)):
        advice = _OUT_OF_MEMORY
    return advice
