"""Which encoding a file is in, and what a byte that does not belong costs."""

import gzip
import json
from pathlib import Path

import pytest
from tests.conftest import Listener

from shoptalk.config import Config, CurateConfig
from shoptalk.curate.files import encoding_of
from shoptalk.curate.labels import read_label_sets, read_labels
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World

FRENCH = "Où est ma carte ? Le virement n’est pas arrivé, ça coûte 5 €."
LANGUAGES = {
    "cp1252": "Können Sie mir helfen? Die Überweisung fehlt mir schon für größere Einkäufe, “bitte” – 5 €.",
    "cp1250": "Gdzie jest moja karta? Przelew nie dotarł, proszę o pomoc. Dziękuję, życzę miłego dnia. Łódź",
    "cp1251": "Где моя карта? Перевод не пришёл, помогите пожалуйста.",
    "koi8-r": "Где моя карта? Перевод не пришёл, помогите пожалуйста.",
    "cp1253": "Πού είναι η κάρτα μου; Η μεταφορά δεν έφτασε.",
    "cp1254": "Kartım nerede? Havale gelmedi, lütfen yardım edin. Teşekkür ederim. Şişli ağaç",
    "cp1255": "איפה הכרטיס שלי? ההעברה לא הגיעה, בבקשה תעזרו לי.",
    "cp1256": "أين بطاقتي؟ لم تصل الحوالة، ساعدوني من فضلك.",
    "shift_jis": "私のカードはどこですか？振込が届いていません。助けてください。",
    "euc_jp": "私のカードはどこですか？振込が届いていません。助けてください。",
    "gb18030": "我的卡在哪里？转账还没有到，请帮帮我。",
    "big5": "我的卡在哪裡？轉帳還沒有到，請幫幫我。",
    "euc_kr": "내 카드는 어디에 있나요? 송금이 아직 도착하지 않았어요. 도와주세요.",
}


def read(*paths: Path) -> tuple[list[Document], list[Drop], list[str]]:
    said: list[str] = []
    items = list(stream_sources(paths, CurateConfig(), say=said.append))
    return [i for i in items if isinstance(i, Document)], [i for i in items if isinstance(i, Drop)], said


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return path


def labelled() -> str:
    """40 rows, of which 23 are not ASCII."""
    texts = [f"{FRENCH} {number}" if number < 23 else f"where is it {number}" for number in range(40)]
    return "text,label\r\n" + "".join(f'"{text}",{"ab"[number % 2]}\r\n' for number, text in enumerate(texts))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_no_label_is_lost_to_an_encoding_and_any_but_utf8_is_said(tmp_path: Path, encoding: str, name: str) -> None:
    said: list[str] = []
    path = written(tmp_path / name, labelled().encode(encoding))
    examples, drops = read_labels(path, CurateConfig(), say=said.append)
    assert (len(examples), drops) == (40, [])
    assert examples[0].text == f"{FRENCH} 0".replace("’", "'")  # as repair has it
    assert [name in sentence and "is not UTF-8 and is read as" in sentence for sentence in said] == (
        [] if encoding.startswith("utf-8") else [True]
    )


def test_label_sets_say_their_encoding_too(tmp_path: Path) -> None:
    said: list[str] = []
    path = written(tmp_path / "a.csv", "text,labels\ncafé,x|y\nthé,x\n".encode("cp1252"))
    rows, _ = read_label_sets(path, CurateConfig(), say=said.append)
    assert [row.text for row in rows] == ["café", "thé"]
    assert "Windows-1252" in said[0]


@pytest.mark.parametrize("rows", [1, 30])
@pytest.mark.parametrize("encoding", LANGUAGES)
def test_code_pages_are_told_apart(tmp_path: Path, encoding: str, rows: int) -> None:
    text = LANGUAGES[encoding]
    path = written(
        tmp_path / "a.jsonl", (json.dumps({"text": text}, ensure_ascii=False) + "\n").encode(encoding) * rows
    )
    with path.open(encoding=encoding_of(path)) as file:
        assert json.loads(file.readline())["text"] == text


@pytest.mark.parametrize("encoding", ["cp1250", "cp1255", "gb18030", "shift_jis"])
def test_one_damaged_line_does_not_hide_the_encoding_of_the_others(tmp_path: Path, encoding: str) -> None:
    line = LANGUAGES[encoding].encode(encoding)
    documents, drops, _ = read(
        written(tmp_path / "a.txt", b"\n".join([line] * 20 + [b"\x81\xff\xff\xff."] + [line] * 20))
    )
    assert len(documents) + len(drops) == 41
    assert [document.text for document in documents].count(documents[0].text) >= 40


