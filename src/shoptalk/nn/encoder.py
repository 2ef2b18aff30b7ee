"""Text encoders: a transformers backbone, masked-mean or first-token pooling, unit length. In memory and on disk.

On disk an encoder is a sentence-transformers folder: `SentenceTransformer(path)` and `AutoModel.from_pretrained(path)`
open it where Shoptalk is not installed.
"""

import contextlib
import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.nn import attention, bertlike, gather
from shoptalk.nn.native import library
from shoptalk.nn.native.ops import segment_mean
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import CALLED, Embedder, Kind, Product
from shoptalk.nn.transfer import sent
from shoptalk.text.batching import LADDER, Group, TokenBatch, make_batch, make_batch_of_one
from shoptalk.text.corpus import Corpus
from shoptalk.text.tokens import Tokenised, tokenise, tokenise_to

Pooling = Literal["mean", "cls"]

MAX_LENGTH = 128
"""Tokens of the longest text, unless the model takes less. Chat turns and passages are short; longer ones are cut."""

PACKABLE = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet")
"""Model types tested with packed rows: texts that share a row must not move each other's states."""


class Encoder(nn.Module):
    """Texts to unit vectors; the tokens' hidden states are there for objectives that predict tokens."""

    def __init__(self, backbone: nn.Module, *, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling: Pooling = pooling
        self._weights: Sequence[bertlike.Weights] | None = None  # while a batch's groups are encoded
        self._held: dict[bool, Sequence[bertlike.Weights]] | None = None
        pooler = getattr(backbone, "pooler", None)
        if isinstance(pooler, nn.Module):
            pooler.requires_grad_(False)  # BERT's; nothing here uses it

    @property
    def dim(self) -> int:
        """Width of the hidden states and of the text vectors."""
        return int(self.backbone.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def read_rows(self, *, sparse: bool) -> None:
        """Let the token embeddings' gradient hold only the rows that a batch reads (`sparse`), or the whole table."""
        table = self.backbone.get_input_embeddings()  # type: ignore[operator]
        table.sparse = sparse

    @property
    def packed(self) -> bool:
        """Whether several texts may share a row."""
        config: Any = self.backbone.config
        return config.model_type in PACKABLE and config._attn_implementation == attention.NAME

    @property
    def by_kernels(self) -> bool:
        """Whether the compiled kernels run its layers and draw its dropout masks."""
        return self.packed and bertlike.serves(self.backbone)

    def hold_weights(self) -> None:
        """Keep the weights as the kernels read them from one batch to the next: for an encoder that is only read."""
        self._held = {}

    def _ready_weights(self) -> Sequence[bertlike.Weights]:
        if self._held is None:
            return bertlike.weights(self.backbone)
        in_bfloat16 = torch.is_autocast_enabled("cpu")
        if in_bfloat16 not in self._held:
            self._held[in_bfloat16] = bertlike.weights(self.backbone)
        return self._held[in_bfloat16]

    def hidden(self, group: Group, *, causal: bool = False) -> Float[Tensor, "R W D"]:
        """The last layer's hidden states of one group; those of padding mean nothing. Where it is `causal` no token
        sees those after it.

        Raises:
            ConfigError: it is to be causal, and the backbone takes no mask of that kind.
        """
        return self.top_layers(group, 1, causal=causal)[0]

    def top_layers(self, group: Group, top: int, *, causal: bool = False) -> list[Float[Tensor, "R W D"]]:
        """The hidden states of the last `top` layers, lowest first: fewer where the backbone has fewer layers."""
        ids = sent(group.ids, self.device)
        config: Any = self.backbone.config
        if causal and not self.packed:
            raise ConfigError(
                f"The attention of {config.model_type!r} cannot be made to read from left to right. "
                "Give an encoder such as minilm, or another objective, such as mlm."
            )
        if not self.packed:
            mask = sent(group.mask, self.device, torch.int64)
            return _last(self.backbone(input_ids=ids, attention_mask=mask, output_hidden_states=top > 1), top)
        positions = sent(group.positions, self.device) + bertlike.first_position(config)
        if self.by_kernels:
            embedded = self.backbone.embeddings(input_ids=ids, position_ids=positions)  # type: ignore[operator]
            weights = self._weights or bertlike.weights(self.backbone)
            return bertlike.contextualize(
                self.backbone, weights, embedded, group, training=self.training, top=top, causal=causal
            )
        packing = attention.Packing(group, self.device, causal)
        inputs: dict[str, Any] = {"input_ids": ids, "position_ids": positions}
        # A stock model with attention of its own takes no `packing`, but a mask that keeps texts apart.
        inputs |= {"attention_mask": packing.bias} if config.model_type in attention.RELATIVE else {"packing": packing}
        return _last(self.backbone(**inputs, output_hidden_states=top > 1), top)

    def pool(self, hidden: Float[Tensor, "R W D"], group: Group) -> Float[Tensor, "m D"]:
        """Unit-length vectors of a group's texts, computed in float32 whatever the precision of the layers.

        Tokenizers that add no special tokens leave nothing of an empty text; its vector is zero, not NaN.
        """
        flat = hidden.flatten(0, 1)
        lengths = sent(group.lengths, flat.device)
        if self.pooling == "cls":
            begins = sent(group.begins, flat.device).clamp(max=len(flat) - 1)
            return nn.functional.normalize(flat[begins].float() * (lengths > 0).unsqueeze(-1), dim=-1)
        if flat.device.type == "cpu" and library() is not None:
            means = segment_mean(flat.contiguous(), group.begins.int(), group.lengths.int())
            return nn.functional.normalize(means, dim=-1)
        text = sent(torch.repeat_interleave(torch.arange(len(group.rows)), group.lengths), flat.device)
        sums = torch.zeros(len(lengths), flat.shape[1], device=flat.device)
        sums = sums.index_add(0, text, flat[sent(group.cells, flat.device)].float())
        # The mean differs from the sum in length alone, which normalising takes away.
        return nn.functional.normalize(sums, dim=-1)

    def share(self, batch: TokenBatch) -> Iterator[tuple[int, Group, bool]]:
        """The groups that this process encodes: number, group, and whether the result counts.

        In training every group has its own stream of randomness, so its dropout does not depend on which process
        encodes it; afterwards all processes' generators agree again.
        """
        base = int(torch.randint(2**62, ())) if self.training else 0
        if self.by_kernels:
            self._weights = self._ready_weights()
        try:
            for number, counts in gather.share(batch.groups):
                if self.training:
                    torch.manual_seed(base + 1 + number)
                yield number, batch.groups[number], counts
        finally:
            self._weights = None
        if self.training:
            torch.manual_seed(base)

    def forward(self, batch: TokenBatch) -> Float[Tensor, "n D"]:
        """One unit vector per text, in the batch's order; with several processes, on each of them."""
        parts = []
        for _, group, counts in self.share(batch):
            vectors = self.pool(self.hidden(group), group)
            parts.append(vectors if counts else vectors[:0])
        order = sorted(range(len(batch.groups)), key=lambda number: (gather.owner(number), number))
        sizes = [0] * gather.world_size()
        for number in order:
            sizes[gather.owner(number)] += len(batch.groups[number].rows)
        vectors = gather.gather_rows(torch.cat(parts), sizes)
        texts = sent(torch.cat([batch.groups[number].rows for number in order]), vectors.device)
        return vectors[torch.argsort(texts)]


def _last(output: Any, top: int) -> list[Tensor]:
    """A stock model's states of its last layers; `hidden_states` begins with the embeddings, before any layer."""
    return [output.last_hidden_state] if top == 1 else list(output.hidden_states[1:][-top:])


MODEL_CARD = "README.md"
"""Of an encoder's folder, the file that tells people what it is."""


@dataclass(frozen=True)
class TextEncoder(Embedder):
    """A text encoder with its tokenizer, and where it came from."""

    kind: ClassVar[Kind] = "text"

    network: Encoder
    tokenizer: Any
    max_length: int
    name: str
    precision: Precision = "float32"
    """Of the layers when it embeds. bfloat16 instead of float32 lowers a vector's cosine to itself by about 1e-4."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    context_turns: int | None = None

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self.network.dim

    def batch(self, rows: Sequence[Int[np.ndarray, " _"]]) -> TokenBatch:
        """Token ids of n texts as a batch of the shapes that this encoder reads."""
        return make_batch(rows, pad_id=self.tokenizer.pad_token_id, packed=self.network.packed)

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Tokenised:
        """Every text's token ids."""
        if folder is None:
            return tokenise(self.tokenizer, corpus.texts, max_length=self.max_length)
        return tokenise_to(folder, self.tokenizer, corpus.texts, max_length=self.max_length, digest=corpus.digest)

    def units(self, items: Sequence[str]) -> int:
        """Real tokens of the texts, as the encoder would see them."""
        return int(tokenise(self.tokenizer, items, max_length=self.max_length).starts[-1])

    def embed(
        self,
        items: Sequence[str],
        *,
        batch: int = 1024,
        precision: Precision | None = None,
        prompt: str | None = None,
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the texts in their order, float32; dropout is off and nothing is learned.

        Texts are sorted by length inside. Layers run in `precision`, else in the product's own.

        Raises:
            ConfigError: it has no prompt of that name.
        """
        if prompt is not None:
            before = prompt_of(self, prompt)
            items = [before + item for item in items]
        tokens = tokenise(self.tokenizer, items, max_length=self.max_length)
        order = np.argsort(tokens.lengths, kind="stable")
        vectors = np.zeros((len(items), self.network.dim), dtype=np.float32)
        layers = autocast(precision or self.precision, self.network.device)
        with evaluating(self.network), torch.inference_mode(), layers:
            for begin in range(0, len(order), batch):
                part = order[begin : begin + batch]
                rows = [tokens[i] for i in part]
                alone = len(items) == 1 and self.network.packed
                texts = make_batch_of_one(rows[0], pad_id=self.tokenizer.pad_token_id) if alone else self.batch(rows)
                vectors[part] = self.network(texts).float().cpu().numpy()
        return vectors

    def save(self, folder: Path, *, card: str) -> None:
        """Write a sentence-transformers folder with float32 safetensors; `card` becomes its model card."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.backbone.save_pretrained(folder)  # type: ignore[operator]
        self.tokenizer.save_pretrained(folder)
        pooling = {
            "word_embedding_dimension": self.network.dim,
            "pooling_mode_cls_token": self.network.pooling == "cls",
            "pooling_mode_mean_tokens": self.network.pooling == "mean",
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        }
        modules = [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
        (folder / "2_Normalize").mkdir(exist_ok=True)
        write_text(folder / "1_Pooling" / "config.json", json.dumps(pooling, indent=2))
        write_text(folder / "modules.json", json.dumps(modules, indent=2))
        write_text(
            folder / "sentence_bert_config.json",
            json.dumps({"max_seq_length": self.max_length, "do_lower_case": False}, indent=2),
        )
        write_text(
            folder / "config_sentence_transformers.json",
            json.dumps(self._described(), indent=2),
        )
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def _described(self) -> dict[str, Any]:
        """`config_sentence_transformers.json`, from which sentence-transformers reads the prompts by their names."""
        described: dict[str, Any] = {"model_type": "SentenceTransformer", "similarity_fn_name": "cosine"}
        if self.prompts:
            described["prompts"] = dict(self.prompts)
        if self.context_turns is not None:
            described["context_turns"] = self.context_turns
        return described

    def copy(self) -> "TextEncoder":
        """The same with weights of its own."""
        return replace(self, network=copy.deepcopy(self.network))

    def in_precision(self, precision: Precision) -> "TextEncoder":
        """The same network, read in another precision."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Let the word embeddings' gradient hold only the rows that a batch reads. An objective whose output layer
        reads the whole table sets it back.
        """
        self.network.read_rows(sparse=True)


def text_encoder(product: Product) -> TextEncoder:
    """The product as a text encoder, for what is about texts alone.

    Raises:
        ConfigError: it is of another kind.
    """
    if not isinstance(product, TextEncoder):
        raise ConfigError(f"{product.name!r} is one of the {CALLED[product.kind]}; expected a text encoder.")
    return product


def embed(product: Embedder, items: Sequence[Any], **choices: Any) -> Float[np.ndarray, "N D"]:
    """Unit vectors of the items in their order, float32 (`Embedder.embed`)."""
    return product.embed(items, **choices)


def prompt_of(product: Embedder, name: str) -> str:
    """What an encoder puts before a text of that name.

    Raises:
        ConfigError: it has no prompt of that name.
    """
    if name not in product.prompts:
        known = f"It has: {', '.join(product.prompts)}." if product.prompts else "It has none; leave the name out."
        raise ConfigError(f"{product.name} has no prompt named {name!r}. {known}")
    return product.prompts[name]


def embed_as(product: Embedder, items: Sequence[str], *names: str) -> Float[np.ndarray, "N D"]:
    """Unit vectors of texts under the first of these prompts that the encoder has; without one of them, as they are."""
    return product.embed(items, prompt=next((name for name in names if name in product.prompts), None))


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each submodule's own mode again afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def pooling_of(folder: Path) -> Pooling:
    """The pooling that a sentence-transformers folder asks for; mean where it says nothing."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return "mean"
    config = json.loads(path.read_text(encoding="utf-8"))
    mode = config.get("pooling_mode")
    if config.get("pooling_mode_mean_tokens") or mode == "mean":
        return "mean"
    if config.get("pooling_mode_cls_token") or mode == "cls":
        return "cls"
    raise BaseModelError(
        f"{path} asks for a pooling other than mean or cls, which are the ones that Shoptalk trains. Give another "
        "model."
    )


def dialogue_of(folder: Path) -> tuple[dict[str, str], int | None]:
    """The prompts of a sentence-transformers folder by their names, and how many turns make a context there.

    Raises:
        BaseModelError: they are of another form.
    """
    path = folder / "config_sentence_transformers.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    prompts, turns = config.get("prompts") or {}, config.get("context_turns")
    texts = isinstance(prompts, dict) and all(isinstance(text, str) for text in prompts.values())
    if not texts or not (turns is None or (type(turns) is int and turns > 0)):
        raise BaseModelError(
            f"{path} holds prompts or context_turns of another form. Expected texts by their names, such as "
            '{"prompts": {"query": "query: "}}, and a number of turns above 0; fetch or write the model again.'
        )
    return {name: text for name, text in prompts.items() if text}, turns


def longest_of(folder: Path, *limits: int) -> int:
    """The most tokens per text that a folder's encoder takes, rounded down to a length of `LADDER`.

    `limits` are the length that is asked for, and what model and tokenizer take. Rounded down, because a text padded
    past the last position embedding cannot be read: of RoBERTa's 514 positions, two never hold a token. A ValueError
    says that what the folder states is no length.
    """
    path = folder / "sentence_bert_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")).get("max_seq_length") if path.is_file() else None
    if not isinstance(stated, int | None):
        raise ValueError(f"max_seq_length in sentence_bert_config.json is {stated!r}, and no whole number")
    limit = min(*limits, stated or limits[0])
    return max((length for length in LADDER if length <= limit), default=limit)
