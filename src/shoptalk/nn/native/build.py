"""Compiles the kernels of this folder on first use, with the user's own C++ compiler, and opens them.

Without a compiler or a writable cache folder, or if anything else fails, there is no library, and callers use torch's
own operations.

The compiled file lies in a cache folder of the user under a name that is a hash of sources, compiler, flags and
processor, so that a home shared between machines, or a new version, never meets code made for another. Beside it lies
its own hash: a damaged file is rebuilt, never loaded. What is opened here is used only once it has agreed with torch
(`use.py`).
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_double, c_float, c_int, c_int64, c_uint64, c_void_p
from pathlib import Path

from shoptalk.nn.native.handle import Library

SOURCES = Path(__file__).parent
COMPILERS = ("g++", "clang++", "c++")
KEPT = 4
"""Libraries that stay in the cache folder: another version, or another machine that shares it, may need one again."""

# Contraction to fused multiply-adds is wanted. The other liberties of -ffast-math are not: NaN must come through, and
# the rounding trick in exp must not be reassociated away.
_FLAGS = ("-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-fPIC")
_HIDDEN = ("-fvisibility=hidden",)
_SECONDS = 120

# Arguments of every exported function, in the order of the sources.
_DOCUMENTS = (c_void_p, c_void_p, c_int64)
_DROPOUT = (c_double, c_uint64)
_SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "set_fork": (None, (c_void_p,)),
    "gelu": (None, (c_int, c_void_p, c_void_p, c_int64, c_int)),
    "gelu_backward": (None, (c_int, c_void_p, c_void_p, c_void_p, c_int64, c_int)),
    "dropout": (None, (c_int, c_void_p, c_void_p, c_int64, *_DROPOUT, c_int)),
    "layer_norm_blocks": (c_int64, (c_int64,)),
    "layer_norm": (None, (c_int, c_int, *(c_void_p,) * 7, c_int64, c_int64, c_float, *_DROPOUT, c_int)),
    "layer_norm_backward": (None, (c_int, c_int, *(c_void_p,) * 11, c_int64, c_int64, *_DROPOUT, c_int)),
    "attention": (c_int64, (c_int, *(c_void_p,) * 3, *_DOCUMENTS, *(c_int64,) * 3, *_DROPOUT, c_int)),
    "attention_backward": (None, (c_int, *(c_void_p,) * 4, *_DOCUMENTS, *(c_int64,) * 3, *_DROPOUT, c_int)),
    "segment_softmax": (c_int64, (c_int, *(c_void_p,) * 5, *(c_int64,) * 3, c_float, *_DROPOUT, c_int)),
    "segment_softmax_backward": (None, (c_int, *(c_void_p,) * 6, *(c_int64,) * 3, c_float, *_DROPOUT, c_int)),
    "segment_mean": (c_int64, (c_int, c_void_p, c_void_p, *_DOCUMENTS, c_int64, c_int64, c_int)),
    "few_rows": (c_int64, (c_int, *(c_void_p,) * 3, *(c_int64,) * 3, c_int)),
    "llama_step": (
        c_int64,
        (c_int, *(c_void_p,) * 5, c_float, c_void_p, c_int64, c_void_p, c_int64, c_void_p, c_int),
    ),
    "cross_entropy_blocks": (c_int64, (c_int64,)),
    "cross_entropy": (c_int64, (c_int, *(c_void_p,) * 6, c_int64, c_int64, c_float, c_int)),
    "segment_mean_backward": (None, (c_int, c_void_p, c_void_p, *_DOCUMENTS, c_int64, c_int64, c_int)),
}


def cache_folder() -> Path:
    """The user's folder for compiled kernels: below XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache")).expanduser() / "shoptalk" / "native"


