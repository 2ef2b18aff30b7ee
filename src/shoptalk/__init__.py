"""Self-supervised learning for conversational AI: does training on your own text make your assistant better?

    from shoptalk import adapt, embed, open_encoder

    verdict = adapt(["conversations.jsonl"], out="runs/acme", labels="intents.csv")
    vectors = embed(open_encoder("runs/acme/encoder"), ["where is my parcel?"])

Names are imported when they are first used: importing shoptalk loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoptalk.adaptation import Verdict, adapt
    from shoptalk.commands.translate import translate
    from shoptalk.nn.bases import open_base as open_encoder
    from shoptalk.nn.encoder import TextEncoder, embed
    from shoptalk.nn.product import Embedder, Product
    from shoptalk.objective import Examples, Key, Loss, Material, Objective, Probe, Spec, Targets
    from shoptalk.training.loop import LoopConfig, Step, observing, train

__version__ = "0.1.0"

_HOMES = {
    "adapt": "shoptalk.adaptation",
    "Verdict": "shoptalk.adaptation",
    "open_encoder": "shoptalk.nn.bases:open_base",
    "embed": "shoptalk.nn.encoder",
    "TextEncoder": "shoptalk.nn.encoder",
    "Embedder": "shoptalk.nn.product",
    "Product": "shoptalk.nn.product",
    "Examples": "shoptalk.objective",
    "Key": "shoptalk.objective",
    "Loss": "shoptalk.objective",
    "Material": "shoptalk.objective",
    "Objective": "shoptalk.objective",
    "Probe": "shoptalk.objective",
    "Spec": "shoptalk.objective",
    "Targets": "shoptalk.objective",
    "LoopConfig": "shoptalk.training.loop",
    "Step": "shoptalk.training.loop",
    "observing": "shoptalk.training.loop",
    "train": "shoptalk.training.loop",
    "translate": "shoptalk.commands.translate",
}
"""Where each public name lives, with its name there where that is another one."""

__all__ = [
    "Embedder",
    "Examples",
    "Key",
    "LoopConfig",
    "Loss",
    "Material",
    "Objective",
    "Probe",
    "Product",
    "Spec",
    "Step",
    "Targets",
    "TextEncoder",
    "Verdict",
    "__version__",
    "adapt",
    "embed",
    "observing",
    "open_encoder",
    "train",
    "translate",
]


def __getattr__(name: str) -> Any:
    """A public name, from where it lives (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'shoptalk' has no attribute {name!r}; it has {', '.join(__all__)}.")
    module, _, there = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(module), there or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
