"""Linear heads: a class's score is an inner product with the text's vector.

Three ways to fit one: multinomial logistic regression on labels, the same on soft labels (rows of probabilities), and
one logistic regression per label where a text may have several labels or none.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from shoptalk.nn.waiting import one_blas_thread

MOST_STEPS = 200
_STEPS = 60
_HISTORY = 6
_FEW_PRODUCTS = 10**8  # multiplications of one product with the weights


@dataclass(frozen=True)
class LinearHead:
    """Weights, intercepts and the label of each row."""

    weights: Float[np.ndarray, "C D"]
    intercepts: Float[np.ndarray, "C"]
    labels: Shaped[np.ndarray, "C"]

    def scores(self, vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N C"]:
        """Every label's score of every vector."""
        return np.asarray(vectors @ self.weights.T + self.intercepts)

    def predict(self, vectors: Float[np.ndarray, "N D"]) -> Shaped[np.ndarray, "N"]:
        """The most probable label of each vector."""
        return np.asarray(self.labels[self.scores(vectors).argmax(axis=1)])


def fit(vectors: Float[np.ndarray, "N D"], labels: Shaped[np.ndarray, "N"], C: float = 20.0) -> LinearHead:  # noqa: N803
    """Multinomial logistic regression on all the examples, C · Σᵢ cross-entropy + ½‖W‖² with free intercepts."""
    from sklearn.linear_model import LogisticRegression  # here, because answering needs no scikit-learn

    few = vectors.size * len(np.unique(labels)) < _FEW_PRODUCTS
    with one_blas_thread() if few else contextlib.nullcontext():
        model = LogisticRegression(C=C, max_iter=MOST_STEPS).fit(vectors, labels)
    weights, intercepts = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps one row, the second label's logit
        weights, intercepts = np.concatenate([-weights, weights]) / 2, np.concatenate([-intercepts, intercepts]) / 2
    return LinearHead(weights.astype(vectors.dtype), intercepts.astype(vectors.dtype), model.classes_)


def fit_soft(
    vectors: Float[np.ndarray, "N D"],
    targets: Float[np.ndarray, "N C"],
    labels: Shaped[np.ndarray, "C"],
    *,
    weights: Float[np.ndarray, "N"] | None = None,
    penalty: float,
    start: LinearHead | None = None,
    steps: int = _STEPS,
) -> LinearHead:
    """Multinomial logistic regression on probabilities: the mean cross-entropy, weighted by example, + ½ penalty ‖W‖².

    With one-hot targets, equal weights and penalty 1 / (C N) it is `fit`. `start` is a head to go on from; `steps` are
    L-BFGS's most.
    """
    return _minimise(_cross_entropy, vectors, targets, labels, weights, penalty, start, steps)


def fit_multi(
    vectors: Float[np.ndarray, "N D"],
    targets: Float[np.ndarray, "N C"],
    labels: Shaped[np.ndarray, "C"],
    *,
    weights: Float[np.ndarray, "N"] | None = None,
    penalty: float,
    steps: int = MOST_STEPS,
) -> LinearHead:
    """A logistic regression for each label: `targets[i, c]` is the probability that text i has label c.

    The mean over texts, weighted as in `fit_soft`, of the cross-entropies' sum over labels, + ½ penalty ‖W‖².
    """
    return _minimise(_binary, vectors, targets, labels, weights, penalty, None, steps)


def one_hot(codes: Shaped[np.ndarray, "N"], classes: int) -> Float[np.ndarray, "N C"]:
    """Certain labels as rows of probabilities, float32."""
    return np.asarray(np.eye(classes, dtype=np.float32)[codes])


def log_softmax(scores: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """Logarithms of the probabilities that scores stand for."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _cross_entropy(scores: Float[Tensor, "N C"], targets: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    return torch.nn.functional.cross_entropy(scores, targets, reduction="none")


def _binary(scores: Float[Tensor, "N C"], targets: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, targets, reduction="none").sum(1)


def _minimise(
    loss: Callable[[Tensor, Tensor], Tensor],
    vectors: Float[np.ndarray, "N D"],
    targets: Float[np.ndarray, "N C"],
    labels: Shaped[np.ndarray, "C"],
    weights: Float[np.ndarray, "N"] | None,
    penalty: float,
    start: LinearHead | None,
    steps: int,
) -> LinearHead:
    points, probabilities = torch.from_numpy(_plain(vectors)), torch.from_numpy(_plain(targets))
    shares = torch.full((len(points),), 1 / len(points))
    if weights is not None:
        shares = torch.from_numpy(_plain(weights / weights.sum()))
    matrix, bias = torch.zeros(points.shape[1], probabilities.shape[1]), torch.zeros(probabilities.shape[1])
    if start is not None:
        matrix, bias = torch.from_numpy(_plain(start.weights.T)), torch.from_numpy(_plain(start.intercepts))
    matrix, bias = matrix.clone().requires_grad_(), bias.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [matrix, bias], max_iter=steps, history_size=_HISTORY, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def closure() -> float:
        solver.zero_grad()
        value = (
            shares * loss(torch.addmm(bias, points, matrix), probabilities)
        ).sum() + penalty / 2 * matrix.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    with torch.enable_grad(), threads_for(points.numel() * probabilities.shape[1]):
        solver.step(closure)  # type: ignore[no-untyped-call]
    return LinearHead(np.ascontiguousarray(matrix.detach().numpy().T), bias.detach().numpy(), labels)


@contextlib.contextmanager
def threads_for(products: int) -> Iterator[None]:
    """One thread where a step has few products: there, waiting for each other costs threads more than sharing saves.

    Measured on two busy cores (825 texts, 25 classes, 384 dimensions): 4.0 s per self-trained head with two threads,
    0.4 s with one.
    """
    threads = torch.get_num_threads()
    if products < _FEW_PRODUCTS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _plain(array: np.ndarray) -> Float[np.ndarray, "..."]:
    return np.ascontiguousarray(array, dtype=np.float32)
