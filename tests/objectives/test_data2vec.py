from dataclasses import replace

import numpy as np
import pytest
import torch

from shoptalk.nn.teacher import linear_momentum
from shoptalk.objective import Key
from shoptalk.objectives.masked.data2vec import Data2vec, Data2vecSpec
from tests.toyworld import ToyWorld, toy_world


def data2vec(world: ToyWorld) -> Data2vec:
    assert isinstance(world.objective, Data2vec)
    return world.objective


def smooth_l1(found: float, wanted: float, beta: float) -> float:
    """Baevski et al. 2022, section 3.4."""
    gap = abs(found - wanted)
    return gap**2 / (2 * beta) if gap <= beta else gap - beta / 2


@pytest.mark.parametrize(("top", "beta"), [(1, 4.0), (2, 4.0), (10, 0.1)])
def test_the_loss_is_the_papers_at_the_masked_positions(top: int, beta: float):
    world = toy_world(Data2vecSpec(top=top, beta=beta, mask_rate=0.3))
    objective = data2vec(world).eval()
    with torch.no_grad():  # a teacher that is not the student
        for parameter in objective.teacher.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    examples = list(range(30))
    batch = world.collate(examples, Key(0, 1))
    loss = objective(batch)
    weight, bias = (parameter.detach().double().numpy() for parameter in objective.head.parameters())
    losses = []
    for group, originals, positions in zip(batch.texts.groups, batch.originals, batch.positions, strict=True):
        chosen = positions.tolist()
        for row, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            # The stock model on one text alone, every hidden state kept.
            whole = torch.from_numpy(world.tokens[examples[row]])[None]
            assert torch.equal(originals.flatten()[begin : begin + length], whole[0])
            seen = group.ids.flatten()[begin : begin + length][None]
            with torch.no_grad():
                states = objective.teacher.encoder.backbone(input_ids=whole, output_hidden_states=True).hidden_states
                student = objective.encoder.backbone(input_ids=seen).last_hidden_state[0].double().numpy()
            for position in (p - begin for p in chosen if begin <= p < begin + length):
                target = np.zeros(student.shape[1])
                layers = [state[0, position].double().numpy() for state in states[1:]][-top:]
                for state in layers:
                    target += (state - state.mean()) / np.sqrt(state.var() + 1e-5) / len(layers)
                guess = weight @ student[position] + bias
                losses.append(np.mean([smooth_l1(f, w, beta) for f, w in zip(guess, target, strict=True)]))
    assert len(losses) == sum(len(positions) for positions in batch.positions) > 40
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-3)


def test_the_teacher_reads_the_whole_text_and_the_student_the_masked_one():
    world = toy_world(Data2vecSpec(mask_rate=0.4))
    batch = world.collate(list(range(20)), Key(0, 0))
    mask = world.product.tokenizer.mask_token_id
    assert any((group.ids == mask).any() for group in batch.texts.groups)
    assert not any((ids == mask).any() for ids in batch.originals)
    for group, ids, positions in zip(batch.texts.groups, batch.originals, batch.positions, strict=True):
        elsewhere = torch.ones(ids.numel(), dtype=torch.bool)
        elsewhere[positions] = False
        assert torch.equal(group.ids.flatten()[elsewhere], ids.flatten()[elsewhere])


def test_what_is_not_masked_has_no_part_in_the_loss():
    world = toy_world(Data2vecSpec())
    batch = world.collate(list(range(8)), Key(0, 0))
    nothing = replace(batch, positions=tuple(positions[:0] for positions in batch.positions))
    loss = data2vec(world).eval()(nothing)
    assert loss.total.item() == 0


def test_after_a_step_the_teacher_follows_by_the_momentum_of_its_time():
    world = toy_world(Data2vecSpec(momentum=0.5, last_momentum=0.9))
    objective = data2vec(world)
    student, teacher = (next(part.parameters()) for part in (objective.encoder, objective.teacher))
    before = teacher.detach().clone()
    with torch.no_grad():
        student.add_(1)
    objective.after_step(0.25, None)
    share = 1 - linear_momentum(0.25, start=0.5, end=0.9)
    torch.testing.assert_close(teacher.detach(), before + share * (student.detach() - before))
