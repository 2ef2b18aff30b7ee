"""MAE: its loss as the paper has it, and that the encoder cannot see what it must reconstruct."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_pictures import tiny_image_encoder
from shoptalk.objective import Key
from shoptalk.objectives.masked.mae import Mae, MaeSpec, MaskedViews, cut, joined, kept_patches, sines
from tests.toyworld import ToyWorld, toy_world

SMALL = MaeSpec(batch=8, decoder_layers=1, decoder_width=32)


def mae(world: ToyWorld) -> Mae:
    assert isinstance(world.objective, Mae)
    return world.objective


def patches_of(picture: np.ndarray) -> np.ndarray:
    """[3, 16, 16] -> 16 patches of 4 x 4 pixels, row by row; channels last, as in the official code."""
    parts = [
        picture[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4].transpose(1, 2, 0).ravel()
        for row in range(4)
        for column in range(4)
    ]
    return np.stack(parts)


def decoded_by(objective: Mae, batch: MaskedViews) -> np.ndarray:
    with torch.no_grad():
        return objective.decoder(objective.encoder.hidden(batch.views[0], batch.keep), batch.keep).double().numpy()


@pytest.mark.parametrize("normalised", [True, False])
def test_the_loss_is_the_mean_squared_error_of_the_left_out_patches_alone(normalised: bool):
    world = toy_world(SMALL.model_copy(update={"normalised_targets": normalised}))
    objective = mae(world).train()
    batch = world.collate(list(range(5)), Key(0, 0))
    decoded, errors = decoded_by(objective, batch), []
    for picture in range(5):
        kept = set(batch.keep[picture].tolist())
        assert len(kept) == 4  # a quarter of 16
        for number, patch in enumerate(patches_of(batch.views[0][picture].double().numpy())):
            target = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6) if normalised else patch
            if number not in kept:
                errors.append(((decoded[picture, number] - target) ** 2).mean())
    assert len(errors) == 5 * 12
    assert objective(batch).total.item() == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_encoder_does_not_depend_on_the_left_out_patches():
    world = toy_world(SMALL)
    objective = mae(world).train()
    batch = world.collate(list(range(6)), Key(0, 0))
    patches = cut(batch.views[0], 4)
    seen = torch.zeros(6, 16, dtype=torch.bool).scatter(1, batch.keep, True)
    other = joined(torch.where(seen[:, :, None], patches, torch.randn_like(patches)), 4)
    states = objective.encoder.hidden(batch.views[0], batch.keep)
    assert states.shape == (6, 1 + 4, 32)
    assert torch.equal(states, objective.encoder.hidden(other, batch.keep))
    # And so the gradient of the loss by what was decoded from is that of the kept pixels only.
    pixels = batch.views[0].clone().requires_grad_()
    objective.encoder.hidden(pixels, batch.keep).sum().backward()
    by_patch = cut(pixels.grad, 4).abs().sum(-1)  # type: ignore[arg-type]
    assert (by_patch[seen] > 0).all() and (by_patch[~seen] == 0).all()


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from([4, 16, 64, 144]), st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_kept_patches_are_of_seed_step_and_picture_and_as_many_as_the_rate_leaves(
    seed: int, step: int, patches: int, rate: float
):
    keep = kept_patches([7, 3, 11], Key(seed, step), patches=patches, rate=rate)
    count = keep.shape[1]
    assert 1 <= count <= patches - 1 and abs(count - patches * (1 - rate)) <= 1
    assert ((keep >= 0) & (keep < patches)).all()
    assert (keep.diff(dim=1) > 0).all()
    assert torch.equal(keep[1], kept_patches([3], Key(seed, step), patches=patches, rate=rate)[0])


def test_other_steps_keep_other_patches():
    examples = list(range(8))
    one, other = (kept_patches(examples, Key(0, step), patches=64, rate=0.75) for step in (0, 1))
    assert (one != other).any(1).all()


@given(st.sampled_from([(8, 2), (16, 4), (24, 8)]), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_joining_undoes_cutting(shape: tuple[int, int], seed: int):
    size, patch = shape
    view = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(joined(cut(view, patch), patch), view)


def test_the_order_of_pictures_changes_nothing():
    world = toy_world(SMALL)
    batch = world.collate(list(range(8)), Key(0, 0))
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    other = MaskedViews((batch.views[0][order],), keep=batch.keep[order])
    torch.testing.assert_close(world.objective(batch).total, world.objective(other).total)


def test_every_place_has_its_own_position():
    vectors = sines(8, 32)
    assert vectors.shape == (64, 32)
    distances = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    assert distances[~np.eye(64, dtype=bool)].min() > 0.1
    np.testing.assert_allclose(vectors[0], np.tile(np.repeat([0.0, 1.0], 8), 2))  # sin 0 and cos 0


def test_reconstructions_show_what_was_seen_and_what_was_decoded():
    world = toy_world(SMALL)
    objective = mae(world).train()
    batch = world.collate(list(range(3)), Key(0, 0))
    masked, decoded, whole = objective.reconstructions(batch)
    assert objective.training
    assert masked.shape == decoded.shape == whole.shape == (3, 16, 16, 3) and whole.dtype == np.uint8
    seen = torch.zeros(3, 16, dtype=torch.bool).scatter(1, batch.keep, True)
    for picture in range(3):
        parts = [patches_of(image[picture].transpose(2, 0, 1)) for image in (masked, decoded, whole)]
        for number in range(16):
            hidden, guessed, true = (part[number] for part in parts)
            if seen[picture, number]:
                assert np.array_equal(hidden, true) and np.array_equal(guessed, true)
            else:
                assert len(np.unique(hidden.reshape(16, 3), axis=0)) == 1  # one grey
    mean, std = (np.array(values)[:, None, None] for values in (objective.encoder.mean, objective.encoder.std))
    pixels = (batch.views[0].numpy() * std + mean) * 255
    np.testing.assert_allclose(whole, pixels.transpose(0, 2, 3, 1).clip(0, 255), atol=0.51)
    # What it decodes is what the loss compares, scaled back by each patch's own mean and deviation.
    values = decoded_by(objective, batch)
    for picture, patches in enumerate(batch.views[0].double().numpy()):
        for number, patch in enumerate(patches_of(patches)):
            if not seen[picture, number]:
                back = values[picture, number] * np.sqrt(patch.var(ddof=1) + 1e-6) + patch.mean()
                back = (back.reshape(16, 3) * std[:, 0, 0] + mean[:, 0, 0]) * 255
                shown = patches_of(decoded[picture].transpose(2, 0, 1))[number].reshape(16, 3)
                np.testing.assert_allclose(shown, back.clip(0, 255), atol=0.51)


def test_an_encoder_without_patches_is_told_what_to_give_instead():
    with pytest.raises(ConfigError, match=r"whole pictures.*Give --base scratch:vit-nano"):
        SMALL.build(tiny_image_encoder("resnet"))
