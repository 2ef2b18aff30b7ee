from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from benchmarks.picture_profile import BATCHES, GROUPS, LOSS, MATMULS, NORMS, OPTIMIZER, REST, TEACHER
from PIL import Image

from benchmarks import picture_profile, picture_sets
from shoptalk.config import load
from shoptalk.nn.tiny_pictures import tiny_image_encoder
from shoptalk.objectives import make_spec
from shoptalk.records import Picture
from shoptalk.training.loop import loop_config


@dataclass
class Planted:
    """An event of the profiler, its own time in microseconds."""

    name: str
    cpu_parent: "Planted | None" = None
    self_cpu_time_total: float = 0.0
    sequence_nr: int = -1
    start: float = 0.0

    @property
    def time_range(self) -> SimpleNamespace:
        return SimpleNamespace(start=self.start)


def planted_step() -> list[Planted]:
    """One step: a batch, a convolution with its memory, a loss, the backward passes of both, and an update."""
    step = Planted("a step", None, 1)
    batch = Planted(BATCHES, step, 2, start=1)
    forward = Planted("the forward pass", step, 4, start=2)
    network = Planted("a network", forward, 8, start=3)
    convolution = Planted("aten::conv2d", network, 0, sequence_nr=5, start=4)
    return [
        step, batch, forward, network, convolution,
        Planted("aten::convolution", convolution, 16, sequence_nr=5, start=5),
        Planted("aten::empty", convolution, 32, sequence_nr=5, start=6),
        Planted("aten::add", network, 64, sequence_nr=6, start=7),
        Planted("aten::mm", forward, 128, sequence_nr=7, start=8),
        (of_loss := Planted("autograd::engine::evaluate_function: MmBackward0", step, 0, sequence_nr=7, start=9)),
        Planted("aten::mm", of_loss, 256, start=10),
        (of_network := Planted("autograd::engine::evaluate_function: ConvolutionBackward0", step, 0, 5, start=11)),
        Planted("aten::convolution_backward", of_network, 512, start=12),
        Planted("aten::linalg_vector_norm", step, 1024, start=13),
        Planted("aten::mul", Planted(TEACHER, step, 0, start=14), 2048, start=15),
        Planted("aten::mm", None, 4096, start=16),
    ]  # fmt: skip


def test_each_event_is_of_one_group_and_what_lies_outside_the_steps_of_none():
    found = picture_profile.grouped(planted_step())
    totals = {group: sum(spent for (of, _), spent in found.items() if of == group) for group in GROUPS}
    assert totals == {
        BATCHES: 2, MATMULS: 16 + 32 + 512, NORMS: 0, LOSS: 4 + 128 + 256, OPTIMIZER: 1024, TEACHER: 2048,
        REST: 1 + 8 + 64,
    }  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    for number in range(8):
        Image.new("RGB", (8, 8), (30 * number, 99, 0)).save(tmp_path / f"{number}.png")
    return picture_sets.corpus_of(
        [Picture(path=str(tmp_path / f"{number}.png"), sha256=str(number)) for number in range(8)]
    )


@pytest.mark.parametrize(("name", "form"), [("moco", "resnet"), ("byol", "resnet"), ("dino", "resnet"), ("mae", "vit")])
def test_the_shares_of_steps_add_up(name, form, corpus):
    spec = make_spec(name, {"batch": 4, **({} if name == "mae" else {"hidden": 16})})
    config = loop_config(spec, load(), name=name, steps=3, precision="float32")
    measured = picture_profile.profile_of(spec, tiny_image_encoder(form), corpus, config, warm_up=1)
    shares = {group: operators.total() for group, operators in measured.shares.items()}
    assert sum(shares.values()) == pytest.approx(100)
    assert all(shares[group] > 0.1 for group in (BATCHES, MATMULS, NORMS, LOSS, OPTIMIZER, REST))
    assert (shares[TEACHER] > 5) == (name != "mae")
    matmuls = measured.shares[MATMULS]
    assert any("backward" in operator for operator in matmuls)
    assert "native_batch_norm_backward" in measured.shares[NORMS] or form == "vit"


def test_a_row_names_the_largest_operators(corpus):
    spec = make_spec("simclr", {"batch": 4, "hidden": 16})
    config = loop_config(spec, load(), name="simclr", steps=2, precision="float32")
    measured = picture_profile.profile_of(spec, tiny_image_encoder(), corpus, config, warm_up=1)
    step, *rows = picture_profile.profile_rows("simclr", measured, note="tiny")
    assert step.value == pytest.approx(1000 * measured.seconds)
    assert step.note.startswith("tiny; ")
    assert [row.what for row in rows] == [f"profile, simclr: {group}, share of a step" for group in GROUPS]
    assert "convolution" in rows[1].note
