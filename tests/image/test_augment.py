import colorsys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from shoptalk.image import augment as module
from shoptalk.image.augment import CLIP, MAE, SIMCLR, Chain, augment, uniforms
from shoptalk.image.batches import Views

CHAINS = ("SIMCLR", "MOCO2", "BYOL_FIRST", "BYOL_SECOND", "DINO_GLOBAL", "DINO_SECOND", "DINO_LOCAL", "MAE", "CLIP")
NOTHING = Chain(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0, jitter=0.0, gray=0.0)
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
KEY = {"seed": 3, "step": 5, "view": 0}
ONE_BYTE = 1.01 / 255


@pytest.fixture
def pictures() -> np.ndarray:
    """Smooth ones with noise, of 24 x 24 pixels."""
    rng = np.random.default_rng(0)
    smooth = ndimage.zoom(rng.uniform(0, 255, (40, 4, 4, 3)), (1, 6, 6, 1), order=1)
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def seen(pictures: np.ndarray, chain: Chain, size: int = 24, **key: int) -> np.ndarray:
    """Views as channels-last arrays from 0 to 1."""
    ids = range(100, 100 + len(pictures))
    return augment(pictures, ids, **(KEY | key), chain=chain, size=size, **PLAIN).permute(0, 2, 3, 1).numpy()


def draws_of(pictures: np.ndarray, chain: Chain) -> module._Draws:
    ids = range(100, 100 + len(pictures))
    return module._Draws(uniforms(ids, **KEY, count=module._NUMBERS), pictures.shape[1], chain)


def only(**parameters: object) -> Chain:
    """The chain that does nothing but these."""
    nothing = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    return NOTHING.model_copy(update=nothing | parameters)


def in_floats(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.float64) / 255


