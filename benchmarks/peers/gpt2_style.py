"""A small decoder as GPT-2 is built, trained as small GPT-2 reproductions are: plain PyTorch, one file.

Learned positions, LayerNorm before each block, GELU, tied embeddings, no dropout; random blocks of one long stream of
tokens, AdamW with betas of 0.9 and 0.95 and a weight decay of 0.1 on matrices, warm-up then cosine to a tenth,
gradients clipped at 1, autocast to bfloat16 where asked. It has the other side's tokenizer, so that only model and
training differ.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import report
from torch import Tensor, nn
from transformers import AutoTokenizer

_FORECAST = 6
"""Steps from which the length of a training is forecast; the first two are warm-up."""


class Block(nn.Module):
    """Attention and feed-forward block, each added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_inner = nn.LayerNorm(width), nn.LayerNorm(width)
        self.read, self.write = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, states: Tensor) -> Tensor:
        n, length, width = states.shape
        query, key, value = (
            part.view(n, length, self.heads, -1).transpose(1, 2)
            for part in self.read(self.before_attention(states)).split(width, dim=2)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        states = states + self.write(mixed.transpose(1, 2).reshape(n, length, width))
        return states + self.inner(self.before_inner(states))


class Decoder(nn.Module):
    """Logits of the next token at every place."""

    def __init__(self, vocabulary: int, context: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.pieces, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.last = nn.LayerNorm(width)
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                writes = name.endswith(("write.weight", "inner.2.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, ids: Tensor) -> Tensor:
        states = self.pieces(ids) + self.places(torch.arange(ids.shape[1]))
        return nn.functional.linear(self.last(self.blocks(states)), self.pieces.weight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True, help="a transformers folder")
    parser.add_argument("--documents", type=Path, required=True, help="a JSON list of lists of texts")
    parser.add_argument("--tests", type=Path, required=True, help="a JSON list of texts: their bits are told")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=16, help="blocks")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(given.tokenizer, trust_remote_code=False)
    end = tokenizer.eos_token_id

    def read(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    documents = json.loads(given.documents.read_text("utf-8"))
    stream = torch.tensor([piece for parts in documents for piece in [end, *read("\n".join(parts))]])
    rng = torch.Generator().manual_seed(given.seed)

    def made() -> tuple[Decoder, torch.optim.AdamW]:
        torch.manual_seed(given.seed)
        model = Decoder(len(tokenizer), given.context, given.layers, given.width, given.heads)
        matrices = [weight for weight in model.parameters() if weight.ndim > 1]
        others = [weight for weight in model.parameters() if weight.ndim == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
        return model, torch.optim.AdamW(groups, lr=given.lr, betas=(0.9, 0.95), fused=True)

    def train(model: Decoder, optimizer: Any, steps: int) -> list[float]:
        ends, warmup = [time.perf_counter()], max(1, min(100, steps // 10))
        for step in range(steps):
            share = (step + 1) / warmup if step < warmup else None
            turned = (step - warmup) / max(1, steps - warmup)
            for group in optimizer.param_groups:
                group["lr"] = given.lr * (share or 0.1 + 0.45 * (1 + math.cos(math.pi * turned)))
            begins = torch.randint(len(stream) - given.context - 1, (given.batch,), generator=rng)
            rows = torch.stack([stream[begin : begin + given.context + 1] for begin in begins.tolist()])
            with torch.autocast("cpu", torch.bfloat16, enabled=given.bf16):
                logits = model(rows[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            ends.append(time.perf_counter())
        return np.diff(ends).tolist()

    steps = max(3, round(60 * given.minutes / float(np.median(train(*made(), _FORECAST)[2:]))))
    model, optimizer = made()
    seconds = train(model, optimizer, steps)
    bits = []
    with torch.inference_mode():
        for text in json.loads(given.tests.read_text("utf-8")):
            ids = read(text)
            nats = 0.0
            for begin in range(0, len(ids), given.context - 1):
                part = torch.tensor([[end, *ids[begin : begin + given.context - 1]]])
                # The first token is read and not foretold, as Shoptalk's own score has it.
                nats += float(nn.functional.cross_entropy(model(part)[0, 1:-1], part[0, 2:], reduction="sum"))
            bits.append(nats / math.log(2))
    tokens = steps * given.batch * given.context
    report(
        steps=steps,
        trained_seconds=sum(seconds),
        tokens_per_second=tokens / sum(seconds),
        parameters=sum(weight.numel() for weight in model.parameters()),
        bits={"after": bits},
    )


if __name__ == "__main__":
    main()
