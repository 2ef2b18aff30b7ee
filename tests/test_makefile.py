"""What `make` shows while it installs."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOISE = "WARNING: Location 'file:///simple/torch/' is ignored: it is neither a file nor a directory."
PIP = """#!/bin/sh
for i in 1 2 3; do echo "{noise}" >&2; done
echo "{said}" >&2
exit {status}
"""
PYTHON = """#!/bin/sh
mkdir -p .venv/bin
cp pip.sh .venv/bin/python
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize(
    ("said", "status"), [("ERROR: No matching distribution found", 1), ("WARNING: torch is yanked", 0)]
)
def test_pips_notes_about_a_second_index_are_left_out_and_everything_else_is_shown(
    tmp_path: Path, said: str, status: int
) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name, script in (("pip.sh", PIP.format(noise=NOISE, said=said, status=status)), ("python.sh", PYTHON)):
        (tmp_path / name).write_text(script, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["make", "install", "PYTHON=./python.sh"], cwd=tmp_path, capture_output=True, check=False, text=True, timeout=60
    )
    assert (done.returncode != 0) == (status != 0)
    assert "Location" not in done.stderr and said in done.stderr
    assert (tmp_path / ".venv" / "installed").exists() == (status == 0)
