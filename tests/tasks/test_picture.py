"""The task picture: labelled pictures, by any encoder that reads them."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shoptalk.config import Config
from shoptalk.errors import ConfigError, InputError
from shoptalk.nn.bases import kind_of, open_base
from shoptalk.records import Example, Picture
from shoptalk.stages.plan import check_candidates
from shoptalk.tasks import check_reads
from shoptalk.tasks.intent import intent
from shoptalk.tasks.judge import Ground
from shoptalk.tasks.picture import picture
from shoptalk.text.corpus import Corpus

NOTHING = Corpus((), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), digest="nothing")


def shown(folder: Path, n: int = 30) -> tuple[Example, ...]:
    """Pictures with a bright left half, and with a bright right one."""
    rng, examples = np.random.default_rng(0), []
    for i in range(n):
        pixels = rng.integers(0, 90, (32, 32, 3))
        pixels[:, 16 * (i % 2) : 16 * (i % 2) + 16] += 120
        data = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(data, "PNG")
        path = folder / f"{i}.png"
        path.write_bytes(data.getvalue())
        item = Picture(path=str(path), sha256=f"{i:064}")
        examples.append(
            Example(id=f"l.csv#{i}", text=path.name, label=("left", "right")[i % 2], cluster=i, picture=item)
        )
    return tuple(examples)


def ground_of(examples: tuple[Example, ...], kind: Any = "image") -> Ground:
    return Ground(kind, examples, (), NOTHING, NOTHING, (), n_draws=5, seed=0)


def test_heads_on_pixels_tell_pictures_apart_that_a_judge_was_drawn_of(tmp_path: Path) -> None:
    judge = picture(ground_of(shown(tmp_path)))
    assert judge is not None and judge.key == "picture" and judge.named == ()
    assert all(isinstance(item, Picture) for item in judge.items)
    final = judge.final(open_base("pixels"))
    assert final.scores[judge.tested].all()
    assert final.step == "plain head"


@pytest.mark.parametrize("kind", ["text", "lm"])
def test_what_reads_no_pictures_is_not_judged_by_them(kind: str, tmp_path: Path) -> None:
    assert picture(ground_of(shown(tmp_path, 4), kind)) is None
    assert picture(ground_of((), "image")) is None


def test_labels_of_another_kind_are_refused_with_the_task_that_takes_them(tmp_path: Path) -> None:
    text = Example(id="l.csv#2", text="hello", label="greeting")
    with pytest.raises(InputError, match=r"1 of the labelled examples are texts, such as l\.csv#2\. .* --task intent"):
        picture(ground_of((*shown(tmp_path, 4), text)))
    with pytest.raises(InputError, match=r"4 of the labelled examples are pictures, such as l\.csv#0\. .* --task pict"):
        intent(ground_of((*shown(tmp_path, 4), text), "text"))


@pytest.mark.parametrize(
    ("task", "base", "message"),
    [
        (
            "picture",
            "minilm",
            "needs one of the image encoders or encoders of pictures and texts, and the base",
        ),
        (
            "caption",
            "scratch:vit-nano",
            r"needs one of the encoders of pictures and texts, .* scratch:resnet-mini\+",
        ),
        ("intent", "scratch:vit-nano", "is about texts, and the base 'scratch:vit-nano' is one of the image encoders"),
    ],
)
def test_a_base_that_cannot_read_what_a_task_asks_is_refused_at_once(task: str, base: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_reads((task,), base, kind_of(base))


def test_random_weights_are_no_base_to_compare_with() -> None:
    config = Config(task="picture", bases=("scratch:resnet-mini", "scratch:vit-nano"), candidates=("none",))
    with pytest.raises(ConfigError, match="'scratch:vit-nano' is random weights"):
        check_candidates(config)