def test_a_chain_of_nothing_gives_the_normalised_picture_to_the_bit(pictures):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    for resize in ("bilinear", "bicubic"):
        chain = NOTHING.model_copy(update={"resize": resize})
        view = augment(pictures, range(40), **KEY, chain=chain, size=24, mean=mean, std=std)
        values = pictures.astype(np.float32) * np.float32(1 / 255)
        expected = (values - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
        assert view.dtype == torch.float32
        assert torch.equal(view.permute(0, 2, 3, 1), torch.from_numpy(expected))


@pytest.mark.parametrize("size", [24, 16, 40])
@pytest.mark.parametrize(
    ("resize", "pillow"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_the_crop_is_resized_as_pillow_does(pictures, size, resize, pillow):
    chain = only(scale=(0.1, 1.0), ratio=(0.5, 2.0), resize=resize, flip=0.5)
    draws = draws_of(pictures, chain)
    assert {True, False} == set(draws.flipped.tolist())
    for i, view in enumerate(seen(pictures, chain, size)):
        left, top = int(draws.left[i]), int(draws.top[i])
        box = (left, top, left + int(draws.width[i]), top + int(draws.height[i]))
        expected = Image.fromarray(pictures[i]).crop(box).resize((size, size), pillow)
        if draws.flipped[i]:
            expected = ImageOps.mirror(expected)
        error = np.abs(view - in_floats(expected))  # Pillow rounds twice, and cuts off after the first direction
        assert error.max() < 3 * ONE_BYTE and error.mean() < 0.5 * ONE_BYTE


def test_crops_have_the_areas_and_ratios_that_were_asked_for_and_lie_within_the_picture():
    chain = Chain(scale=(0.2, 0.6), ratio=(0.5, 2.0))
    numbers = uniforms(range(4000), **KEY, count=module._NUMBERS)
    left, top, width, height = module._crops(numbers, 96, chain)
    assert min(left.min(), top.min()) == 0
    assert (left + width).max() == (top + height).max() == 96
    area, ratio = width * height / 96**2, width / height
    assert area.min() > 0.19 and area.max() < 0.61
    assert ratio.min() > 0.49 and ratio.max() < 2.05
    assert abs(np.log(ratio).mean()) < 0.02
    # Uniform but for what does not fit: large areas of extreme ratios.
    assert 0.35 < area.mean() < 0.41


def test_a_crop_that_never_fits_is_the_whole_picture():
    numbers = uniforms(range(50), **KEY, count=module._NUMBERS)
    left, top, width, height = module._crops(numbers, 32, Chain(scale=(1.0, 1.0), ratio=(3.0, 4.0)))
    assert not left.any() and not top.any()
    assert (width == 32).all() and (height == 32).all()


@pytest.mark.parametrize(
    ("name", "column", "enhancer"),
    [
        ("brightness", 0, ImageEnhance.Brightness),
        ("contrast", 1, ImageEnhance.Contrast),
        ("saturation", 2, ImageEnhance.Color),
    ],
)
def test_brightness_contrast_and_saturation_are_pillows(pictures, name, column, enhancer):
    chain = only(jitter=1.0, **{name: 0.8})
    factors = draws_of(pictures, chain).factors[:, column]
    assert factors.min() < 0.4 and factors.max() > 1.6
    for picture, factor, view in zip(pictures, factors, seen(pictures, chain), strict=True):
        expected = in_floats(enhancer(Image.fromarray(picture)).enhance(float(factor)))
        assert np.abs(view - expected).max() < 2 * ONE_BYTE  # Pillow rounds grey and its mean


def test_hue_turns_the_colour_in_the_yiq_plane(pictures):
    chain = only(jitter=1.0, hue=0.5)
    turns = 2 * np.pi * draws_of(pictures, chain).factors[:, 3]
    for picture, turn, view in zip(pictures[:8], turns, seen(pictures[:8], chain), strict=False):
        for x, y in ((0, 0), (5, 17), (23, 11)):
            luminance, i, q = colorsys.rgb_to_yiq(*(picture[y, x] / 255))
            turned = complex(i, q) * np.exp(1j * turn)
            expected = colorsys.yiq_to_rgb(luminance, turned.real, turned.imag)  # which clamps
            assert view[y, x] == pytest.approx(expected, abs=2e-3)


def test_the_four_of_the_jitter_come_in_the_order_that_was_drawn_each_clamped(pictures):
    chain = only(jitter=1.0, brightness=0.8, contrast=0.8, saturation=0.8)
    draws = draws_of(pictures, chain)
    assert len({tuple(order) for order in draws.order}) > 10
    weights = np.array([0.299, 0.587, 0.114])
    for i, view in enumerate(seen(pictures, chain)):
        values = pictures[i] / 255
        for operation in draws.order[i]:
            gray = values @ weights
            other = (0.0, gray.mean(), gray[..., None], values)[operation]
            factor = draws.factors[i, operation] if operation < 3 else 1.0
            values = np.clip(factor * values + (1 - factor) * other, 0, 1)
        assert np.abs(view - values).max() < 1e-5


def test_grey_is_pillows_and_solarised_is_inverted_above_one_half(pictures):
    for picture, view in zip(pictures, seen(pictures, only(gray=1.0)), strict=True):
        gray = in_floats(Image.fromarray(picture).convert("L"))
        assert np.abs(view - gray[..., None]).max() < ONE_BYTE
    for picture, view in zip(pictures, seen(pictures, only(solarize=1.0)), strict=True):
        expected = in_floats(ImageOps.solarize(Image.fromarray(picture), threshold=128))
        assert np.abs(view - expected).max() < 1e-6


def test_blur_is_gaussian_with_the_deviation_that_was_drawn_scaled_to_the_size(pictures):
    chain = only(blur=1.0, sigma=(5.0, 20.0))
    sigmas = draws_of(pictures, chain).sigma * 24 / 224
    assert sigmas.min() > 0.5 and sigmas.max() < 2.2
    for picture, sigma, view in zip(pictures, sigmas, seen(pictures, chain), strict=True):

        def blurred(values: np.ndarray, sigma: float = float(sigma)) -> np.ndarray:
            return ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="constant", truncate=24.0)

        expected = blurred(picture / 255) / blurred(np.ones((24, 24, 1)))
        assert np.abs(view - expected).max() < 1e-5


def test_dinos_views_are_blurred_by_as_many_pixels_whether_they_are_of_224_or_of_96():
    numbers = uniforms(range(5000), **KEY, count=module._NUMBERS)
    for chain, size in ((module.DINO_GLOBAL, 224), (module.DINO_SECOND, 224), (module.DINO_LOCAL, 96)):
        sigmas = module._Draws(numbers, 256, chain).sigma * (size / 224)
        assert sigmas.min() == pytest.approx(0.1, abs=0.01) and sigmas.max() == pytest.approx(2.0, abs=0.01)


def test_each_operation_happens_as_often_as_it_should():
    chain = Chain(flip=0.5, jitter=0.8, gray=0.2, blur=0.1, solarize=0.3)
    draws = module._Draws(uniforms(range(20_000), **KEY, count=module._NUMBERS), 32, chain)
    shares = {name: getattr(draws, name).mean() for name in ("flipped", "jittered", "gray", "blurred", "solarized")}
    expected = {"flipped": 0.5, "jittered": 0.8, "gray": 0.2, "blurred": 0.1, "solarized": 0.3}
    assert shares == pytest.approx(expected, abs=0.015)
    orders, counts = np.unique(draws.order, axis=0, return_counts=True)
    assert len(orders) == 24 and counts.min() > 700


def test_numbers_are_uniform_and_differ_by_seed_step_view_and_id():
    numbers = uniforms(range(5000), seed=1, step=2, view=0, count=8)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.histogram(numbers, bins=10)[0] == pytest.approx(4000, rel=0.08)
    assert np.abs(np.corrcoef(numbers.T) - np.eye(8)).max() < 0.06
    one = uniforms([7], seed=1, step=2, view=0, count=8)
    for other in ({"seed": 2}, {"step": 1}, {"view": 1}, {"seed": 2, "step": 1}):
        assert not np.isin(uniforms([7], **({"seed": 1, "step": 2, "view": 0} | other), count=8), one).any()
    assert not np.isin(uniforms([8], seed=1, step=2, view=0, count=8), one).any()


@pytest.mark.parametrize("name", CHAINS)
def test_a_picture_and_a_key_give_the_same_view_whatever_the_batch_and_the_threads(pictures, name):
    chain: Chain = getattr(module, name)
    many = np.concatenate([pictures, pictures[::-1]])
    ids = np.arange(80)
    views = augment(many, ids, **KEY, chain=chain, size=24, **PLAIN)
    order = np.random.default_rng(1).permutation(80)[:37]
    threads = torch.get_num_threads()
    torch.set_num_threads(threads % 2 + 1)
    try:
        assert torch.equal(augment(many[order], ids[order], **KEY, chain=chain, size=24, **PLAIN), views[order])
    finally:
        torch.set_num_threads(threads)
    alone = augment(many[5:6], ids[5:6], **KEY, chain=chain, size=24, **PLAIN)
    assert torch.equal(alone[0], views[5])
    same_picture = np.repeat(many[5:6], 20, axis=0)
    assert len(torch.unique(augment(same_picture, range(20), **KEY, chain=chain, size=24, **PLAIN), dim=0)) > 3


def test_the_callers_pictures_and_random_state_are_left_alone(pictures):
    before, numpy_state, torch_state = pictures.copy(), np.random.get_state()[1].copy(), torch.get_rng_state()
    seen(pictures, SIMCLR)
    assert np.array_equal(before, pictures)
    assert np.array_equal(numpy_state, np.random.get_state()[1])
    assert torch.equal(torch_state, torch.get_rng_state())


@given(
    side=st.integers(1, 40),
    size=st.integers(1, 40),
    count=st.integers(0, 5),
    name=st.sampled_from(CHAINS),
    step=st.integers(0, 2**40),
    kind=st.sampled_from(["black", "white", "noise"]),
)
@settings(max_examples=60, deadline=None)
def test_values_stay_in_range_for_every_size_and_chain(side, size, count, name, step, kind):
    fill = {"black": 0, "white": 255, "noise": 0}[kind]
    pictures = np.full((count, side, side, 3), fill, dtype=np.uint8)
    if kind == "noise":
        pictures = np.random.default_rng(step).integers(0, 256, pictures.shape, dtype=np.uint8)
    chain: Chain = getattr(module, name)
    views = augment(pictures, range(count), seed=0, step=step, view=1, chain=chain, size=size, **PLAIN)
    assert views.shape == (count, 3, size, size)
    assert torch.isfinite(views).all()
    if count:
        assert views.min() >= 0 and views.max() <= 1 + 1e-6


@given(factor=st.floats(0.1, 4.0), offset=st.floats(-2.0, 2.0))
@settings(max_examples=20, deadline=None)
def test_normalisation_is_applied_last(factor, offset):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)
    common = {**KEY, "chain": SIMCLR, "size": 16}
    plain = augment(pictures, range(6), **common, **PLAIN)
    other = augment(pictures, range(6), **common, mean=(offset,) * 3, std=(factor,) * 3)
    assert torch.allclose(other, (plain - offset) / factor, atol=1e-4, rtol=1e-4)


def test_a_batch_counts_every_pixel_of_every_view():
    views = Views((torch.zeros(4, 3, 32, 32), torch.zeros(4, 3, 32, 32), torch.zeros(4, 3, 8, 8)))
    assert views.tokens == views.cells == 4 * 4 + 4 * 4 + 4


def test_mae_and_clip_leave_colours_alone():
    gray = np.repeat(np.random.default_rng(0).integers(0, 256, (9, 20, 20, 1), dtype=np.uint8), 3, axis=3)
    for chain in (MAE, CLIP):
        views = augment(gray, range(9), **KEY, chain=chain, size=20, **PLAIN)
        assert (views.amax(1) - views.amin(1)).max() < 1e-6
    flat = np.full((3, 20, 20, 3), (200, 100, 50), dtype=np.uint8)
    assert torch.allclose(
        augment(flat, range(3), **KEY, chain=MAE, size=20, **PLAIN).amax((2, 3)) * 255,
        torch.tensor([200.0, 100.0, 50.0]).expand(3, 3),
        atol=1e-3,
    )
