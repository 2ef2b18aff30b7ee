import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from shoptalk.nn.encoder import embed
from shoptalk.nn.teacher import Teacher, cosine_momentum, linear_momentum
from shoptalk.text.tokens import tokenise
from tests.tiny import tiny_product

SHARES = st.floats(0, 1)


def flat(module: torch.nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in module.parameters()])


@given(st.lists(SHARES, min_size=1, max_size=4), st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_the_teacher_is_the_exponential_moving_average_of_the_student(momenta: list[float], seed: int):
    student, generator = tiny_product().network, torch.Generator().manual_seed(seed)
    teacher = Teacher(student)
    expected = flat(student)
    lowest, highest = expected.copy(), expected.copy()
    for momentum in momenta:
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        own = flat(student)
        teacher.follow(student, momentum=momentum)
        expected = momentum * expected + (1 - momentum) * own
        lowest, highest = np.minimum(lowest, own), np.maximum(highest, own)
    found = flat(teacher)
    assert_allclose(found, expected, atol=1e-5)
    assert (found >= lowest - 1e-5).all() and (found <= highest + 1e-5).all()  # an average of what the student was
    assert not np.shares_memory(
        next(teacher.parameters()).detach().numpy(), next(student.parameters()).detach().numpy()
    )


def test_with_momentum_0_it_becomes_the_student_and_with_1_it_stays():
    student = tiny_product().network
    teacher = Teacher(student)
    before = flat(teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    teacher.follow(student, momentum=1.0)
    assert np.array_equal(flat(teacher), before)
    teacher.follow(student, momentum=0.0)
    assert np.array_equal(flat(teacher), flat(student))


def test_it_has_no_dropout_and_no_gradients_and_leaves_no_trace_while_all_else_trains():
    product = tiny_product()
    teacher = Teacher(product.network).train()
    tokens = tokenise(product.tokenizer, ["my card", "thanks a lot"], max_length=64)
    batch = product.batch([tokens[0], tokens[1]])
    state = torch.get_rng_state()
    vectors = teacher(batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert teacher.encoder.training
    assert not vectors.requires_grad and not any(p.requires_grad for p in teacher.parameters())
    assert_allclose(vectors.numpy(), embed(product, ["my card", "thanks a lot"]), atol=1e-6)


def test_what_the_teacher_is_can_be_saved_by_name():
    student = tiny_product().network
    names = {f"encoder.{name}" for name, _ in student.named_parameters()}
    assert {name for name, _ in Teacher(student).named_parameters()} == names


@given(SHARES, SHARES, SHARES)
def test_the_momentum_grows_from_its_start_to_its_end(start: float, one: float, other: float):
    early, late = sorted((one, other))
    end = max(start, one)
    assert start - 1e-9 <= cosine_momentum(early, start=start) <= cosine_momentum(late, start=start) + 1e-9 <= 1 + 2e-9
    found = [linear_momentum(progress, start=start, end=end) for progress in (early, late)]
    assert start - 1e-9 <= found[0] <= found[1] + 1e-9 <= end + 2e-9


def test_the_momentum_is_the_papers():
    # Grill et al. 2020: 1 - (1 - tau_base) (cos(pi k / K) + 1) / 2
    for k in range(11):
        paper = 1 - (1 - 0.996) * (math.cos(math.pi * k / 10) + 1) / 2
        assert cosine_momentum(k / 10, start=0.996) == pytest.approx(paper)
    assert linear_momentum(0.25, start=0.999, end=0.9999) == pytest.approx(0.999 + 0.25 * 0.0009)


def normed() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))


def test_any_network_can_be_followed_and_running_statistics_are_copied_not_averaged():
    student = normed().train()
    teacher = Teacher(student)
    student(5 + torch.randn(64, 3, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(teacher.encoder[1].running_mean, student[1].running_mean)  # type: ignore[index]
    before = teacher.encoder[1].weight.clone()  # type: ignore[index]
    with torch.no_grad():
        student[1].weight.add_(1)
    teacher.follow(student, momentum=0.75)
    for name, buffer in student.named_buffers():
        assert torch.equal(teacher.encoder.get_buffer(name), buffer), name
    torch.testing.assert_close(teacher.encoder[1].weight, before + 0.25)  # type: ignore[index]


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_its_norms_use_the_running_statistics_or_the_batchs_and_there_is_no_dropout(batch_statistics: bool):
    student = normed().train()
    teacher = Teacher(student, batch_statistics=batch_statistics).train()
    inputs = 5 + torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    hidden = student[0](inputs).detach()
    outputs = teacher(inputs)
    deviation = hidden.var(0, unbiased=False).add(1e-5).sqrt()
    expected = (hidden - hidden.mean(0)) / deviation if batch_statistics else hidden / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=1e-5)
    assert all(part.training for part in teacher.modules())  # modes are as they were
    assert not outputs.requires_grad
