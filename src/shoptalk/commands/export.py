"""A model in the form that another program reads: what `shoptalk export` does.

    export("minilm", Path("minilm-onnx"), quantize="int8")

| format        | of what          | what it needs to be opened                                             |
|---------------|------------------|------------------------------------------------------------------------|
| `onnx`        | encoders         | ONNX Runtime (this file)                                               |
| `tensorflow`  | encoders of text | TensorFlow (`export_tensorflow.py`)                                    |
| `safetensors` | language models  | transformers, or with 8 bits a weight Shoptalk (`export_language.py`)  |

Which graphs there are of each kind of encoder, `graphs.py` says; pooling and normalisation are inside. An export of an
encoder is refused unless ONNX Runtime, or TensorFlow, and torch agree on all of a sample, also where the weights are
rounded to 8 bits.
"""

import contextlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32

from shoptalk.artifact import Artifact, create, digest, key_of, open_artifact, open_manifest, write_text
from shoptalk.commands.export_language import write_language_model
from shoptalk.commands.export_tensorflow import tensorflow_card, tensorflow_python, write_saved_model
from shoptalk.commands.graphs import SAMPLE, Exported, FeatureGraph, Graph, PictureGraph, graphs_of
from shoptalk.errors import ArtifactError, BaseModelError, InputError, StorageError
from shoptalk.nn import attention
from shoptalk.nn.admission import WEIGHTS
from shoptalk.nn.bases import kind_of, open_base, open_model, resolve
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import TextEncoder, text_encoder
from shoptalk.nn.image_encoder import PROCESSOR, ImageEncoder, processor_settings
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.product import CALLED, Embedder

__all__ = ["FORMATS", "LEAST_COSINE", "FeatureGraph", "Graph", "PictureGraph", "export"]

Quantize = Literal["none", "int8"]
Form = Literal["onnx", "tensorflow", "safetensors"]
FORMATS: tuple[Form, ...] = get_args(Form)
SAVED_MODEL = "saved_model"
"""The folder inside an export that TensorFlow opens."""

LEAST_COSINE = 0.999
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_BITS, _BLOCK = 8, 32
"""Weights are rounded in blocks of 32 that share a scale."""


def export(model: str, out: Path, *, form: str = "onnx", quantize: str = "none", force: bool = False) -> Artifact:
    """Write the model, the files of tokenizer and processor and a README; `readings` of the artifact say how well what
    was written agrees with the model.

    Raises:
        InputError: the format or quantisation is unknown or none for this model, or packages that it needs are missing.
        BaseModelError: the reference is not that of a model of the right kind.
        StorageError: the folder holds another artifact, and `force` was not given.
        ArtifactError: its vectors are not those of the model, or 8 bits a weight cost too much; nothing is written.
    """
    wanted, rounding = _known(form, quantize)
    interpreter = tensorflow_python() if wanted == "tensorflow" else ""
    if wanted == "onnx":
        _require_packages()
    settings = {"format": wanted, "quantize": rounding, "model": model}
    parents = {"model": base_digest(model), "folder": digest(_place(model))}
    product = _opened(model, wanted)
    if isinstance(product, LanguageModel):
        settings |= {"bits": "after the first token"}
    key, earlier = key_of(kind="export", config=settings, parents=parents), open_manifest(out)
    if earlier is not None and earlier.key != key and not force:
        raise StorageError(
            f"{out} holds another artifact ({earlier.kind}, made {earlier.created[:10]}). Give another --out, or "
            "--force to replace it."
        )
    readings: dict[str, float] = {}
    with create(out, kind="export", config=settings, parents=parents, readings=readings) as folder:
        if isinstance(product, LanguageModel):
            readings |= write_language_model(product, folder, rounding=rounding)
        elif wanted == "tensorflow":
            _write_tensorflow(product, folder, model, interpreter, readings)
        else:
            _write_onnx(product, folder, model, rounding, readings)
    artifact = open_artifact(out)
    assert artifact is not None
    return artifact


def weights_in(folder: Path, form: str) -> tuple[Path, int]:
    """What another program opens of an export, and the bytes that it takes."""
    if form == "onnx":
        graphs = sorted(folder.glob("*.onnx"))
        # A pair has two, of its pictures and its texts.
        return graphs[0] if len(graphs) == 1 else folder, sum(path.stat().st_size for path in graphs)
    place = folder / (SAVED_MODEL if form == "tensorflow" else WEIGHTS)
    files = place.rglob("*") if place.is_dir() else [place]
    return place, sum(path.stat().st_size for path in files if path.is_file())


def _place(model: str) -> str:
    """Where the model's files are; of one that is made when it is opened, its name."""
    try:
        return str(resolve(model))
    except BaseModelError:
        return model


