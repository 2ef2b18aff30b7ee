"""What the kernels of decoding must get right: a small Llama in float64, written from the papers."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from shoptalk.nn.native.step import PER_LAYER, LlamaStep, StepShape, few_rows

_SHAPE = StepShape(layers=2, width=64, heads=4, kv_heads=2, head=32, hidden=96, vocabulary=37, slots=3, capacity=11)
_EPS = 1e-5

Values = Callable[..., Tensor]


def products(values: Values, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Five rows and a table whose rows fill no chunk."""
    x, table = values(5, 64), values(37, 64, dtype=dtype)
    return (few_rows(x, table).to(dtype),), (x.to(dtype).double() @ table.double().T,)


def step(values: Values, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Two texts, read in two passes: logits of three cells, and all that is kept."""
    s = _SHAPE
    sizes = {
        0: (s.width,), 1: (s.heads * s.head, s.width), 2: (s.kv_heads * s.head, s.width),
        3: (s.kv_heads * s.head, s.width), 4: (s.width, s.heads * s.head), 5: (s.width,), 6: (s.hidden, s.width),
        7: (s.hidden, s.width), 8: (s.width, s.hidden),
    }  # fmt: skip
    tables = []
    for number in range(PER_LAYER * s.layers):
        size = sizes[number % PER_LAYER]
        matrix = len(size) == 2
        weight = values(*size, seed=number) * (0.3 / math.sqrt(size[-1]) if matrix else 0.1) + (0 if matrix else 1)
        tables.append(weight.to(dtype if matrix else torch.float32))
    tables += [
        torch.ones(s.width),
        values(s.vocabulary, s.width, dtype=dtype),
        values(s.vocabulary, s.width, dtype=dtype),
    ]
    angles = torch.arange(s.capacity)[:, None] * 10_000.0 ** (-torch.arange(0, s.head, 2) / s.head)
    angles = torch.cat([angles, angles], dim=1)
    states = [torch.zeros(s.slots, s.capacity, s.kv_heads, s.head, dtype=dtype) for _ in range(2 * s.layers)]
    run = LlamaStep(s, tables, states, angles.cos().contiguous(), angles.sin().contiguous(), _EPS)
    texts = {1: [3, 5, 36, 0, 7], 2: [9, 1, 3]}
    run(_cells(texts, 0, 2), torch.tensor([0]))
    cells = _cells(texts, 2, 5)
    wanted = torch.tensor([0, 2, 3])
    logits = run(cells, wanted)
    expected = {slot: _by_hand(ids, tables, angles) for slot, ids in texts.items()}
    right = torch.stack([expected[slot][position] for _, slot, position in cells[wanted].tolist()])
    return (logits.to(dtype),), (right,)


def _cells(texts: dict[int, list[int]], begin: int, end: int) -> Tensor:
    rows = [
        (token, slot, position)
        for slot, ids in texts.items()
        for position, token in enumerate(ids)
        if begin <= position < end
    ]
    return torch.tensor(rows)


def _by_hand(ids: Sequence[int], tables: Sequence[Tensor], angles: Tensor) -> Tensor:
    """Logits after each token: RMSNorm (Zhang & Sennrich, 2019), rotary positions (Su et al., 2021), SwiGLU (Shazeer,
    2020).
    """
    s, wide = _SHAPE, [table.double() for table in tables]
    x = wide[-2][list(ids)]
    cosines, sines = (part[: len(ids), None].double() for part in (angles.cos(), angles.sin()))
    causal = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
    for layer in range(s.layers):
        norm, q, k, v, o, second, gate, up, down = wide[PER_LAYER * layer : PER_LAYER * (layer + 1)]
        normed = _rms(x) * norm
        queries, keys, values = ((normed @ table.T).view(len(ids), -1, s.head).transpose(0, 1) for table in (q, k, v))
        queries, keys = (_turned(part.transpose(0, 1), cosines, sines).transpose(0, 1) for part in (queries, keys))
        keys, values = (part.repeat_interleave(s.heads // s.kv_heads, 0) for part in (keys, values))
        scores = (queries @ keys.mT / math.sqrt(s.head)).masked_fill(~causal, -math.inf)
        x = x + (torch.softmax(scores, -1) @ values).transpose(0, 1).flatten(1) @ o.T
        normed = _rms(x) * second
        x = x + (torch.nn.functional.silu(normed @ gate.T) * (normed @ up.T)) @ down.T
    return (_rms(x) * wide[-3]) @ wide[-1].T


def _rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + _EPS).sqrt()


def _turned(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cosines + torch.cat([-second, first], -1) * sines
