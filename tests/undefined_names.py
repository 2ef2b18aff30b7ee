"""Names that nothing defines. `make check` runs it: `python -m tests.undefined_names src tests benchmarks`.

ruff (F821) takes the axis names of jaxtyping, such as the N of `Int[np.ndarray, "N"]`, for forward references, and mypy
does too, so both are told to leave undefined names alone. Here ruff is asked for them after all, and what stands inside
of the shape string of a jaxtyping annotation is not counted.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jaxtyping

ARRAYS = {name for name in dir(jaxtyping) if isinstance(getattr(jaxtyping, name), type)} | {"Float", "Int", "Bool"}
"""Names that may stand before the brackets of a shape: `Float`, `Int64`, `Shaped`, ..."""


def undefined(paths: Sequence[str]) -> list[str]:
    """Such as "src/shoptalk/index.py:3:7: Undefined name `nump`" for each, in folders and files."""
    command = ["ruff", "check", "--isolated", "--no-cache", "--select", "F821", "--output-format", "json", *paths]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, check=False, text=True, timeout=120)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr)
    shapes: dict[str, list[tuple[int, int, int, int]]] = {}
    remaining = []
    for finding in json.loads(done.stdout):
        name, row, column = finding["filename"], finding["location"]["row"], finding["location"]["column"] - 1
        inside = shapes.setdefault(name, list(_shapes(Path(name))))
        if not any((first, left) <= (row, column) < (last, right) for first, left, last, right in inside):
            remaining.append(f"{name}:{row}:{column + 1}: {finding['message']}")
    return remaining


def _shapes(path: Path) -> Iterator[tuple[int, int, int, int]]:
    """Where shape strings begin and end: line, column, line, column."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Subscript) or _last_name(node.value) not in ARRAYS:
            continue
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else []
        for part in parts[1:]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.col_offset, part.end_lineno or 0, part.end_col_offset or 0


def _last_name(node: Any) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


if __name__ == "__main__":
    sys.exit("\n".join(undefined(sys.argv[1:])) or None)