def _known(form: str, quantize: str) -> tuple[Form, Quantize]:
    wanted = next((known for known in FORMATS if known == form), None)
    rounding: Quantize | None = next((known for known in get_args(Quantize) if known == quantize), None)
    if wanted is None:
        raise InputError(f"--format {form!r} is not known. Give one of: {', '.join(FORMATS)}.")
    if rounding is None:
        raise InputError(f"--quantize {quantize!r} is not known. Give one of: {', '.join(get_args(Quantize))}.")
    if wanted == "tensorflow" and rounding != "none":
        raise InputError("--format tensorflow writes float32 weights. Leave --quantize out, or give --format onnx.")
    return wanted, rounding


def _opened(model: str, form: Form) -> Embedder | LanguageModel:
    """The model, of the kind that the format is for."""
    kind = kind_of(model)
    if kind == "seq2seq":
        raise InputError(
            f"{model!r} is an encoder–decoder, and --format {form} has no form for one: {' and '.join(FORMATS)} are "
            "for encoders and language models. Its folder holds safetensors that transformers opens: use that."
        )
    is_language_model = kind == "lm"
    if is_language_model != (form == "safetensors"):
        raise InputError(
            f"{model!r} is a language model; expected an encoder for --format {form}. Export it with --format "
            "safetensors."
            if is_language_model
            else f"{model!r} is one of the {CALLED[kind]}, whose folder holds safetensors already: use that. --format "
            "safetensors is for language models."
        )
    if not is_language_model:
        return open_base(model)
    opened = open_model(model)
    assert isinstance(opened, LanguageModel)
    return opened


def _write_onnx(product: Embedder, folder: Path, model: str, rounding: Quantize, readings: dict[str, float]) -> None:
    for graph in graphs_of(product):
        path = folder / graph.file
        _write_graph(graph, path)
        if rounding == "int8":
            _round_weights(path)
        cosines = _agreement(graph, path)
        readings["least_cosine"] = min(float(cosines.min()), readings.get("least_cosine", 1.0))
        if not cosines.min() >= LEAST_COSINE:  # also where it is not a number
            raise ArtifactError(_refusal(model, "ONNX graph", cosines, graph.shown, rounding))
    if isinstance(product, TextEncoder | PairEncoder):
        product.tokenizer.save_pretrained(folder)
    if isinstance(product, ImageEncoder | PairEncoder):
        network = product.network if isinstance(product, ImageEncoder) else product.network.pictures
        write_text(folder / PROCESSOR, json.dumps(processor_settings(network), indent=2))
    size = sum(path.stat().st_size for path in folder.glob("*.onnx"))
    write_text(folder / "README.md", _card(product, rounding, readings["least_cosine"], size))


def _write_tensorflow(
    product: Embedder, folder: Path, model: str, interpreter: str, readings: dict[str, float]
) -> None:
    cosines = write_saved_model(product, folder / SAVED_MODEL, interpreter=interpreter)
    readings["least_cosine"] = float(cosines.min())
    if not cosines.min() >= LEAST_COSINE:
        raise ArtifactError(_refusal(model, "TensorFlow model", cosines, SAMPLE, "none"))
    encoder = text_encoder(product)
    encoder.tokenizer.save_pretrained(folder)
    size = sum(path.stat().st_size for path in (folder / SAVED_MODEL).rglob("*") if path.is_file())
    write_text(folder / "README.md", tensorflow_card(encoder, readings["least_cosine"], size))


def _require_packages() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"Exporting needs the package {missing[0]}. Install it with: pip install 'shoptalk[onnx]'")


def _write_graph(graph: Exported, path: Path) -> None:
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every package that it could use and need not
    with _plain_attention(graph.backbone), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own internals
        program: Any = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.example.values()),
            input_names=list(graph.example),
            output_names=["vectors"],
            dynamic_shapes={name: dict(graph.sizes) for name in graph.example},
            dynamo=True,
            verbose=False,
        )
        program.save(path)


@contextlib.contextmanager
def _plain_attention(backbone: Any) -> Iterator[None]:
    """Stock matmul attention inside: the fast kinds read packed rows, which the exported graph does not have."""
    if backbone is None:
        yield
        return
    implementation = backbone.config._attn_implementation
    attention.use(backbone, "eager")
    try:
        yield
    finally:
        attention.use(backbone, implementation)


