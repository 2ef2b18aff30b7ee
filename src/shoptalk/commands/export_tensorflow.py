"""An encoder as a TensorFlow SavedModel: its weights are handed to `saved_model.py`, which runs where TensorFlow is.

    cosines = write_saved_model(product, folder, interpreter=tensorflow_python())

TensorFlow runs in a process of its own, so that it and torch share neither threads nor libraries. Where it is not
installed beside Shoptalk, `SHOPTALK_TENSORFLOW` names a Python that has it (decision 0030).
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from shoptalk.commands.graphs import SAMPLE, token_batches
from shoptalk.errors import ArtifactError, InputError
from shoptalk.nn import attention, bertlike
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.product import Embedder

VARIABLE = "SHOPTALK_TENSORFLOW"
SCRIPT = Path(__file__).with_name("saved_model.py")
SECONDS = 1800


def tensorflow_python() -> str:
    """A Python that has TensorFlow: the one that the environment names, else this one.

    Raises:
        InputError: there is none.
    """
    named = os.environ.get(VARIABLE, "")
    if named:
        if shutil.which(named) is None:
            raise InputError(f"{VARIABLE} names {named!r}, which cannot be run. Give a Python that has TensorFlow.")
        return named
    if importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            "Exporting to TensorFlow needs the package tensorflow. Install it with: pip install 'shoptalk[tensorflow]' "
            f"(or in an environment of its own, and name that one's Python: {VARIABLE}=/path/to/bin/python)"
        )
    return sys.executable


def write_saved_model(product: Embedder, folder: Path, *, interpreter: str) -> Float32[np.ndarray, " N"]:
    """Write the SavedModel into an empty folder; the cosine between its and the encoder's vector of each sample text.

    Raises:
        InputError: the encoder is of a kind that is not known in TensorFlow, or there is no TensorFlow.
        ArtifactError: TensorFlow could not write it.
    """
    encoder = _known(product)
    weights, spec = weights_of(encoder)
    batches = token_batches(encoder)
    sample = {f"ids{number}": batch["input_ids"] for number, batch in enumerate(batches)}
    sample |= {f"mask{number}": batch["attention_mask"] for number, batch in enumerate(batches)}
    with tempfile.TemporaryDirectory(dir=folder.parent) as inside:
        work = Path(inside)
        _store(work / "weights.npz", weights)
        _store(work / "sample.npz", sample)
        (work / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        _run([interpreter, str(SCRIPT), str(work), str(folder)])
        vectors = np.load(work / "vectors.npy", allow_pickle=False).astype(np.float32)
    cosines: Float32[np.ndarray, " N"] = (vectors * product.embed(SAMPLE)).sum(axis=1)
    return cosines


def _store(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def _known(product: Embedder) -> TextEncoder:
    backbone: Any = product.network.backbone if isinstance(product, TextEncoder) else None
    kind = getattr(getattr(backbone, "config", None), "model_type", "")
    able = (*bertlike.FAMILY, *attention.RELATIVE)
    if not isinstance(product, TextEncoder) or kind not in able or backbone.config.hidden_act != "gelu":
        raise InputError(
            f"{product.name} is {kind or 'no encoder of texts'}, and the TensorFlow export knows encoders of texts of "
            f"the kinds {', '.join(able)} with the activation gelu. Export it with --format onnx."
        )
    return product


def weights_of(product: TextEncoder) -> tuple[dict[str, Float32[np.ndarray, "..."]], dict[str, Any]]:
    """The encoder's weights by the names that `saved_model.py` reads, and its sizes. Matrices are [inputs, outputs]."""
    backbone: Any = product.network.backbone
    embedded, config = backbone.embeddings, backbone.config
    first = bertlike.first_position(config)
    tensors = {
        "words": embedded.word_embeddings.weight,
        "positions": embedded.position_embeddings.weight[first : first + product.max_length],
        "types": _types(embedded),
        "embedded_scale": embedded.LayerNorm.weight,
        "embedded_bias": embedded.LayerNorm.bias,
    }
    for number, layer in enumerate(backbone.encoder.layer):
        parts, name = bertlike.attention_parts(backbone, layer), f"layer{number}"
        linears = {
            "query": parts.query,
            "key": parts.key,
            "value": parts.value,
            "dense": parts.dense,
            "widen": layer.intermediate.dense,
            "narrow": layer.output.dense,
        }
        for part, linear in linears.items():
            tensors |= {f"{name}_{part}_weight": linear.weight.T, f"{name}_{part}_bias": linear.bias}
        for part, norm in (("attended", parts.output.LayerNorm), ("output", layer.output.LayerNorm)):
            tensors |= {f"{name}_{part}_scale": norm.weight, f"{name}_{part}_bias": norm.bias}
    if config.model_type in attention.RELATIVE:
        with torch.no_grad():
            at = torch.zeros(1, product.max_length, product.dim, device=product.network.device)
            tensors["distances"] = backbone.encoder.compute_position_bias(at)[0]
    spec = {
        "layers": len(backbone.encoder.layer),
        "heads": config.num_attention_heads,
        "eps": config.layer_norm_eps,
        "pooling": product.network.pooling,
    }
    return {name: tensor.detach().float().cpu().contiguous().numpy() for name, tensor in tensors.items()}, spec


def _types(embedded: Any) -> torch.Tensor:
    """What is added to every token for being of the first of two texts; nothing where the model has no such table."""
    table = getattr(embedded, "token_type_embeddings", None)
    return torch.zeros(embedded.word_embeddings.weight.shape[1]) if table is None else table.weight[0]


def _run(words: list[str]) -> None:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ArtifactError(f"TensorFlow did not write the model: {error}. Nothing was written.") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        if "No module named 'tensorflow'" in last:
            raise InputError(
                f"{words[0]} has no TensorFlow. Install it there (pip install tensorflow), or name another Python."
            )
        raise ArtifactError(f"TensorFlow did not write the model: {last[:300]}. Nothing was written.")


def tensorflow_card(product: TextEncoder, cosine: float, size: int) -> str:
    """What the folder says of itself."""
    return f"""# {product.name} for TensorFlow

Made by `shoptalk export`: float32 weights, {size / 1e6:.0f} MB. Against torch in float32, the lowest cosine over a
sample of {len(SAMPLE)} texts was {cosine:.5f}.

`saved_model` maps `input_ids` and `attention_mask` (int64, [batch, length], padded at the end) to `vectors` (float32,
[batch, {product.dim}]): {product.network.pooling} pooling and unit length are inside. Cut texts at
{product.max_length} tokens.

```python
import tensorflow as tf
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({product.max_length})
tokenizer.enable_padding(pad_id={product.tokenizer.pad_token_id}, pad_token="{product.tokenizer.pad_token}")
loaded = tf.saved_model.load("saved_model")
rows = tokenizer.encode_batch(["When does the ferry leave?"])
vectors = loaded.signatures["serving_default"](
    input_ids=tf.constant([row.ids for row in rows], tf.int64),
    attention_mask=tf.constant([row.attention_mask for row in rows], tf.int64),
)["vectors"].numpy()
```
"""
