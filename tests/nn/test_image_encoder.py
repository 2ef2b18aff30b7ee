"""Image encoders: what opens elsewhere, what several processes compute, what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.nn import gather
from shoptalk.nn.bases import began_as, kind_of, open_base
from shoptalk.nn.batch_norm import SharedBatchNorm, share_statistics
from shoptalk.nn.digests import base_digest
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.nn.scratch_pictures import picture_size_of
from shoptalk.records import Picture
from tests.training.processes import together

SCRATCH = ("scratch:resnet-mini", "scratch:vit-nano", "scratch:resnet-mini@64", "scratch:vit-nano@96")


def drawn(n: int, size: int, seed: int = 0) -> UInt8[np.ndarray, "n S S 3"]:
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def encoder(ref: str = "scratch:resnet-mini", seed: int = 0) -> ImageEncoder:
    product = open_base(ref, seed=seed)
    assert isinstance(product, ImageEncoder)
    return product


def shown(ref: str, folder: Path) -> tuple[ImageEncoder, list[Picture]]:
    """An encoder, and files of pictures of odd shapes."""
    folder.mkdir(exist_ok=True)
    pictures = []
    for number, (width, height) in enumerate(((40, 33), (96, 120), (32, 32))):
        path = folder / f"{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        pictures.append(Picture(path=str(path), sha256=str(number)))
    return encoder(ref), pictures


ELSEWHERE = """
import sys, glob, torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel
folder, pictures = sys.argv[1], sorted(glob.glob(sys.argv[2]))
assert "shoptalk" not in sys.modules
processor, model = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
pixels = processor([Image.open(path) for path in pictures], return_tensors="pt")
with torch.inference_mode():
    vectors = torch.nn.functional.normalize(model(**pixels).pooler_output.flatten(1), dim=-1)
