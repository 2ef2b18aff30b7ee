"""The peers' own environment, and how their scripts are run in it.

It is made once from benchmarks/peers/requirements.txt in $XDG_CACHE_HOME/shoptalk-benchmarks (about 1.5 GB) and used
again until that file changes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.timing import ROOT, Result, options_to_words, run_json, say

PEERS = ROOT / "benchmarks" / "peers"
REQUIREMENTS = PEERS / "requirements.txt"


def environment_folder(requirements: str) -> Path:
    """Where the environment of these requirements is, or will be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(f"{sys.version_info[:2]}{requirements}".encode()).hexdigest()[:12]
    return cache / "shoptalk-benchmarks" / f"peers-{name}"


def python() -> Path:
    """The peers' interpreter; installs their environment at the first call."""
    requirements = REQUIREMENTS.read_text(encoding="utf-8")
    folder = environment_folder(requirements)
    interpreter, finished = folder / "bin" / "python", folder / "installed"
    if not finished.exists():
        say(f"installing the peers' environment in {folder} (about 1.5 GB, once)")
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted installation left
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        torch = next(line for line in requirements.splitlines() if line.startswith("torch=="))
        for what in ([torch], ["-r", REQUIREMENTS]):
            subprocess.run([*install, *what], check=True, stdout=sys.stderr)
        finished.touch()
    return interpreter


def run_peer(script: str, *, threads: int | None, **options: object) -> Result:
    """Run benchmarks/peers/SCRIPT.py with these options; its result."""
    return run_json([python(), PEERS / f"{script}.py", *options_to_words(options)], threads=threads)
