"""A language model as a plain transformers folder, with float32 weights or matrices of 8 bits, and what those cost.

    readings = write_language_model(product, folder, rounding="int8")

What rounding costs is measured in bits per byte of the general text that ships with the project: an export that loses
more than `MOST_LOST` of it is refused.
"""

from pathlib import Path
from typing import Literal

from shoptalk.errors import ArtifactError
from shoptalk.nn.int8_weights import keep_16_bits, round_matrices
from shoptalk.nn.language_model import LanguageModel
from shoptalk.probes.bits_per_byte import SENTENCES, general_bits

MOST_LOST = 0.02
"""Of bits per byte, the share by which they may rise: what the guard on general text allows a run (decision 0026)."""


def write_language_model(
    product: LanguageModel, folder: Path, *, rounding: Literal["none", "int8"]
) -> dict[str, float]:
    """Write the folder; bits per byte of general text by the weights as they were, and as they are written.

    Raises:
        BaseModelError: nothing in the model can be rounded.
        ArtifactError: rounding costs too much; nothing is written.
    """
    probe = general_bits()
    before = probe(product).value
    readings = {"bits_per_byte": before}
    if rounding == "int8":
        product = product.copy()
        layers = round_matrices(product.network.backbone)
        keep_16_bits(product.network.backbone)
        readings = {
            "bits_per_byte": probe(product).value,
            "bits_per_byte_float32": before,
            "rounded_layers": float(layers),
        }
        if not readings["bits_per_byte"] <= before * (1 + MOST_LOST):  # also where it is not a number
            raise ArtifactError(
                f"With weights of 8 bits {product.name} takes {readings['bits_per_byte']:.3f} bits per byte of general "
                f"text and {before:.3f} without; at most {MOST_LOST:.0%} more is allowed. Nothing was written. Export "
                "it with --quantize none."
            )
    product.save(folder, card=_card(product.name, readings))
    return readings


def _card(name: str, readings: dict[str, float]) -> str:
    """What the folder says of itself."""
    bits, before = readings["bits_per_byte"], readings.get("bits_per_byte_float32")
    if before is None:
        return f"""# {name}

Made by `shoptalk export`: float32 weights. Bits per byte of general text: {bits:.4f}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```
"""
    return f"""# {name}, weights of 8 bits

Made by `shoptalk export`: the matrices of {readings["rounded_layers"]:.0f} layers have 8 bits a weight and a scale for
each output; embeddings and output table have 16. Bits per byte of general text ({SENTENCES} sentences, activations in
float32): {bits:.4f}, against {before:.4f} with the weights as they were.

Shoptalk opens the folder as it does any language model, for reading and not for training. transformers opens it where
the package compressed-tensors is installed:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = AutoModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
```
"""
