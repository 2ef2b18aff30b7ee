"""No module of the package needs itself through others, imports inside functions included."""

import ast
import graphlib
from pathlib import Path

import shoptalk

ROOT = Path(shoptalk.__file__).parent


def modules() -> dict[str, Path]:
    """Every module of the package, by its name."""
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = ("shoptalk", *path.relative_to(ROOT).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that one names in its imports, but for those that only a type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            named |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            named |= {name if name in known else node.module for name in within}
    return named & known.keys()


def test_no_module_needs_itself_through_others():
    known = modules()
    needs = {name: imports_of(path, known) - {name} for name, path in known.items()}
    assert needs["shoptalk.nn.native.check"] >= {"shoptalk.nn.native.ops"}
    graphlib.TopologicalSorter(needs).prepare()  # a circle is a CycleError that names it
