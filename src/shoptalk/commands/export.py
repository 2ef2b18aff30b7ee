"""An encoder as an ONNX graph that needs neither torch nor Shoptalk: what `shoptalk export` does.

    export("minilm", Path("minilm-onnx"), quantize="int8")

The graph maps `input_ids` and `attention_mask` [batch, length] to unit `vectors` [batch, dimensions]: pooling and
normalisation are inside. It is refused unless ONNX Runtime and torch agree on every text of a sample, also where the
weights are rounded to 8 bits.
"""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor, nn

from shoptalk.artifact import Artifact, create, digest, key_of, open_artifact, open_manifest, write_text
from shoptalk.errors import ArtifactError, InputError, StorageError
from shoptalk.nn import attention
from shoptalk.nn.bases import open_text, resolve
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import Encoder, TextEncoder, embed

Quantize = Literal["none", "int8"]
FORMATS = ("onnx",)

LEAST_COSINE = 0.999
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_BITS, _BLOCK = 8, 32
"""Weights are rounded in blocks of 32 that share a scale."""

_TURN = (
    "My parcel should have arrived on Tuesday, but the tracking page still says that it waits at the harbour depot. "
    "I was charged twice for it, 12.50 and again 12.50, and nobody has answered either of my two emails. "
)
_SAMPLE: tuple[str, ...] = (
    "ok",
    "Thanks!",
    "??",
    "I lost my card.",
    "when does the last ferry leave",
    "Can I change the delivery address of order #40-1187?",
    "GIVE ME MY MONEY BACK NOW!!!",
    "Je voudrais annuler ma réservation, s'il vous plaît.",
    "Der Betrag wurde zweimal abgebucht 😡",
    "请问什么时候可以退款？",
    "The refund has been booked; it takes three to five working days until you see it in your account.",
    "- ferry: 08:15\n- bus: 08:40\n- desk closes: 18:00",
    "Is the insurance included, or must it be paid for each passenger, including children under the age of six?",
    _TURN,
    _TURN + "What shall I do?",
    _TURN * 2,
    _TURN * 8,
)
"""Short and long, plain and odd: texts on which the graph must agree with the model."""


def export(model: str, out: Path, *, form: str = "onnx", quantize: str = "none", force: bool = False) -> Artifact:
    """Write `model.onnx`, the tokenizer's files and a README; `readings` of the artifact say how well it agrees.

    Raises:
        InputError: the format or quantisation is unknown, or the packages of the extra `onnx` are missing.
        BaseModelError: the reference is not an encoder's.
        StorageError: the folder holds another artifact, and `force` was not given.
        ArtifactError: the graph's vectors are not those of the model; nothing is written.
    """
    rounding = _known(form, quantize)
    _require_packages()
    settings = {"format": form, "quantize": rounding, "model": model}
    parents = {"model": base_digest(model), "folder": digest(str(resolve(model)))}
    product = open_text(model)
    key, earlier = key_of(kind="export", config=settings, parents=parents), open_manifest(out)
    if earlier is not None and earlier.key != key and not force:
        raise StorageError(
            f"{out} holds another artifact ({earlier.kind}, made {earlier.created[:10]}). Give another --out, or "
            "--force to replace it."
        )
    readings: dict[str, float] = {}
    with create(out, kind="export", config=settings, parents=parents, readings=readings) as folder:
        path = folder / "model.onnx"
        _write_graph(product, path)
        if rounding == "int8":
            _round_weights(path)
        cosines = _agreement(product, path)
        readings["least_cosine"] = float(cosines.min())
        if not cosines.min() >= LEAST_COSINE:  # also where it is not a number
            raise ArtifactError(_refusal(model, rounding, cosines))
        product.tokenizer.save_pretrained(folder)
        write_text(folder / "README.md", _card(product, rounding, readings["least_cosine"], path.stat().st_size))
    artifact = open_artifact(out)
    assert artifact is not None
    return artifact


class Graph(nn.Module):
    """The module that is exported: from tokens to unit vectors."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.pooling = encoder.pooling

    def forward(self, input_ids: Int[Tensor, "B L"], attention_mask: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """The encoder's own pooling, written for a rectangle of tokens."""
        hidden: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            return nn.functional.normalize(hidden[:, 0], dim=-1)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1), dim=-1)


def _known(form: str, quantize: str) -> Quantize:
    if form not in FORMATS:
        raise InputError(f"--format {form!r} is not known. Give one of: {', '.join(FORMATS)}.")
    for known in get_args(Quantize):
        if quantize == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"--quantize {quantize!r} is not known. Give one of: {', '.join(get_args(Quantize))}.")


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"Exporting needs the package {missing[0]}. Install it with: pip install 'shoptalk[onnx]'")


