"""A smaller vocabulary for a WordPiece tokenizer (Wu et al. 2016): the pieces that a corpus uses, and all characters.

The embeddings are half of a small encoder, and a domain's texts use few of them. WordPiece takes the longest piece of
its vocabulary that fits, from left to right: where all pieces of a text are kept, it takes the same ones again; where
one is not, shorter ones take its place, down to single characters, which are always kept.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shoptalk.errors import ConfigError
from shoptalk.text.tokens import Tokenised

_AT_ONCE = 10_000_000  # token ids counted together


def piece_counts(tokens: Tokenised, vocabulary: int) -> Int[np.ndarray, " V"]:
    """How often each of `vocabulary` pieces occurs in the texts."""
    counts = np.zeros(vocabulary, dtype=np.int64)
    total = int(tokens.starts[-1])
    for begin in range(0, total, _AT_ONCE):
        counts += np.bincount(tokens.flat[begin : min(begin + _AT_ONCE, total)], minlength=vocabulary)
    return counts


def prune(tokenizer: Any, counts: Int[np.ndarray, " V"], *, most: int) -> tuple[Any, Int[np.ndarray, " v"]]:
    """A tokenizer of at most `most` pieces, and the old id of each of its ids, ascending.

    Special and added tokens and single characters always stay; then the pieces with the largest `counts`, and among
    equal counts the first in the vocabulary, which are the most frequent where the model was trained.

    Raises:
        ConfigError: the tokenizer is not WordPiece, or `most` has no room for what must stay.
    """
    pipeline = _pipeline(tokenizer)
    kind = pipeline.get("model", {}).get("type", type(tokenizer).__name__)
    if kind != "WordPiece":
        raise ConfigError(
            f"This model's tokenizer is {kind}, whose vocabulary cannot be pruned, because its pieces are made of "
            "others. Expected WordPiece, as BERT has it. Give --vocabulary full."
        )
    pieces: dict[str, int] = pipeline["model"]["vocab"]
    continuing = pipeline["model"]["continuing_subword_prefix"]
    extra = {token["content"]: token["id"] for token in pipeline["added_tokens"]}
    stay = {*extra.values(), *tokenizer.all_special_ids}
    stay |= {number for piece, number in pieces.items() if len(piece.removeprefix(continuing)) == 1}
    if most < len(stay):
        raise ConfigError(
            f"A vocabulary of {most:,} pieces has no room for the {len(stay):,} special tokens and single characters "
            f"that make every text readable. Give --vocabulary {len(stay)} or more, or full."
        )
    first = ~np.isin(np.arange(len(counts)), list(stay))
    kept = np.sort(np.lexsort((-counts, first))[:most])  # stable: equal counts stay in the vocabulary's order
    new = {int(old): place for place, old in enumerate(kept)}
    pipeline["model"]["vocab"] = {piece: new[old] for piece, old in pieces.items() if old in new}
    pipeline["added_tokens"] = [token | {"id": new[token["id"]]} for token in pipeline["added_tokens"]]
    pipeline["post_processor"] = _renumbered(pipeline["post_processor"], new)
    if pipeline["padding"]:
        pipeline["padding"]["pad_id"] = new[pipeline["padding"]["pad_id"]]
    return _opened(tokenizer, pipeline), kept


def _pipeline(tokenizer: Any) -> dict[str, Any]:
    """All that a fast tokenizer does, as the `tokenizers` library writes it; nothing of a slow one."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    pipeline: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    return pipeline


def _renumbered(part: Any, new: dict[int, int]) -> Any:
    """A post-processor whose ids are the new ones: TemplateProcessing's `ids`, BertProcessing's `sep` and `cls`."""
    if isinstance(part, list):
        return [_renumbered(item, new) for item in part]
    if not isinstance(part, dict):
        return part
    renumbered = {name: _renumbered(value, new) for name, value in part.items()}
    if "ids" in part:
        renumbered["ids"] = [new[number] for number in part["ids"]]
    for name in {"sep", "cls"} & part.keys():
        token, number = part[name]
        renumbered[name] = [token, new[number]]
    return renumbered


def _opened(tokenizer: Any, pipeline: dict[str, Any]) -> Any:
    """A tokenizer of the same class and settings with another pipeline, as it will be read from a folder."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(pipeline, ensure_ascii=False), encoding="utf-8")
        return type(tokenizer).from_pretrained(folder)