@pytest.mark.parametrize("text", ["café au lait", "it cost 5 €", "I don’t know"])
def test_a_single_letter_is_read_as_western_european(tmp_path: Path, text: str) -> None:
    documents, drops, _ = read(written(tmp_path / "a.txt", text.encode("cp1252")))
    assert [document.text for document in documents] == [text.replace("’", "'")]
    assert not drops


def test_a_letter_that_comes_late_is_read_too(tmp_path: Path) -> None:
    lines = [b"where is my card"] * 50_000 + ["café".encode("cp1252")] * 3
    documents, drops, said = read(written(tmp_path / "a.txt", b"\n".join(lines)))
    assert [document.text for document in documents[-3:]] == ["café"] * 3
    assert not drops and len(said) == 1


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_one_bad_byte_costs_at_most_its_own_line(tmp_path: Path, name: str) -> None:
    texts = [f"früh am Morgen {number}".encode() for number in range(999)]
    texts.insert(500, b"bad \xff byte")
    lines = [b'{"text": "%s"}' % text for text in texts] if name == "a.jsonl" else texts
    documents, drops, _ = read(written(tmp_path / name, b"\n".join([b"text"] * (name == "a.csv") + lines)))
    assert len(documents) == 999
    line = 502 if name == "a.csv" else 501
    assert [(drop.id, drop.reason) for drop in drops] == [(f"{name}#{line}", "not-utf8")]
    assert f"line {line} holds bytes that are not UTF-8" in drops[0].detail


def test_a_bad_byte_in_a_text_of_paragraphs_costs_its_line(tmp_path: Path) -> None:
    text = "früh\n\n" * 20 + "end"
    documents, drops, _ = read(written(tmp_path / "a.md", b"bad \xff\n\n" + text.encode()))
    assert [document.text for document in documents] == [text]
    assert [drop.id for drop in drops] == ["a.md#1"]


def test_files_in_two_encodings_that_were_joined_are_read_in_both(tmp_path: Path) -> None:
    lines = [f"später {number}".encode("cp1252" if number % 2 else "utf-8") for number in range(40)]
    documents, drops, _ = read(written(tmp_path / "a.txt", b"\n".join(lines)))
    assert [document.text for document in documents] == [f"später {number}" for number in range(40)]
    assert not drops


def test_a_long_line_of_utf8_that_the_sample_cuts_is_utf8(tmp_path: Path) -> None:
    for shift in range(4):
        path = written(tmp_path / "a.txt", ("x" * shift + "日" * 200_000).encode())
        assert encoding_of(path) == "utf-8"


def test_a_nul_costs_its_line(tmp_path: Path) -> None:
    documents, drops, _ = read(written(tmp_path / "a.csv", b"text\none\ntw\0o\nthree\nfour\n"))
    assert [document.text for document in documents] == ["one", "three", "four"]
    assert [(drop.id, drop.reason) for drop in drops] == [("a.csv#3", "binary")]


@pytest.mark.parametrize(
    ("data", "cure"),
    [
        (bytes(range(256)) * 8, r"no text in UTF-8, UTF-16 and Windows-1252; save it as UTF-8 text"),
        (b"PK\x03\x04" + bytes(range(256)), r"Excel's \.xlsx; open it there and save it as CSV UTF-8"),
        (gzip.compress(b"text,label\na,x\nb,y\n", mtime=0), r"gzip-compressed; add \.gz to its name"),
    ],
)
def test_a_file_that_cannot_be_read_names_the_encodings_tried_or_what_it_is_and_the_cure(
    tmp_path: Path, data: bytes, cure: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=cure):
        read_labels(path, CurateConfig())
    with pytest.raises(SourceError, match=cure) as error:
        read(path)
    assert "one of these formats" not in str(error.value)


def test_what_was_said_of_encodings_stays_with_the_corpus(tmp_path: Path, listener: Listener) -> None:
    source = written(tmp_path / "a.txt", "où est ma carte\nle café est fermé".encode("cp1252"))
    world = World(run=tmp_path / "run", config=Config(), report=listener)
    for _ in range(2):  # made, then read back
        remarks = curate_stage(world, [source], None, None).remarks
        assert len(remarks) == 1
        assert "a.txt is not UTF-8 and is read as Windows-1252" in remarks[0]
    assert listener.said.count(remarks[0]) == 1