def _round_weights(path: Path) -> None:
    """Replace the layers' matrices by 8-bit ones, a scale for each block of a column. Convolutions keep their weights.

    Activations stay float32: rounding them too (dynamic quantisation) was up to twice as fast on a processor with AVX2
    only, but took the lowest cosine to 0.95.

    Raises:
        InputError: there is no matrix in the graph.
    """
    root = logging.getLogger()
    level = root.level
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.setLevel(level)  # which that import lowers, and every node of the graph would be a line on the screen
    model = onnx.load(str(path))
    if not any(node.op_type in {"MatMul", "Gemm"} for node in model.graph.node):
        raise InputError(
            "--quantize int8 rounds the matrices of an encoder, and this one has none: its layers are convolutions. "
            "Export it with --quantize none."
        )
    rounding = MatMulNBitsQuantizer(model, bits=_BITS, block_size=_BLOCK, is_symmetric=True)
    rounding.process()
    rounding.model.save_model_to_file(str(path), use_external_data_format=False)


def _agreement(graph: Exported, path: Path) -> Float32[np.ndarray, " N"]:
    """The cosine between the graph's and the model's vector of each of the sample."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    vectors = np.concatenate([session.run(["vectors"], dict(batch))[0] for batch in graph.batches])
    cosines: Float32[np.ndarray, " N"] = (vectors.astype(np.float32) * graph.expected).sum(axis=1)
    return cosines


def _refusal(
    model: str, what: str, cosines: Float32[np.ndarray, " N"], shown: Sequence[str], rounding: Quantize
) -> str:
    worst = shown[int(np.nan_to_num(cosines, nan=-1).argmin())]
    advice = (
        "Export it with --quantize none."
        if rounding == "int8"
        else "Please report this with the model's name; until then, use the model with torch."
    )
    return (
        f"The {what} of {model!r} does not give the model's vectors: the lowest cosine over {len(cosines)} of a "
        f"sample is {cosines.min():.5f} (at {worst[:40]!r}), expected {LEAST_COSINE} or more. Nothing was written. "
        f"{advice}"
    )


# What the folder says of itself


def _card(product: Embedder, rounding: Quantize, cosine: float, size: int) -> str:
    weights = "8-bit weights, a scale for every 32 of them" if rounding == "int8" else "float32 weights"
    lines = [
        f"# {product.name} as ONNX\n",
        f"Made by `shoptalk export`: {weights}, {size / 1e6:.0f} MB. Against torch in float32, the lowest cosine over\n"
        f"a sample was {cosine:.5f}.\n",
    ]
    if isinstance(product, TextEncoder):
        lines.append(_of_texts(product, "model.onnx", product.network.pooling))
    elif isinstance(product, PairEncoder):
        lines.append("Pictures and texts have vectors of one space: a text is near the pictures that it describes.\n")
        lines.append(_of_pictures(product, "pictures.onnx"))
        lines.append(_of_texts(product, "texts.onnx", product.network.texts.pooling))
    else:
        lines.append(_of_pictures(product, "model.onnx"))
    return "\n".join(lines)


def _of_texts(product: TextEncoder | PairEncoder, file: str, pooling: str) -> str:
    return f"""Of the {len(SAMPLE)} texts of the sample, the shortest has 1 token and the longest {product.max_length}.

`{file}` maps `input_ids` and `attention_mask` (int64, [batch, length]) to `vectors` (float32,
[batch, {product.dim}]): {pooling} pooling and unit length are inside. Cut texts at
{product.max_length} tokens.

```python
import numpy as np, onnxruntime
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({product.max_length})
tokenizer.enable_padding(pad_id={product.tokenizer.pad_token_id}, pad_token="{product.tokenizer.pad_token}")
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
rows = tokenizer.encode_batch(["When does the ferry leave?"])
vectors = session.run(["vectors"], {{
    "input_ids": np.array([row.ids for row in rows], dtype=np.int64),
    "attention_mask": np.array([row.attention_mask for row in rows], dtype=np.int64),
}})[0]
```
"""


def _of_pictures(product: Any, file: str) -> str:
    side = product.size
    network = getattr(product.network, "pictures", product.network)
    mean, std = getattr(network, "mean", (0.0, 0.0, 0.0)), getattr(network, "std", (1.0, 1.0, 1.0))
    return f"""`{file}` maps `pixel_values` (float32, [batch, 3, {side}, {side}]) to `vectors` (float32,
[batch, {product.dim}]) of unit length: the shorter side of a picture becomes {side} pixels, the middle square is cut
out, and its channels are normalised.

```python
import numpy as np, onnxruntime
from PIL import Image

image = Image.open("picture.jpg").convert("RGB")
short = min(image.size)
image = image.resize([int({side} * length / short) for length in image.size], Image.Resampling.BICUBIC)
left, top = [(length - {side}) // 2 for length in image.size]
pixels = np.asarray(image.crop((left, top, left + {side}, top + {side})), dtype=np.float32) / 255
pixels = (pixels - np.float32({list(mean)})) / np.float32({list(std)})
session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
vectors = session.run(["vectors"], {{"pixel_values": pixels.transpose(2, 0, 1)[None]}})[0]
```
"""
