"""Hardware, versions, the Markdown table, and where it stands in benchmarks/README.md.

The results stand between two marker comments, a section for each comparison. A run replaces the sections of the
comparisons that it ran and leaves the others, with their own date and machine, as they are.
"""

import contextlib
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.timing import ROOT, Row

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
HEADING = "### "
# What tells how fast matmuls can be.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "sve", "bf16")
PACKAGES = ("torch", "transformers", "numpy", "faiss-cpu")


def cpu(text: str) -> tuple[str, tuple[str, ...]]:
    """Model name and the flags that matter, from the text of /proc/cpuinfo."""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    return (name[1].strip() if name else ""), tuple(flag for flag in FLAGS if flag in present)


def hardware() -> str:
    """CPU model, usable cores, flags, memory, and the accelerator where there is one."""
    path = Path("/proc/cpuinfo")
    name, flags = cpu(path.read_text(encoding="utf-8")) if path.exists() else ("", ())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [name or platform.processor() or platform.machine(), f"{cores} cores", " ".join(flags) or "no known flags"]
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
        parts.append(f"{memory:.0f} GiB")
    import torch

    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def versions() -> str:
    """Python, the packages that matter, and the commit."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
        found.append(f"commit {commit}")
    return ", ".join(found)


def markdown(rows: Sequence[Row]) -> str:
    """A table of results."""
    lines = ["| what | median | spread | ratio | asked | note |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [row.what, _value(row), _spread(row), _ratio(row), _asked(row), row.note]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    return "\n".join(lines)


def section(name: str, body: str, *, command: str, seconds: float) -> str:
    """One comparison's part of the README: when, on what, by which command, and its table."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    head = f"{today}: {hardware()}. {versions()}. `{command}`, {seconds / 60:.0f} min."
    return f"{HEADING}{name}\n\n{head}\n\n{body}"


def place(text: str, sections: Mapping[str, str], *, order: Sequence[str]) -> str:
    """The README's text with these sections in place of the old ones; the text around the markers stays.

    Where there are no markers they go to the end.

    Raises:
        ValueError: one marker without the other, or several of one.
    """
    if (text.count(BEGIN), text.count(END)) == (0, 0):
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    if (text.count(BEGIN), text.count(END)) != (1, 1) or text.index(END) < text.index(BEGIN):
        raise ValueError(f"Expected the line {BEGIN} once, and after it {END} once; mend the README by hand.")
    before, rest = text.split(BEGIN)
    inside, after = rest.split(END)
    merged = split_sections(inside) | dict(sections)
    names = [*(name for name in order if name in merged), *(name for name in merged if name not in order)]
    body = "\n\n".join(merged[name].strip() for name in names)
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def split_sections(text: str) -> dict[str, str]:
    """The sections by name of what stands between the markers."""
    parts = re.split(rf"^(?={re.escape(HEADING)})", text, flags=re.MULTILINE)
    return {part.splitlines()[0].removeprefix(HEADING).strip(): part for part in parts if part.startswith(HEADING)}


def figure(value: float) -> str:
    """Three figures that matter, thousands with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _value(row: Row) -> str:
    return f"{figure(row.value)} {row.unit}"


def _spread(row: Row) -> str:
    return "" if row.spread is None else f"{row.spread:.0%}"


def _ratio(row: Row) -> str:
    if row.ratio is None:
        return ""
    low, high = row.ratio_range or (row.ratio, row.ratio)
    return f"{figure(row.ratio)}×" if low == high else f"{figure(row.ratio)}× ({figure(low)} to {figure(high)})"


def _asked(row: Row) -> str:
    bounds = [(sign, bound) for sign, bound in (("≥", row.at_least), ("≤", row.at_most)) if bound is not None]
    if not bounds:
        return ""
    words = " and ".join(f"{sign} {figure(bound)}" for sign, bound in bounds)
    return f"{words}: {'met' if row.met else 'missed'}"


def printed(rows: Iterable[Row]) -> None:
    """Print rows as a Markdown table, each as it comes."""
    header = True
    for row in rows:
        lines = markdown([row]).splitlines()
        print("\n".join(lines if header else lines[2:]), flush=True)
        header = False
