import ast
from graphlib import TopologicalSorter

from benchmarks.timing import ROOT


def test_no_two_benchmarks_import_each_other_not_even_inside_a_function() -> None:
    imports = {path.stem: benchmarks_in(path.read_text(encoding="utf-8")) for path in ROOT.glob("benchmarks/*.py")}
    assert imports["table"] == {"timing"}
    list(TopologicalSorter(imports).static_order())  # raises CycleError, which names the circle


def benchmarks_in(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "benchmarks":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("benchmarks."):
            names.add(str(node.module).split(".")[1])
    return names
