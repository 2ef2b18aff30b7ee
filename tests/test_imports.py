"""What starting up may import. Times depend on the machine; what is imported does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shoptalk.artifact import create
from shoptalk.nn import bertlike
from shoptalk.nn.encoder import embed
from shoptalk.nn.heads import classifier, head_files
from tests.tiny import tiny_product

LOOK = """
import json, sys
{}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}} | {{"torch._dynamo"}} & set(sys.modules))))
"""
HELP = """
sys.argv = ["shoptalk", "--help"]
from shoptalk.cli.app import main
try:
    main()
except SystemExit:
    pass
"""
PREDICT = """
sys.argv = ["shoptalk", "predict", {folder!r}, "block the card"]
from shoptalk.cli.app import main
try:
    main()
except SystemExit:
    pass
"""
LIBRARIES = {"torch", "transformers", "sklearn", "scipy", "faiss", "openTSNE", "pandas", "pyarrow", "rensa", "ftfy"}


def imported(program: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(program)],
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_imports_no_heavy_library():
    assert not imported("import shoptalk") & {*LIBRARIES, "numpy", "pydantic", "rich", "typer"}


def test_the_help_imports_no_heavy_library():
    assert not imported(HELP) & {*LIBRARIES, "numpy"}


def finetuned(folder: Path) -> Path:
    """A folder as `finetune` leaves it: an encoder with a head."""
    product = tiny_product()
    texts = ["block the card", "my card was stolen", "send the money back", "return the money"]
    with create(folder / "encoder", kind="encoder", config={}, parents={}) as inside:
        product.save(inside, card="")
    head = classifier.train(embed(product, texts), ["card", "card", "refund", "refund"], np.arange(4))
    with create(folder / "head", kind="head", config={}, parents={}) as inside:
        head_files.save(head, inside)
    return folder


@pytest.mark.skipif(not bertlike.serves(tiny_product().network.backbone), reason="the kernels cannot be compiled here")
def test_predicting_imports_torch_and_no_other_heavy_library(tmp_path: Path):
    found = imported(PREDICT.format(folder=str(finetuned(tmp_path / "run"))))
    assert "torch" in found
    assert not found & {*LIBRARIES - {"torch", "faiss"}, "torch._dynamo", "sympy", "huggingface_hub", "beartype"}


SERVE = """
import shoptalk.serve.server, shoptalk.cli.serving
loaded = [name for name in sys.modules if name.startswith("shoptalk.")]
rooms = {name.split(".")[1] for name in loaded}
unwanted = {"training", "objectives", "objective", "stages", "tasks", "evaluate", "probes", "commands", "telling"}
print(sorted(rooms & unwanted), file=sys.stderr)
sys.exit(3) if rooms & unwanted else None
"""


def test_serving_imports_no_training_code_and_no_library_that_only_training_needs():
    assert not imported(SERVE) & {"sklearn", "transformers", "openTSNE", "pandas", "pyarrow", "torch._dynamo"}
