import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.heads import grounding_files
from shoptalk.nn.heads.grounding import Claim, Grounding, GroundingHead, reading_longer
from shoptalk.text.evidence_rows import FEATURES, OF_TOKENS, EvidenceRow
from tests.tiny import tiny_product

CLAIMS = [
    Claim(("a lost card", "the fee is 2"), "the fee is 9"),
    Claim(("call the bank",), "call the bank today please now"),
    Claim((), "yes"),
    Claim(("no",), ""),
]


def grounding_of(product: TextEncoder, threshold: float = 0.5, *, features: int = FEATURES) -> Grounding:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = GroundingHead(product.dim, features=features, hidden=8)
    return Grounding(product, head.eval(), threshold)


def rows_of(grounding: Grounding) -> list[EvidenceRow]:
    return [row for claim in CLAIMS for row in grounding.rows(claim)]


def test_of_a_reply_that_is_longer_than_a_row_every_word_is_read():
    reply = " ".join(["the fee is 9"] * 40)
    grounding = grounding_of(tiny_product(), 0.0)  # which marks all that it reads
    (marked,) = grounding.marks([Claim(("the fee is 2",), reply)])
    assert marked.spans == ((0, len(reply)),)


def test_a_claim_reads_the_same_alone_and_among_others():
    grounding = grounding_of(tiny_product())
    together = grounding.probabilities(rows_of(grounding))
    for claim, row in zip(CLAIMS, together, strict=True):
        (alone,) = grounding.probabilities(grounding.rows(claim))
        np.testing.assert_allclose(alone, row, atol=1e-5)
    assert [len(row) for row in together] == [4, 9, 1, 0]


def test_marks_are_the_tokens_from_the_threshold_on():
    product = tiny_product()
    everything, nothing = grounding_of(product, 0.0).marks(CLAIMS), grounding_of(product, 1.0).marks(CLAIMS)
    assert [marked.spans for marked in everything] == [((0, 12),), ((0, 30),), ((0, 3),), ()]
    assert [marked.spans for marked in nothing] == [()] * 4
    assert [marked.probability > 0 for marked in nothing] == [True, True, True, False]


def test_a_head_on_disk_marks_as_before(tmp_path: Path):
    grounding = grounding_of(tiny_product(), 0.35)
    grounding_files.save(grounding, tmp_path)
    opened = grounding_files.load(tmp_path, grounding.product)
    assert opened.threshold == 0.35
    for one, other in zip(*(g.probabilities(rows_of(g)) for g in (grounding, opened)), strict=True):
        assert np.array_equal(one, other)


def test_a_head_from_before_words_were_compared_is_opened_and_marks_as_it_did(tmp_path: Path):
    """Its files hold one logit of a token's state and of four features, the runs of tokens that both texts share."""
    product = tiny_product()
    rng = np.random.default_rng(0)
    shapes = {
        "states.weight": (8, product.dim), "states.bias": (8,), "shared.weight": (8, 4),
        "score.weight": (1, 8), "score.bias": (1,),
    }  # fmt: skip
    tensors = {name: torch.from_numpy(rng.normal(size=shape).astype(np.float32)) for name, shape in shapes.items()}
    safetensors.torch.save_file(tensors, tmp_path / "grounding.safetensors")
    about = {"width": product.dim, "hidden": 8, "features": 4, "threshold": 0.35}
    (tmp_path / "grounding.json").write_text(json.dumps(about))
    opened = grounding_files.load(tmp_path, product)
    head = {name: tensor.numpy().astype(float) for name, tensor in tensors.items()}
    for row in rows_of(opened):
        assert row.shared.shape[1] == OF_TOKENS
        with torch.no_grad():
            states = product.network.backbone(input_ids=torch.from_numpy(row.ids)[None]).last_hidden_state[0]  # type: ignore[operator]
        inner = states.numpy()[row.reply] @ head["states.weight"].T + head["states.bias"]
        inner = inner + row.shared[:, :4] @ head["shared.weight"].T
        inner = inner * torch.special.ndtr(torch.from_numpy(inner)).numpy()  # gelu
        expected = 1 / (1 + np.exp(-(inner @ head["score.weight"][0] + head["score.bias"])))
        np.testing.assert_allclose(opened.probabilities([row])[0], expected, atol=1e-5)
    grounding_files.save(opened, tmp_path)
    assert json.loads((tmp_path / "grounding.json").read_text()) == about
    assert safetensors.torch.load_file(tmp_path / "grounding.safetensors").keys() == shapes.keys()


def test_the_probability_is_the_mean_of_both_readers():
    grounding = grounding_of(tiny_product())
    states, shared = torch.randn(5, grounding.product.dim), torch.randn(5, FEATURES)
    assert grounding.head(states, shared).shape == (5, 2)
    other = grounding.head(torch.randn_like(states), shared)
    assert torch.equal(grounding.head(states, shared)[:, 1], other[:, 1])  # knows nothing of the states
    with torch.no_grad():
        grounding.head.score.weight.zero_()
        grounding.head.score.bias.fill_(100.0)
        words = grounding.head.words
        assert words is not None
        words[2].weight.zero_()
        words[2].bias.fill_(-100.0)
    assert np.concatenate(grounding.probabilities(rows_of(grounding))) == pytest.approx(0.5)
    assert grounding_of(tiny_product(), features=OF_TOKENS).head(states, shared).shape == (5, 1)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("width", 16, "states of 16 numbers"),
        ("features", 3, "3 features of each token, expected 32 and 54, or 4 as before"),
        ("features", 4, "size mismatch|Unexpected key"),
        ("threshold", 2.0, "grounding.json says"),
        ("hidden", 9, "size mismatch"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(name: str, value: float, reason: str, tmp_path: Path):
    product = tiny_product()
    grounding_files.save(grounding_of(product), tmp_path)
    about = json.loads((tmp_path / "grounding.json").read_text())
    (tmp_path / "grounding.json").write_text(json.dumps(about | {name: value}))
    with pytest.raises(ArtifactError, match=reason):
        grounding_files.load(tmp_path, product)


def test_a_missing_or_infinite_head_is_refused(tmp_path: Path):
    product = tiny_product()
    with pytest.raises(ArtifactError, match="no readable grounding head"):
        grounding_files.load(tmp_path, product)
    grounding_files.save(grounding_of(product), tmp_path)
    tensors = {n: t * torch.inf for n, t in grounding_of(product).head.state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "grounding.safetensors")
    with pytest.raises(ArtifactError, match="not finite"):
        grounding_files.load(tmp_path, product)


def test_rows_are_as_long_as_positions_allow():
    product = tiny_product()
    assert reading_longer(product).max_length == 64
    assert reading_longer(product, most=20).max_length == 20