def build(folder: Path) -> Library | None:
    """Open the kernels from `folder`, compiling them into it where they are missing or damaged; None on any failure."""
    compiler = _compiler()
    if compiler is None:
        return None
    # OSError: folder or compiler. SubprocessError: it failed or hangs. AttributeError: a symbol is missing.
    # RuntimeError: no home folder. ImportError: no file locks (Windows).
    with contextlib.suppress(OSError, subprocess.SubprocessError, AttributeError, RuntimeError, ImportError):
        sources = sorted(SOURCES.glob("*.cpp"))
        path = folder / f"kernels-{_key(compiler)}.so"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _intact(path):
            with _locked(path.with_suffix(".lock")):
                if not _intact(path):  # another process may just have finished it
                    _compile(compiler, sources, path)
                    _prune(folder, path)
        return _open(path)
    return None


def _compiler() -> str | None:
    chosen = os.environ.get("CXX")
    names = [chosen] if chosen else COMPILERS
    return next((path for path in map(shutil.which, names) if path), None)


def _flags() -> tuple[str, ...]:
    # Clang knows Apple's processors under -mcpu only.
    native = "-mcpu=native" if platform.machine() in {"arm64", "aarch64"} else "-march=native"
    return (*_FLAGS, *_HIDDEN, native)


def _key(compiler: str) -> str:
    """What the compiled code depends on, as a short hash."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, timeout=_SECONDS).stdout
    digest = hashlib.sha256(version)
    for text in (*_flags(), *_processor()):
        digest.update(text.encode() + b"\0")
    for source in sorted([*SOURCES.glob("*.cpp"), *SOURCES.glob("*.h")]):
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:24]


def _processor() -> tuple[str, ...]:
    """What -march=native looks at."""
    facts = [sys.platform, platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        fields = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
        facts += sorted({line for line in lines if line.startswith(fields)})
    return tuple(facts)


def _compile(compiler: str, sources: list[Path], path: Path) -> None:
    """Write the shared library, then its hash; both appear under their names at once or not at all."""
    with tempfile.TemporaryDirectory(dir=path.parent) as work:
        objects = [Path(work) / f"{source.stem}.o" for source in sources]

        def compile_one(source: Path, target: Path) -> None:
            _run([compiler, *_flags(), "-c", str(source), "-o", str(target)])

        with ThreadPoolExecutor(min(len(sources), os.cpu_count() or 1)) as pool:
            list(pool.map(compile_one, sources, objects))
        library = Path(work) / "kernels.so"
        _run([compiler, "-shared", *map(str, objects), "-o", str(library)])
        mark = Path(work) / "kernels.sha256"
        mark.write_text(_digest(library), encoding="ascii")
        library.replace(path)
        mark.replace(path.with_suffix(".sha256"))


def _prune(folder: Path, used: Path) -> None:
    """Delete all but the newest libraries and the one in use. A process that has a deleted one open can keep it."""
    others = [path for path in folder.glob("kernels-*.so") if path != used]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[KEPT - 1 :]:
        for suffix in (".so", ".sha256", ".lock"):
            path.with_suffix(suffix).unlink(missing_ok=True)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=_SECONDS)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _intact(path: Path) -> bool:
    # Opening a truncated library can kill the process, so its bytes are checked before.
    try:
        return path.with_suffix(".sha256").read_text(encoding="ascii", errors="replace") == _digest(path)
    except OSError:
        return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with its holder, however that ends."""
    import fcntl

    with path.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(path: Path) -> Library:
    handle = ctypes.CDLL(str(path))
    functions = {}
    for name, (result, arguments) in _SIGNATURES.items():
        functions[name] = handle[f"shoptalk_{name}"]
        functions[name].restype, functions[name].argtypes = result, arguments
    fork = _torch_fork()
    functions["set_fork"](fork)
    return Library(path=path, shared_pool=fork is not None, functions=functions)


def _torch_fork() -> int | None:
    """The address of the GOMP_parallel that libtorch calls: first what the whole process sees, then torch's own."""
    import torch  # here, so that compiling alone does not take the seconds that torch takes to import

    libtorch = next((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"), None)
    for place in (None, str(libtorch) if libtorch else None):
        with contextlib.suppress(OSError, AttributeError):
            return ctypes.cast(ctypes.CDLL(place).GOMP_parallel, c_void_p).value
    return None
