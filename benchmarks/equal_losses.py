"""Do two versions of the code train to the same losses, bit for bit? `python -m benchmarks.equal_losses [--out FILE]`

Every objective of the registry, one weighted sum and one curriculum train ten steps in float32 with one thread on the
tiny product and the toy corpus, through the real loop. Printed are the losses as hexadecimal floats, so that nothing is
rounded. To compare two checkouts, run this file with the sources of each, on one machine:

    PYTHONPATH=THERE/src python -m benchmarks.equal_losses --out there.json
    PYTHONPATH=src python -m benchmarks.equal_losses --against there.json

The second exits with 1 and names the objectives that differ. On another CPU the last bits may differ: its matrix
kernels add in another order.
"""

import argparse
import inspect
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shoptalk.objectives import OBJECTIVES, spec_for
from shoptalk.objectives.toy import toy_corpus, toy_labels
from shoptalk.text.tokens import tokenise
from shoptalk.training import advance
from shoptalk.training.loop import LoopConfig

try:
    from shoptalk.nn.tiny import tiny_product
except ModuleNotFoundError:  # its name up to 24a6c83
    from shoptalk.nn.toy import tiny_product

STEPS, BATCH = 10, 8
SUM, CURRICULUM = "0.3*mlm+neighbours", "mlm-then-neighbours"
Losses = dict[str, list[str]]


def names() -> list[str]:
    """What is trained."""
    return [*OBJECTIVES, SUM, CURRICULUM]


def losses_of(name: str, *, steps: int = STEPS) -> list[str]:
    """The loss of every step, exactly; of a curriculum those of both phases, `steps` each."""
    product, corpus, losses = tiny_product(), toy_corpus(), []
    inputs: Any = tokenise(product.tokenizer, corpus.texts, max_length=product.max_length)
    for phase in name.split("-then-"):
        spec: Any = spec_for(phase, {part: {"batch": BATCH} for part in OBJECTIVES})
        if spec.accepts("image"):
            product, corpus, inputs = on_pictures(name)
        if any(map(spec.accepts, ("pair", "lm", "seq2seq"))):
            product, corpus, inputs = on_other_toys(spec)
        with tempfile.TemporaryDirectory() as folder:
            # Checkouts before decision 0010 call the inputs tokens.
            named = "inputs" if "inputs" in inspect.signature(advance.Training.build).parameters else "tokens"
            training = advance.Training.build(
                spec,
                corpus=corpus,
                **{named: inputs},
                product=product,
                targets=toy_labels(corpus) if spec.supervised else spec.prepare(corpus, product),
                config=LoopConfig(steps=steps, batch=BATCH, lr=1e-3, seed=3),
                folder=Path(folder),
                snapshot_seconds=1e9,
            )
            losses += [step.loss.hex() for step in advance.advance(training, until=steps)]
    return losses


def on_pictures(name: str) -> tuple[Any, Any, Any]:
    """A tiny image encoder, pictures and their pixels; older checkouts have no objectives that ask for them."""
    from shoptalk.nn.tiny_pictures import tiny_image_encoder
    from shoptalk.objectives.toy import toy_pictures

    product = tiny_image_encoder("vit" if name in ("dino", "mae") else "resnet")
    return product, *toy_pictures(size=product.size)


def on_other_toys(spec: Any) -> tuple[Any, Any, Any]:
    """The same for objectives on pictures with captions, and for language models."""
    from shoptalk.objectives.toy import toy_material

    material = toy_material(spec)
    return material.product, material.corpus, material.inputs


def differing(one: Mapping[str, list[str]], other: Mapping[str, list[str]]) -> list[str]:
    """The first step that differs of every objective that both have trained, for people."""
    told = []
    for name in (name for name in one if name in other):
        pairs = enumerate(zip(one[name], other[name], strict=False), start=1)
        step = next((step for step, (a, b) in pairs if a != b), None)
        if step is not None:
            a, b = (float.fromhex(losses[name][step - 1]) for losses in (one, other))
            told.append(
                f"{name} differs from step {step} on: {a!r} and {b!r}, apart by {abs(a - b) / abs(b):.1e} of it"
            )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the losses go (standard output)")
    parser.add_argument("--against", type=Path, help="a file that --out wrote: compare, and exit with 1 if they differ")
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    losses = {name: losses_of(name, steps=given.steps) for name in names()}
    text = json.dumps(losses, indent=1)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")
    if given.against is not None:
        other = json.loads(given.against.read_text(encoding="utf-8"))
        told = differing(losses, other)
        told += [f"{name} is only in one of the two" for name in losses.keys() ^ other.keys()]
        print("\n".join(told) if told else f"{len(losses)} objectives: all losses are equal, bit for bit")
        sys.exit(1 if told else 0)
    if given.out is None:
        print(text)


if __name__ == "__main__":
    main()