def _write_graph(product: TextEncoder, path: Path) -> None:
    graph = Graph(product.network).eval()
    # Two rows of eight tokens: sizes of one would be taken for constants.
    ids = torch.full((2, 8), int(product.tokenizer.pad_token_id))
    sizes = {0: "batch", 1: "length"}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every package that it could use and need not
    with _plain_attention(product.network.backbone), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own internals
        program: Any = torch.onnx.export(
            graph,
            (ids, torch.ones_like(ids)),
            input_names=["input_ids", "attention_mask"],
            output_names=["vectors"],
            dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
            dynamo=True,
            verbose=False,
        )
        program.save(path)


@contextlib.contextmanager
def _plain_attention(backbone: Any) -> Iterator[None]:
    """Stock matmul attention inside: the fast kinds read packed rows, which the exported graph does not have."""
    implementation = backbone.config._attn_implementation
    attention.use(backbone, "eager")
    try:
        yield
    finally:
        attention.use(backbone, implementation)


def _round_weights(path: Path) -> None:
    """Replace the layers' matrices by 8-bit ones, a scale for each block of a column.

    Activations stay float32: rounding them too (dynamic quantisation) was up to twice as fast on a processor with AVX2
    only, but took the lowest cosine to 0.95.
    """
    root = logging.getLogger()
    level = root.level
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.setLevel(level)  # which that import lowers, and every node of the graph would be a line on the screen
    rounding = MatMulNBitsQuantizer(onnx.load(str(path)), bits=_BITS, block_size=_BLOCK, is_symmetric=True)
    rounding.process()
    rounding.model.save_model_to_file(str(path), use_external_data_format=False)


def _agreement(product: TextEncoder, path: Path) -> Float32[np.ndarray, " N"]:
    """The cosine between the graph's and the model's vector of each sample text, batches of several lengths."""
    cosines: Float32[np.ndarray, " N"] = (_run(product, path, _SAMPLE) * embed(product, _SAMPLE)).sum(axis=1)
    return cosines


def _run(product: TextEncoder, path: Path, texts: Sequence[str]) -> Float32[np.ndarray, "N D"]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batches = []
    for begin in range(0, len(texts), 4):  # several shapes, the last batch of another height
        part = list(texts[begin : begin + 4])
        tokens = product.tokenizer(
            part, padding=True, truncation=True, max_length=product.max_length, return_tensors="np"
        )
        names = ("input_ids", "attention_mask")
        batches.append(session.run(["vectors"], {name: tokens[name].astype(np.int64) for name in names})[0])
    return np.concatenate(batches).astype(np.float32)


def _refusal(model: str, rounding: Quantize, cosines: Float32[np.ndarray, " N"]) -> str:
    worst = _SAMPLE[int(np.nan_to_num(cosines, nan=-1).argmin())]
    advice = (
        "Export it with --quantize none."
        if rounding == "int8"
        else "Please report this with the model's name; until then, use the model with torch."
    )
    return (
        f"The ONNX graph of {model!r} does not give the model's vectors: the lowest cosine over {len(_SAMPLE)} texts "
        f"is {cosines.min():.5f} (at {worst[:40]!r}), expected {LEAST_COSINE} or more. Nothing was written. {advice}"
    )


def _card(product: TextEncoder, rounding: Quantize, cosine: float, size: int) -> str:
    weights = "8-bit weights, a scale for every 32 of them" if rounding == "int8" else "float32 weights"
    return f"""# {product.name} as ONNX

Made by `shoptalk export`: {weights}, {size / 1e6:.0f} MB. Against torch in float32, the lowest cosine over
{len(_SAMPLE)} texts of 1 to {product.max_length} tokens was {cosine:.5f}.

`model.onnx` maps `input_ids` and `attention_mask` (int64, [batch, length]) to `vectors` (float32,
[batch, {product.network.dim}]): {product.network.pooling} pooling and unit length are inside. Cut texts at
{product.max_length} tokens.

```python
import numpy as np, onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({product.max_length})
tokenizer.enable_padding(pad_id={product.tokenizer.pad_token_id}, pad_token="{product.tokenizer.pad_token}")
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
rows = tokenizer.encode_batch(["When does the ferry leave?"])
vectors = session.run(["vectors"], {{
    "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
    "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
}})[0]
```
"""
