"""A Llama model out of a GGUF file, llama.cpp's format, as a plain transformers folder in bfloat16.

What differs between the two formats:

- Matrices are quantised in blocks of numbers; the package `gguf` gives them back as float32. Rounding these to bfloat16
  moves them by less than the quantisation has.
- The rows of the query and key projections are permuted: llama.cpp rotates neighbouring pairs of a head's channels, and
  transformers rotates channels i and i + half.
- The tokenizer is a list of tokens, merges and the name of how texts are split; each name means a pipeline.
- A file without `output.weight` has tied embeddings.
"""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from shoptalk.errors import BaseModelError

_CONTROL = 3
"""GGUF's type of tokens that are no text, such as the end of a turn."""
_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_IN_A_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_MATRICES = len(_IN_A_LAYER)


def require_reader(name: str) -> None:
    """Refuse to begin where the package that reads GGUF files is not installed.

    Raises:
        BaseModelError: it is not.
    """
    if importlib.util.find_spec("gguf") is None:
        raise BaseModelError(
            f"The base model {name!r} comes as a GGUF file, and the package gguf, which reads it, is not installed. "
            f"Install it with `pip install gguf` (or `pip install 'shoptalk[{name}]'`) and give the same command again."
        )


def write_llama(path: Path, folder: Path) -> None:
    """Write the GGUF file's model into a new folder that AutoModelForCausalLM and AutoTokenizer open.

    Raises:
        ValueError: the file is of another architecture, or its tokenizer splits texts in a way that is not known here.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    facts = {key: field.contents() for key, field in reader.fields.items()}
    if facts["general.architecture"] != "llama":
        raise ValueError(f"its architecture is {facts['general.architecture']!r}, and 'llama' was expected")
    tokenizer = _tokenizer(facts)
    weights = _weights(reader, facts)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_config(facts, weights), indent=2) + "\n", encoding="utf-8")
    numbers = {f"{role}_token_id": facts[f"tokenizer.ggml.{key}_token_id"] for role, key in _ROLES.items()}
    (folder / "generation_config.json").write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    settings = folder / "tokenizer_config.json"
    named = json.loads(settings.read_text(encoding="utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
    named.pop("backend", None)  # these two as every version of transformers knows them
    settings.write_text(json.dumps(named, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


_ROLES = {"bos": "bos", "eos": "eos", "pad": "padding"}


def _config(facts: dict[str, Any], weights: dict[str, Tensor]) -> dict[str, Any]:
    """config.json with the keys that transformers 4 and 5 both read."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": facts["llama.embedding_length"],
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": facts["llama.attention.head_count"],
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": facts["llama.rope.dimension_count"],
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": _shortest(facts["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": _shortest(facts["llama.rope.freq_base"]),
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        **{f"{role}_token_id": facts[f"tokenizer.ggml.{key}_token_id"] for role, key in _ROLES.items()},
        "torch_dtype": "bfloat16",
    }


def _shortest(number: float) -> float:
    """The decimal number that was stored as a float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def _weights(reader: Any, facts: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors by transformers' names, in bfloat16.

    Raises:
        ValueError: the file lacks a tensor or holds one that is not known.
    """
    from gguf.quants import dequantize

    heads = {"attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]}
    weights = {}
    for tensor in reader.tensors:
        matrix = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)  # its own, not the file's
        layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", tensor.name)
        if layer and layer[2] in _IN_A_LAYER:
            name = f"model.layers.{layer[1]}.{_IN_A_LAYER[layer[2]]}.weight"
            if layer[2] in heads:
                matrix = unpermuted(matrix, heads=heads[layer[2]])
        elif tensor.name in _WHOLE:
            name = _WHOLE[tensor.name]
        else:
            raise ValueError(f"it holds a tensor {tensor.name!r}, which a Llama without biases does not have")
        weights[name] = torch.from_numpy(matrix).to(torch.bfloat16)
    expected = facts["llama.block_count"] * _MATRICES + 2
    held = len(weights.keys() - {"lm_head.weight"})
    if held != expected:
        raise ValueError(
            f"it holds {held} tensors, and {expected} were expected of {facts['llama.block_count']} layers"
        )
    return weights


def unpermuted(matrix: Float[np.ndarray, "R C"], *, heads: int) -> Float[np.ndarray, "R C"]:
    """The rows in transformers' order: those of each head's even channels first, then those of its odd ones."""
    rows, columns = matrix.shape
    return np.ascontiguousarray(matrix.reshape(heads, -1, 2, columns).swapaxes(1, 2).reshape(rows, columns))


def _tokenizer(facts: dict[str, Any]) -> PreTrainedTokenizerFast:
    """The tokenizer: byte-level BPE, with the digits of a number apart.

    Raises:
        ValueError: the file names another one.
    """
    kind = (facts["tokenizer.ggml.model"], facts["tokenizer.ggml.pre"])
    if kind != ("gpt2", "smollm"):
        raise ValueError(f"its tokenizer is {kind}, and ('gpt2', 'smollm') was expected")
    tokens = facts["tokenizer.ggml.tokens"]
    # A merge is two pieces with a space between them; no piece holds one, because bytes are written as letters.
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    pipeline = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(tokens)}, merges=merges))
    pipeline.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    pipeline.decoder = decoders.ByteLevel()
    pipeline.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind_of_token in zip(tokens, facts["tokenizer.ggml.token_type"], strict=True)
            if kind_of_token == _CONTROL
        ]
    )
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pipeline,
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": tokens[facts[f"tokenizer.ggml.{key}_token_id"]] for role, key in roles.items()},
    )
    tokenizer.chat_template = facts["tokenizer.chat_template"]
    return tokenizer
