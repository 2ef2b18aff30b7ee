"""Losses that several objectives share."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shoptalk.nn.native import library
from shoptalk.nn.native.ops import cross_entropy_rows, cross_entropy_rows_

# Stands for minus infinity in logits: far below any cosine over a temperature, and safe under softmax in float32.
EXCLUDED = -1e9


def info_nce(
    queries: Float[Tensor, "n D"],
    keys: Float[Tensor, "n D"],
    *,
    temperature: float | Float[Tensor, ""],
    excluded: Bool[Tensor, "n n"] | None = None,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of identifying each query's key among all keys (van den Oord et al. 2018, equation 4).

    Rows are unit vectors, and key i belongs to query i; `excluded[i, j]` takes key j out of query i's negatives. A
    temperature that is a tensor may be learned.
    """
    logits = _inner_products(queries, keys) / temperature
    numbers = torch.arange(len(queries), device=logits.device)
    if excluded is not None:
        logits = logits.masked_fill(excluded & (numbers[:, None] != numbers[None, :]), EXCLUDED)
    return torch.nn.functional.cross_entropy(logits, numbers)


def nt_xent(first: Float[Tensor, "n D"], second: Float[Tensor, "n D"], *, temperature: float) -> Float[Tensor, ""]:
    """Mean cross-entropy of identifying each view's partner among the other 2n - 1 views (Chen et al. 2020, SimCLR,
    equation 1 and algorithm 1).

    Rows are unit vectors; row i of both are the two views of one example.
    """
    views = torch.cat([first, second])
    partners = torch.arange(len(views), device=views.device).roll(len(first))
    log_probabilities = similarity_distribution(views, temperature=temperature)
    return torch.nn.functional.nll_loss(log_probabilities, partners)


def info_nce_of_queue(
    queries: Float[Tensor, "n D"],
    keys: Float[Tensor, "n D"],
    queue: Float[Tensor, "K D"],
    *,
    temperature: float,
) -> Float[Tensor, ""]:
    """Mean cross-entropy of identifying each query's key among it and the K of a queue (He et al. 2020, MoCo,
    equation 1).

    Rows are unit vectors, and key i belongs to query i; other queries' keys are no negatives.
    """
    with torch.autocast(queries.device.type, enabled=False):
        positives = (queries.float() * keys.float()).sum(-1, keepdim=True)
    logits = torch.cat([positives, _inner_products(queries, queue)], dim=1) / temperature
    return torch.nn.functional.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def squared_distance(predicted: Float[Tensor, "n D"], targets: Float[Tensor, "n D"]) -> Float[Tensor, ""]:
    """Mean squared distance of the two when each is scaled to unit length, 2 - 2 cos (Grill et al. 2020, BYOL,
    equation 2); in float32, whatever precision the layers have.
    """
    return (2 - 2 * torch.nn.functional.cosine_similarity(predicted.float(), targets, dim=-1)).mean()


def similarity_distribution(vectors: Float[Tensor, "n D"], *, temperature: float) -> Float[Tensor, "n n"]:
    """Log-probabilities of each vector's similarity to the others in the batch; a vector is not its own neighbour."""
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    logits = _inner_products(vectors, vectors) / temperature
    return logits.masked_fill(itself, EXCLUDED).log_softmax(-1)


def similarity_divergence(
    students: Float[Tensor, "n D"], targets: Float[Tensor, "n D"], *, temperature: float
) -> Float[Tensor, ""]:
    """Mean KL divergence of the students' similarity distributions from their targets' (Fang et al. 2021, equation 3).

    Rows are unit vectors.
    """
    teacher = similarity_distribution(targets, temperature=temperature)
    student = similarity_distribution(students, temperature=temperature)
    return (teacher.exp() * (teacher - student)).sum(-1).mean()


def spread(vectors: Float[Tensor, "n D"]) -> Float[Tensor, ""]:
    """How far the vectors' directions are apart: the root of their variance, summed over dimensions. 1 where they lie
    all over the sphere, 0 where they are one (as in Chen & He 2021, SimSiam, figure 2, times the root of D).
    """
    mean = torch.nn.functional.normalize(vectors.float(), dim=-1).mean(0)
    return (1 - mean.square().sum()).clamp(min=0).sqrt()


