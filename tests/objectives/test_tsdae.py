import math

import numpy as np
import pytest
import torch

from shoptalk.nn.encoder import TextEncoder
from shoptalk.objective import Key
from shoptalk.objectives.masked.tsdae import DenoisingBatch, TsdaeSpec
from shoptalk.text.batching import TokenBatch
from tests.toyworld import toy_world


def rows_of(batch: TokenBatch) -> list[list[int]]:
    """Each text's token ids, in the batch's order."""
    found = {}
    for group in batch.groups:
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            found[i] = group.ids.flatten()[begin : begin + length].tolist()
    return [found[i] for i in range(batch.n)]


def test_the_encoder_sees_a_part_of_each_text_in_its_order_and_the_decoder_all_of_it():
    world = toy_world(TsdaeSpec())
    examples = list(range(40))
    batch = world.collate(examples, Key(0, 3))
    assert rows_of(batch.whole) == [world.tokens[i].tolist() for i in examples]
    gone = 0
    for damaged, whole in zip(rows_of(batch.damaged), rows_of(batch.whole), strict=True):
        rest = iter(whole)
        assert all(token in rest for token in damaged)  # a subsequence
        assert (damaged[0], damaged[-1]) == (whole[0], whole[-1])
        assert len(damaged) > 2
        gone += len(whole) - len(damaged)
    assert 0.5 < gone / sum(len(row) - 2 for row in rows_of(batch.whole)) < 0.7
    assert batch.tokens == sum(map(len, rows_of(batch.damaged))) + sum(map(len, rows_of(batch.whole)))


def test_what_is_deleted_does_not_depend_on_the_batch_and_changes_from_step_to_step():
    world = toy_world(TsdaeSpec())

    def damaged(examples: list[int], key: Key) -> list[list[int]]:
        return rows_of(world.collate(examples, key).damaged)

    together = damaged(list(range(20)), Key(0, 1))
    assert together[7] == damaged([7], Key(0, 1))[0]
    assert together != damaged(list(range(20)), Key(0, 2))
    assert together != damaged(list(range(20)), Key(1, 1))


# ---------------------------------------------------------------------------------------------------- loss


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max())
    return np.asarray(weights / weights.sum())


def norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return np.asarray((x - x.mean()) / math.sqrt(x.var() + 1e-5) * weight + bias)


def gelu(x: np.ndarray) -> np.ndarray:
    return np.array([0.5 * value * (1 + math.erf(value / math.sqrt(2))) for value in x])


def text_loss(
    p: dict[str, np.ndarray], table: np.ndarray, ids: list[int], vector: np.ndarray, heads: int
) -> list[float]:
    """-log p(x_t | x_<t, s) of each token after the first, position by position (Wang et al. 2021, equations 1-2).

    Cross-attention is computed as attention, head by head, over the one vector; its value map is `memory` and its
    query and key maps are arbitrary.
    """
    rng, dim = np.random.default_rng(0), len(vector)
    size, layer = dim // heads, "decoder.layers.0."
    states = [
        norm(table[token] + p["decoder.positions.weight"][t], p["decoder.norm.weight"], p["decoder.norm.bias"])
        for t, token in enumerate(ids)
    ]
    projected = [p[layer + "projection.weight"] @ state + p[layer + "projection.bias"] for state in states]
    losses = []
    for t in range(len(ids) - 1):
        attended = np.zeros(dim)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query = projected[t][:dim][part]
            keys = np.array([projected[u][dim : 2 * dim][part] for u in range(t + 1)])
            values = np.array([projected[u][2 * dim :][part] for u in range(t + 1)])
            attended[part] = softmax(keys @ query / math.sqrt(size)) @ values
        attended = p[layer + "attended.weight"] @ attended + p[layer + "attended.bias"]
        state = norm(states[t] + attended, p[layer + "after_attention.weight"], p[layer + "after_attention.bias"])
        value = p[layer + "memory.weight"] @ vector + p[layer + "memory.bias"]
        crossed = np.zeros(dim)
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            query, key = rng.normal(size=(size, dim)) @ state, rng.normal(size=(size, dim)) @ vector
            crossed[part] = softmax(np.array([query @ key])) @ value[None, part]
        state = norm(state + crossed, p[layer + "after_memory.weight"], p[layer + "after_memory.bias"])
        inner = gelu(p[layer + "widen.weight"] @ state + p[layer + "widen.bias"])
        state = state + p[layer + "narrow.weight"] @ inner + p[layer + "narrow.bias"]
        state = norm(state, p[layer + "after_dense.weight"], p[layer + "after_dense.bias"])
        state = gelu(p["head.transform.0.weight"] @ state + p["head.transform.0.bias"])
        state = norm(state, p["head.transform.2.weight"], p["head.transform.2.bias"])
        losses.append(-math.log(softmax(table @ state + p["head.bias"])[ids[t + 1]]))
    return losses


def vector_of(product: TextEncoder, ids: list[int]) -> np.ndarray:
    with torch.no_grad():
        hidden = product.network.backbone(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()  # type: ignore[operator]
    vector = hidden.astype(np.float64).mean(0)
    return np.asarray(vector / np.linalg.norm(vector) * math.sqrt(len(vector)))


def test_the_loss_is_the_mean_cross_entropy_of_writing_each_text_from_its_vector():
    world = toy_world(TsdaeSpec())
    objective = world.objective.eval()
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            if name.startswith(("decoder", "head")):
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    batch: DenoisingBatch = world.collate(list(range(12)), Key(0, 1))
    loss = objective(batch)
    p = {name: value.detach().numpy().astype(np.float64) for name, value in objective.named_parameters()}
    table = p["encoder.backbone.embeddings.word_embeddings.weight"]
    losses = [
        one
        for damaged, whole in zip(rows_of(batch.damaged), rows_of(batch.whole), strict=True)
        for one in text_loss(p, table, whole, vector_of(world.product, damaged), heads=2)
    ]
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert loss.terms["bits"].item() == pytest.approx(np.mean(losses) / math.log(2), rel=1e-4)


def test_a_text_of_one_token_and_an_empty_text_have_nothing_to_write():
    world = toy_world(TsdaeSpec())
    batch = DenoisingBatch(*(world.product.batch([np.array([2]), np.array([], dtype=np.int64)]) for _ in range(2)))
    assert world.objective(batch).total.item() == 0


def test_the_loss_moves_the_encoder_through_the_vector_alone():
    world = toy_world(TsdaeSpec())
    objective = world.objective.eval()
    batch = world.collate(list(range(8)), Key(0, 0))
    with torch.no_grad():
        objective.decoder.layers[0].memory.weight.zero_()  # type: ignore[union-attr, index]
    objective(batch).total.backward()
    layer = world.product.network.backbone.encoder.layer[0]  # type: ignore[union-attr, index]
    assert all(not parameter.grad.any() for parameter in layer.parameters())
