"""An assistant with a run of pictures: what a visitor shows is named, cited and looked up, or asked about."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoptalk.assistant.album import Album
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.config import CurateConfig
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import InputError
from shoptalk.image.distort import distort
from shoptalk.records import Document, Turn
from tests.assistant.small_run import documents_of_harbour, row, small_run, visitor

N = 60
CAPTIONS = {5: "A brass lantern", 9: "A blot\u2028on two lines\x85of a kind"}
LANTERN = row("lantern.md", "Every lantern on the quay is lit at dusk. A lantern costs 12 euros in the shop.")


def blot(seed: int) -> Image.Image:
    """A picture unlike the others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    folder = tmp_path_factory.mktemp("runs")
    rows = ["image,text,link"]
    for number in range(N):
        blot(number).save(folder / f"{number}.png")
        rows.append(f"{number}.png,{CAPTIONS.get(number, f'Blot number {number}')},https://a.example/{number}")
    (folder / "captions.csv").write_text("\n".join(rows))
    items = stream_sources([folder / "captions.csv"], CurateConfig())
    small_run(folder / "quay", [item for item in items if isinstance(item, Document)], base="pixels")
    small_run(folder / "harbour", [*documents_of_harbour("faq.md"), LANTERN])
    lines: list[str] = []
    opened = Assistant.open(
        folder / "harbour", settings=AssistantSettings(pictures=str(folder / "quay")), tell=lines.append
    )
    assert opened.album is not None and any("are recognised" in line for line in lines), lines
    return opened


def picture_of(assistant: Assistant, number: int) -> tuple[Document, bytes]:
    assert assistant.album is not None
    document = assistant.album.documents[number]
    assert document.picture is not None
    return document, Path(document.picture.path).read_bytes()


def test_a_picture_alone_is_named_and_its_document_cited(assistant: Assistant) -> None:
    document, data = picture_of(assistant, 7)
    reply = assistant.reply(visitor(""), picture=data)
    assert reply.decision == "answer"
    assert reply.text.startswith(f"This looks like: {document.turns[0].text}")
    assert reply.cited[0].document == document.id and reply.cited[0].link == "https://a.example/7"
    assert reply.sentences[0].sources == (1,)
    assert reply.seconds["picture"] > 0


def test_a_foreign_picture_alone_is_asked_about_and_nothing_is_cited(assistant: Assistant) -> None:
    file = io.BytesIO()
    blot(1_000).save(file, "PNG")
    reply = assistant.reply(visitor(""), picture=file.getvalue())
    assert (reply.decision, reply.reason, reply.cited) == ("clarify", "unknown_picture", [])
    reply = assistant.reply(visitor("How much does a lantern cost in the shop?"), picture=file.getvalue())
    assert reply.text.startswith("I do not recognise this picture.")
    reply = assistant.reply(visitor("What is this?"), picture=file.getvalue())
    assert (reply.decision, reply.reason, reply.cited) == ("clarify", "unknown_picture", [])
    reply = assistant.reply(visitor("My telescope broke on the way, who mends zygotes?"), picture=file.getvalue())
    assert (reply.decision, reply.reason) == ("escalate", "missing_knowledge")


def test_what_a_visitor_writes_with_a_picture_is_looked_up_with_its_caption(assistant: Assistant) -> None:
    assert assistant.album is not None
    _, data = picture_of(assistant, 5)
    reply = assistant.reply(visitor("How much does it cost in the shop?"), picture=data)
    assert "12 euros" in reply.text
    assert [source.document for source in reply.cited][1:] == ["lantern.md"]


def test_a_wish_for_a_person_goes_before_any_picture(assistant: Assistant) -> None:
    _, data = picture_of(assistant, 3)
    assert assistant.reply(visitor("I want to talk to a person"), picture=data).decision == "escalate"


def test_distorted_copies_are_recognised_as_often_as_was_said(assistant: Assistant) -> None:
    assert assistant.album is not None
    hits = wrong = 0
    for number in range(0, N, 2):
        document, data = picture_of(assistant, number)
        copy = distort(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), "cropped", seed=number + 5_000)
        file = io.BytesIO()
        Image.fromarray(copy).save(file, "PNG")
        seen = assistant.album.recognise(file.getvalue())
        hits += seen is not None
        wrong += seen is not None and seen.document.id != document.id
    assert hits and wrong <= 3


def test_an_album_that_is_there_is_opened_as_it_was_made(assistant: Assistant) -> None:
    assert assistant.album is not None
    again = Album.open(Path(str(assistant.settings.pictures)))
    assert again.documents == assistant.album.documents and again.calibration == assistant.album.calibration


def test_a_question_after_a_picture_alone_is_answered(assistant: Assistant) -> None:
    _, data = picture_of(assistant, 5)
    first = assistant.reply(visitor(""), picture=data)
    turns = [
        *visitor(""),
        Turn(role="assistant", text=first.text),
        *visitor("How much does a lantern cost in the shop?"),
    ]
    assert "12 euros" in assistant.reply(turns).text


def test_a_run_of_texts_is_no_album(tmp_path: Path) -> None:
    small_run(tmp_path / "harbour", documents_of_harbour("faq.md"))
    with pytest.raises(InputError, match="reads no pictures"):
        Assistant.open(tmp_path / "harbour", settings=AssistantSettings(pictures=str(tmp_path / "harbour")))


def test_an_album_that_lacks_pictures_says_so_until_one_of_them_is_back(tmp_path: Path) -> None:
    rows = ["image,text"]
    for number in range(8):
        blot(number).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,Blot number {number}")
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    items = stream_sources([tmp_path / "captions.csv"], CurateConfig())
    small_run(tmp_path / "quay", [item for item in items if isinstance(item, Document)], base="pixels")
    away = tmp_path / "away.png"
    (tmp_path / "3.png").rename(away)

    def opened() -> tuple[int, bool, bool]:
        lines: list[str] = []
        album = Album.open(tmp_path / "quay", tell=lines.append)
        told = "pictures: 1 of the run's picture files have gone or hold another picture, and are left out" in lines
        return len(album.documents), told, any("calibrating" in line for line in lines)

    assert opened() == (7, True, True)
    assert opened() == (7, True, False)
    away.rename(tmp_path / "3.png")
    assert opened() == (8, False, True)
    assert opened() == (8, False, False)
    for number in range(5):
        (tmp_path / f"{number}.png").unlink()
    assert opened() == (8, False, False)  # an album whose files have gone since is better than none