def _inner_products(left: Float[Tensor, "n D"], right: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
    """In float32, also under autocast: a cosine rounded to bfloat16 and divided by a temperature is off by tenths."""
    with torch.autocast(left.device.type, enabled=False):
        return left.float() @ right.float().T


CHUNK = 512
"""Rows of logits that are in memory at once; with a vocabulary of 30,000 they take 60 MB."""


def linear_cross_entropy(
    hidden: Float[Tensor, "m D"],
    table: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"],
    labels: Int[Tensor, " m"],
    *,
    weight: float,
) -> Float[Tensor, ""]:
    """`weight` times the summed cross-entropy of softmax(hidden tableᵀ + bias) against the labels, in nats.

    The full m x V matrix of logits never exists: gradients are computed with the loss, chunk by chunk, as Hsu et al.
    (2024, "Liger Kernel", section 3.2) and Wijmans et al. (2024, "Cut your losses") do. Under autocast the products
    are in bfloat16, as a linear layer's are; softmax and sums are in float32.
    """
    loss: Tensor = _LinearCrossEntropy.apply(hidden, table, bias, labels, weight)  # type: ignore[no-untyped-call]
    return loss


def _has_kernel(rows: Tensor, bias: Tensor) -> bool:
    ours = rows.dtype in (torch.float32, torch.bfloat16) and bias.dtype == torch.float32
    return rows.device.type == "cpu" and ours and library() is not None


def _errors_by_kernel(
    scores: Tensor, bias: Tensor, labels: Tensor, weight: float, to_bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The loss of logits to which `bias` has yet to be added. With `to_bias` also its gradient by the logits, which
    overwrites them, while that by the bias is added to `to_bias`.
    """
    bias, labels = bias.contiguous(), labels.long().contiguous()
    if to_bias is None:
        return cross_entropy_rows(scores, bias, labels, weight=weight), None
    return cross_entropy_rows_(scores, bias, labels, weight=weight, to_bias=to_bias), scores


def _errors_by_torch(
    scores: Tensor, bias: Tensor, labels: Tensor, weight: float, to_bias: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """The same on any device, with a copy of the logits in float32 where they are in less."""
    wide = scores.float().add_(bias)
    normaliser = wide.logsumexp(1)
    loss = (normaliser - wide.gather(1, labels[:, None])[:, 0]).sum() * weight
    if to_bias is None:
        return loss, None
    # The gradient of the logits, (softmax - one-hot) weight, in place of the logits.
    wide.sub_(normaliser[:, None]).exp_()
    wide[torch.arange(len(labels), device=wide.device), labels] -= 1
    wide.mul_(weight)
    to_bias += wide.sum(0)
    return loss, wide.to(scores.dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor, labels: Tensor, weight: float) -> Tensor:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
        wants = any(ctx.needs_input_grad)
        with torch.no_grad(), torch.autocast(device, enabled=False):
            rows, weights = hidden.to(dtype), table.to(dtype)
            total = torch.zeros((), device=hidden.device)
            errors = _errors_by_kernel if _has_kernel(rows, bias) else _errors_by_torch
            to_hidden = torch.empty(rows.shape, dtype=hidden.dtype, device=hidden.device) if wants else None
            to_table = torch.zeros_like(table) if ctx.needs_input_grad[1] else None  # frozen where a model is adapted
            to_bias = torch.zeros_like(bias) if wants else None
            for begin in range(0, len(rows), CHUNK):
                part, target = rows[begin : begin + CHUNK], labels[begin : begin + CHUNK]
                scores = torch.mm(part, weights.T)
                loss, gradient = errors(scores, bias, target, weight, to_bias)
                total += loss
                if gradient is None or to_hidden is None:
                    continue
                to_hidden[begin : begin + CHUNK] = torch.mm(gradient, weights)
                if to_table is None:
                    continue
                if dtype == table.dtype:
                    to_table.addmm_(gradient.T, part)
                else:
                    to_table += torch.mm(gradient.T, part)
        ctx.save_for_backward(to_hidden, to_table, to_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        to_hidden, to_table, to_bias = ctx.saved_tensors
        upstream = gradients[0]
        # A loss that is the end of the graph needs no scaling, which would touch the whole table once more.
        if upstream.device.type != "cpu" or upstream.item() != 1.0:
            parts = (to_hidden, to_table, to_bias)
            to_hidden, to_table, to_bias = (None if part is None else part * upstream for part in parts)
        return to_hidden, to_table, to_bias, None, None