print(vectors.tolist())
"""


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["scratch:resnet-mini", "scratch:vit-nano@64"])
def test_a_saved_folder_opens_with_transformers_alone_and_gives_equal_vectors(ref: str, tmp_path: Path) -> None:
    product, pictures = shown(ref, tmp_path / "pictures")
    product.save(tmp_path / "encoder", card="# An encoder\n")
    command = [sys.executable, "-W", "ignore", "-c", ELSEWHERE, str(tmp_path / "encoder"), str(tmp_path / "pictures/*")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"}
    )
    np.testing.assert_allclose(np.array(json.loads(done.stdout)), product.embed(pictures), atol=1e-5)


@pytest.mark.parametrize("ref", SCRATCH)
def test_an_encoder_saved_and_opened_again_is_the_same(ref: str, tmp_path: Path) -> None:
    product = encoder(ref)
    product.save(tmp_path, card="# An encoder\n")
    again = open_base(str(tmp_path))
    assert isinstance(again, ImageEncoder) and again.size == product.size and again.dim == product.dim
    pixels = drawn(2, product.size)
    np.testing.assert_array_equal(again.embed_pixels(pixels), product.embed_pixels(pixels))
    assert began_as(str(tmp_path)) == ref and began_as(ref) == ref
    assert kind_of(str(tmp_path)) == kind_of(ref) == "image"


def test_vectors_have_unit_length_and_do_not_depend_on_the_other_pictures_of_a_batch() -> None:
    product, pixels = encoder(), drawn(5, 32)
    together_, alone = product.embed_pixels(pixels), product.embed_pixels(pixels[3:4])
    np.testing.assert_allclose(np.linalg.norm(together_, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together_[3:4], alone, atol=1e-6)


def test_random_weights_are_a_function_of_the_seed_alone() -> None:
    pixels = drawn(2, 32)
    torch.manual_seed(5)
    first = encoder(seed=1).embed_pixels(pixels)
    torch.manual_seed(6)
    np.testing.assert_array_equal(first, encoder(seed=1).embed_pixels(pixels))
    assert np.abs(first - encoder(seed=2).embed_pixels(pixels)).max() > 1e-3


@pytest.mark.parametrize(
    ("ref", "gflops"),
    [
        ("scratch:resnet-mini", 0.076),
        ("scratch:resnet-mini@64", 0.080),
        ("scratch:resnet-mini@96", 0.181),
        ("scratch:vit-nano", 0.167),
        ("scratch:vit-nano@64", 0.170),
        ("scratch:vit-nano@96", 0.414),
        ("scratch:vit-tiny", 0.730),
    ],
)
def test_a_picture_takes_the_operations_that_are_stated(ref: str, gflops: float) -> None:
    product = encoder(ref)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        product.network(torch.zeros(1, 3, product.size, product.size))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflops, abs=0.0006)
    size = picture_size_of(ref)
    assert size is not None and f"{size.gflops:g} GFLOP" in size.about


def test_a_vit_reads_only_the_patches_that_are_kept() -> None:
    network = encoder("scratch:vit-nano").network
    pixels = torch.randn(2, 3, 32, 32)
    keep = torch.tensor([[3, 9, 60], [1, 2, 63]])
    hidden = network.hidden(pixels, keep)
    assert hidden.shape == (2, 4, network.dim)
    changed = pixels.clone()
    changed[:, :, :4, :4] = 5.0  # patch 0, which neither keeps
    torch.testing.assert_close(network.hidden(changed, keep), hidden)
    everything = torch.arange(64).expand(2, -1)
    torch.testing.assert_close(network.hidden(pixels, everything), network.hidden(pixels))
    torch.testing.assert_close(network.hidden(pixels)[:, 0], network(pixels))


def test_a_vit_reads_pictures_of_other_sizes() -> None:
    network = encoder("scratch:vit-nano").network
    assert network.hidden(torch.randn(1, 3, 16, 16)).shape == (1, 17, network.dim)
    assert network(torch.randn(1, 3, 48, 48)).shape == (1, network.dim)


def test_a_convolutional_network_gives_no_patches() -> None:
    network = encoder().network
    assert network.patch is None
    with pytest.raises(ConfigError, match=r"reads patches.*--base scratch:vit-nano"):
        network.hidden(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("scratch:resnet-min", "Did you mean 'scratch:resnet-mini'"),
        ("scratch:resnet-mini@33", "pictures of '33' pixels. Expected a multiple of 8 from 16 to 384"),
        ("scratch:vit-nano@large", "scratch:vit-nano@64"),
        ("hog@20", "multiple of 8"),
        ("pixel", "Did you mean 'pixels'"),
        ("minilm+minilm", "'minilm' is no image encoder"),
        ("scratch:resnet-mini+hog", "'hog' is no text encoder"),
        ("scratch:resnet-mini@64+hog", "'scratch:resnet-mini@64' and 'hog'; 'hog' is no text encoder"),
        ("scratch:resnet-mini+", "such as scratch:resnet-mini+minilm"),
    ],
)
def test_a_reference_that_is_wrong_is_refused_with_what_is_right(ref: str, message: str) -> None:
    with pytest.raises(BaseModelError, match=re.escape(message)):
        open_base(ref)
    with pytest.raises(BaseModelError):
        base_digest(ref)


def test_the_digest_of_random_weights_names_the_architecture_and_its_size() -> None:
    digests = {base_digest(ref) for ref in (*SCRATCH, "pixels", "hog", "hog@64")}
    assert len(digests) == len(SCRATCH) + 3


def test_a_text_given_to_an_image_encoder_is_refused() -> None:
    with pytest.raises(ConfigError, match="reads pictures; it was given the text 'hello'"):
        encoder().embed(["hello"])


def test_units_count_a_picture_as_its_area_over_256() -> None:
    picture = Picture(path="", sha256="")
    assert encoder().units([picture] * 3) == 12
    assert encoder("scratch:resnet-mini@64").units([picture]) == 16


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("crop_size", {"height": 32, "width": 48}, "expected squares"),
        ("crop_size", {"height": -3, "width": -3}, "expected squares"),
        ("image_std", [0, 1, 1], "normalises by"),
    ],
)
def test_a_processor_that_cannot_be_followed_is_refused(name: str, value: object, message: str, tmp_path: Path) -> None:
    encoder().save(tmp_path, card="")
    path = tmp_path / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(BaseModelError, match=message):
        open_base(str(tmp_path))


def test_a_folder_without_a_processor_or_with_broken_weights_is_refused(tmp_path: Path) -> None:
    encoder().save(tmp_path, card="")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(BaseModelError, match=r"no preprocessor_config.json"):
        open_base(str(tmp_path))
    encoder().save(tmp_path, card="")
    (tmp_path / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(BaseModelError, match="damaged"):
        open_base(str(tmp_path))


# --- several processes --------------------------------------------------------------------------------------------


def network_of(ref: str) -> nn.Module:
    """In training, where norms read the batch; float64, where rounding cannot hide a wrong count."""
    return encoder(ref).network.double().train()


def worked(ref: str, n: int) -> dict[str, object]:
    """The features of a batch, a loss over all of its pairs, and the gradients that averaging over processes gives."""
    network = network_of(ref)
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(n, 3, 16, 16)))
    features = network(pixels).double()
    loss = (features @ features.T).tanh().square().sum()
    loss.backward()
    gradients = []
    for parameter in network.parameters():
        if parameter.grad is not None:
            gradient = parameter.grad.clone()
            if gather.world_size() > 1:
                torch.distributed.all_reduce(gradient)
            gradients.append(float(gradient.norm() / gather.world_size()))
    buffers = [float(buffer.double().norm()) for buffer in network.buffers()]
    return {"loss": loss.item(), "gradients": gradients, "buffers": buffers, "shape": tuple(features.shape)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ref", "n"), [("scratch:resnet-mini", 5), ("scratch:vit-nano", 4), ("scratch:resnet-mini", 1)]
)
def test_two_processes_compute_the_loss_gradients_and_statistics_of_one(ref: str, n: int) -> None:
    alone = worked(ref, n)
    for shared in together(2, worked, ref, n):
        assert shared["shape"] == alone["shape"]
        for name in ("loss", "gradients", "buffers"):
            np.testing.assert_allclose(shared[name], alone[name], rtol=2e-5, atol=1e-9)  # features are float32


def test_a_shared_norm_alone_is_the_norm_of_torch_bit_for_bit() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    shared = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    shared.load_state_dict(plain.state_dict())
    share_statistics(shared)
    assert isinstance(shared[1], SharedBatchNorm)
    for _ in range(2):
        values = torch.randn(4, 3, 8, 8)
        assert torch.equal(plain(values), shared(values))
    assert torch.equal(plain[1].running_var, shared[1].running_var)
    assert list(plain.state_dict()) == list(shared.state_dict())


@pytest.mark.parametrize("ref", SCRATCH[:2])
def test_random_weights_leave_the_global_randomness_alone(ref: str) -> None:
    state = torch.get_rng_state()
    encoder(ref)
    assert torch.equal(torch.get_rng_state(), state)
