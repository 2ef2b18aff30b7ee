"""The house: what its rooms may hold, beside what import-linter says of who may enter which (pyproject.toml)."""

import ast
import inspect
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import shoptalk
from tests.undefined_names import undefined

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "shoptalk"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__init__.py")
VERBS = ("stages", "commands", "tasks")
"""Rooms whose files have the names of verbs or of tasks, as the design lists them."""


def test_no_file_is_over_400_lines() -> None:
    long = {str(path.relative_to(SOURCE)): n for path in SOURCE.rglob("*.py") if (n := lines_of(path)) > 400}
    assert not long, f"two rooms would be clearer: {long}"


def test_the_story_stays_short() -> None:
    assert sum(map(lines_of, (SOURCE / "stages").glob("*.py"))) < 2500


def test_a_file_name_says_one_thing_in_the_whole_tree() -> None:
    rooms = defaultdict(list)
    for path in FILES:
        room = path.relative_to(SOURCE).parts[0]
        if room not in VERBS:
            rooms[path.name].append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in rooms.items() if len(places) > 1} == {}


def test_a_class_name_says_one_thing_in_the_whole_tree() -> None:
    homes = defaultdict(list)
    for path in FILES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


@pytest.mark.parametrize("room", ["stages", "training", "telling"])
def test_no_stage_asks_for_a_concrete_product_or_objective(room: str) -> None:
    concrete = {
        node.name
        for path in (*(SOURCE / "objectives").rglob("*.py"), SOURCE / "nn" / "encoder.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    assert {"TextEncoder", "Neighbours", "MixtureSpec"} <= concrete
    asked = {
        f"{path.name}:{node.lineno}": ast.unparse(node)
        for path in (SOURCE / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.MatchClass)
        or (isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass", "type"))
        if set(re.findall(r"\w+", ast.unparse(node))) & concrete
    }
    assert asked == {}


def test_importing_shoptalk_loads_no_torch() -> None:
    code = "import sys, shoptalk; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("name", shoptalk.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(shoptalk, name)
    assert value is not None
    if inspect.isfunction(value):
        assert value.__doc__


def test_the_public_surface_is_complete_and_the_readme_lists_it() -> None:
    assert set(shoptalk._HOMES) | {"__version__"} == set(shoptalk.__all__)
    assert dir(shoptalk) == sorted(shoptalk.__all__)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## From Python")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(\w+)`", section)) | set(re.findall(r"\b\w+\b", section))
    assert set(shoptalk.__all__) <= listed


def test_an_unknown_public_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(AttributeError, match=r"it has .*open_encoder"):
        shoptalk.open_model  # noqa: B018


def test_no_name_is_undefined() -> None:
    assert undefined([str(ROOT / room) for room in ("src", "tests", "benchmarks")]) == []


def test_an_undefined_name_is_found_and_the_axes_of_a_shape_are_none(tmp_path: Path) -> None:
    file = tmp_path / "trial.py"
    file.write_text(
        "import numpy as np\nfrom jaxtyping import Float\n\n\n"
        'def mean(x: Float[np.ndarray, "N"], y: "Vectors") -> Float[nump.ndarray, "N"]:\n    return x + z["N"]\n',
        encoding="utf-8",
    )
    found = [line.partition(": ")[2] for line in undefined([str(file)])]
    assert found == ["Undefined name `Vectors`", "Undefined name `nump`", "Undefined name `z`"]


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
