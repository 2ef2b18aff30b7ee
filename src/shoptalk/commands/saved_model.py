"""An encoder of BERT's family in TensorFlow, written as a SavedModel: run as a file, where TensorFlow is installed.

    python saved_model.py WORK OUT

WORK holds weights.npz, spec.json and sample.npz (`export_tensorflow.py` writes them); OUT becomes the SavedModel, and
WORK/vectors.npy what it gives for the sample. Nothing of Shoptalk or torch is imported: this may run in an environment
that has neither.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

_MASKED = -1e9
"""Added to the scores of padding: far below any score, and finite."""


def encoder(weights: dict[str, np.ndarray], spec: dict[str, Any]) -> Any:
    """A tf.Module whose `encode` maps token ids and mask, [batch, length], to unit vectors: post-norm layers
    (Vaswani et al. 2017, section 3) and the pooling of `nn/encoder.py`.
    """
    import tensorflow as tf

    module = tf.Module(name="encoder")
    # Not trained here; a gradient tape finds them all the same.
    module.weights = {name: tf.Variable(value, name=name) for name, value in weights.items()}
    heads, eps, pooling = int(spec["heads"]), float(spec["eps"]), str(spec["pooling"])

    def norm(x: Any, name: str) -> Any:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        scaled = (x - mean) * tf.math.rsqrt(variance + eps)
        return scaled * module.weights[f"{name}_scale"] + module.weights[f"{name}_bias"]

    def linear(x: Any, name: str) -> Any:
        return tf.einsum("bli,io->blo", x, module.weights[f"{name}_weight"]) + module.weights[f"{name}_bias"]

    def split(x: Any) -> Any:
        shape = tf.shape(x)
        return tf.reshape(x, [shape[0], shape[1], heads, x.shape[-1] // heads])

    def attended(x: Any, bias: Any, layer: str) -> Any:
        query, key, value = (split(linear(x, f"{layer}_{part}")) for part in ("query", "key", "value"))
        scores = tf.einsum("bqhd,bkhd->bhqk", query, key) / float(query.shape[-1]) ** 0.5 + bias
        mixed = tf.einsum("bhqk,bkhd->bqhd", tf.nn.softmax(scores, axis=-1), value)
        return linear(tf.reshape(mixed, tf.shape(x)), f"{layer}_dense")

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1.0 + tf.math.erf(x / 2.0**0.5))

    signature = [tf.TensorSpec([None, None], tf.int64, name=name) for name in ("input_ids", "attention_mask")]

    def encode(input_ids: Any, attention_mask: Any) -> dict[str, Any]:
        length = tf.shape(input_ids)[1]
        mask = tf.cast(attention_mask, tf.float32)
        x = (
            tf.gather(module.weights["words"], input_ids)
            + module.weights["positions"][:length]
            + module.weights["types"]
        )
        x = norm(x, "embedded")
        bias = (1.0 - mask)[:, None, None, :] * _MASKED
        if "distances" in module.weights:
            bias += module.weights["distances"][None, :, :length, :length]
        for number in range(int(spec["layers"])):
            layer = f"layer{number}"
            x = norm(x + attended(x, bias, layer), f"{layer}_attended")
            x = norm(x + linear(gelu(linear(x, f"{layer}_widen")), f"{layer}_narrow"), f"{layer}_output")
        pooled = x[:, 0]
        if pooling == "mean":
            pooled = tf.reduce_sum(x * mask[:, :, None], axis=1) / tf.maximum(
                tf.reduce_sum(mask, axis=1, keepdims=True), 1.0
            )
        return {"vectors": pooled / tf.maximum(tf.norm(pooled, axis=-1, keepdims=True), 1e-12)}

    module.encode = tf.function(encode, input_signature=signature)
    return module


def vectors_of(saved: Path, sample: dict[str, np.ndarray]) -> np.ndarray:
    """What a SavedModel gives for batches named ids0, mask0, ids1, ..."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(saved))  # held: its signature does not keep it alive
    encode = loaded.signatures["serving_default"]
    batches = [
        encode(input_ids=tf.constant(sample[f"ids{number}"]), attention_mask=tf.constant(sample[f"mask{number}"]))
        for number in range(len(sample) // 2)
    ]
    return np.concatenate([batch["vectors"].numpy() for batch in batches])


def write(work: Path, out: Path) -> None:
    """Write the SavedModel, and beside the weights what it gives for the sample."""
    import tensorflow as tf

    with np.load(work / "weights.npz", allow_pickle=False) as stored:
        weights = dict(stored)
    module = encoder(weights, json.loads((work / "spec.json").read_text(encoding="utf-8")))
    tf.saved_model.save(module, str(out), signatures={"serving_default": module.encode})
    with np.load(work / "sample.npz", allow_pickle=False) as stored:
        sample = dict(stored)
    np.save(work / "vectors.npy", vectors_of(out, sample), allow_pickle=False)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
