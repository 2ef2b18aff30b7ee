import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ArtifactError
from shoptalk.text import corpus as module
from shoptalk.text.corpus import Corpus, CorpusWriter, open_corpus
from shoptalk.text.stored import ArrayWriter, StoredArray, StoredTexts, TextWriter

DOCUMENTS = [
    (["hello", "", "émile 👍", "hello"], True),
    (["a passage\n\nof two", "x"], False),
    ([""], True),
    (["hi"], True),
]


def corpus(turns: list[tuple[int, int]]) -> Corpus:
    return Corpus(
        items=tuple(f"text {i}" for i in range(len(turns))),
        conversation=np.array([conversation for conversation, _ in turns], dtype=np.int64),
        turn=np.array([turn for _, turn in turns], dtype=np.int64),
        digest="x",
    )


def stored(folder: Path, documents: list[tuple[list[str], bool]]) -> Corpus:
    with CorpusWriter(folder) as writer:
        for texts, are_turns in documents:
            writer.add(texts, are_turns=are_turns)
    return open_corpus(folder, digest="d")


# Pairs


@pytest.mark.parametrize(
    ("turns", "pairs"),
    [
        ([(0, 0), (0, 1), (0, 2)], [(0, 1), (1, 2)]),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], [(0, 1), (2, 3)]),
        ([(0, -1), (0, -1)], []),  # passages of a plain document
        ([(0, 0), (0, 2), (0, 3)], [(1, 2)]),  # turn 1 was dropped: 2 does not answer 0
        ([(0, 0)], []),
        ([], []),
    ],
)
def test_only_turns_that_follow_each_other_make_a_pair(turns: list[tuple[int, int]], pairs: list[tuple[int, int]]):
    found = corpus(turns).pairs()
    assert found.shape == (len(pairs), 2)
    assert [(context, reply) for context, reply in found] == pairs
    contexts = corpus(turns).contexts()
    assert list(contexts) == np.asarray(contexts).tolist() == [context for context, _ in pairs]
    assert all(type(context) is int for context in contexts) and list(contexts[1:]) == list(contexts)[1:]


@given(st.lists(st.lists(st.integers(-1, 3), max_size=5), max_size=8), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_pairs_are_those_that_one_by_one_would_be_found(turns: list[list[int]], chunk: int):
    rows = [(number, turn) for number, places in enumerate(turns) for turn in places]
    expected = [
        (i, i + 1)
        for i in range(len(rows) - 1)
        if rows[i][0] == rows[i + 1][0] and rows[i][1] >= 0 and rows[i + 1][1] == rows[i][1] + 1
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        assert corpus(rows).pairs().tolist() == [list(pair) for pair in expected]


# Samples


@given(st.lists(st.integers(1, 6), min_size=1, max_size=20), st.integers(1, 40), st.integers(0, 5))
@settings(deadline=None)
def test_a_sample_holds_whole_documents_and_no_more_than_asked_for(sizes: list[int], most: int, seed: int):
    whole = corpus([(number, turn) for number, size in enumerate(sizes) for turn in range(size)])
    part = whole.sample(most, seed=seed)
    for number in set(part.conversation.tolist()):
        assert (part.conversation == number).sum() == sizes[number]
    assert len(part) <= most or len(set(part.conversation.tolist())) == 1
    assert len(part) > most - max(sizes) or len(part) == len(whole)  # another document would not have fitted
    texts = list(part.texts)
    assert texts == [text for text in whole.texts if text in texts]


def test_a_sample_that_fits_exactly_is_taken():
    whole = corpus([(number, turn) for number in range(5) for turn in range(4)])
    assert [len(whole.sample(most, seed=0)) for most in (4, 7, 8, 19, 20)] == [4, 4, 8, 16, 20]


def test_a_sample_keeps_texts_turns_and_wording_together(tmp_path: Path):
    whole = stored(tmp_path, [([f"{number} {turn}" for turn in range(3)], True) for number in range(9)])
    part = whole.sample(7, seed=1)
    assert list(part.texts) == [
        f"{number} {turn}" for number, turn in zip(part.conversation.tolist(), part.turn.tolist(), strict=True)
    ]
    assert part.texts[-1] == list(part.texts)[-1] and part.texts[1:3] == tuple(part.texts)[1:3]
    places = [list(whole.texts).index(text) for text in part.texts]
    assert part.wording.tolist() == whole.wording[places].tolist()


# Wording


def test_equal_texts_have_equal_wording_and_others_do_not():
    found = Corpus(("a", "b", "a"), np.zeros(3, dtype=np.int64), np.arange(3), "x").wording
    assert found.dtype == np.int64
    assert found[0] == found[2] != found[1]


def test_wording_on_disk_is_that_in_memory(tmp_path: Path):
    kept = stored(tmp_path, DOCUMENTS)
    assert kept.wording.tolist() == Corpus(tuple(kept.texts), kept.conversation, kept.turn, "d").wording.tolist()


# Roles


def test_roles_are_small_numbers_with_a_table_of_names(tmp_path: Path):
    with CorpusWriter(tmp_path) as writer:
        writer.add(["hi", "", "yes?", "bye"], are_turns=True, roles=["user", "tool", "agent", ""])
        writer.add(["a passage"], are_turns=False)
        writer.add(["hello"], are_turns=True, roles=["agent"])
    kept = open_corpus(tmp_path, digest="d")
    assert kept.roles == ("user", "agent")
    assert kept.role is not None and kept.role.dtype == np.int32
    assert [kept.role_of(i) for i in range(5)] == ["user", "agent", "", "", "agent"]
    assert kept.in_role("agent", "assistant").tolist() == [False, True, False, False, True]
    assert not kept.in_role().any() and not kept.in_role("").any()
    assert [kept.part(np.array([1, 4]), digest="p").role_of(i) for i in range(2)] == ["agent", "agent"]


def test_items_with_too_few_roles_are_refused(tmp_path: Path):
    with (
        CorpusWriter(tmp_path) as writer,
        pytest.raises(ValueError, match="2 items have 1 roles; expected one of each"),
    ):
        writer.add(["hi", "yes?"], are_turns=True, roles=["user"])


def test_a_corpus_that_knows_no_roles_says_so():
    plain = corpus([(0, 0), (0, 1)])
    assert plain.role_of(1) == "" and plain.in_role("user").tolist() == [False, False]
    with pytest.raises(IndexError):
        plain.document_of(0)


# On disk


def test_a_corpus_on_disk_reads_back(tmp_path: Path):
    kept = stored(tmp_path / "corpus", DOCUMENTS)
    texts = ("hello", "émile 👍", "hello", "a passage\n\nof two", "x", "hi")
    assert len(kept) == 6 and kept.digest == "d"
    assert tuple(kept.texts) == texts and tuple(kept.texts[i] for i in range(6)) == texts
    assert kept.texts[np.int64(-1)] == "hi" and kept.texts[1:4] == texts[1:4] and kept.texts[::-2] == texts[::-2]
    assert kept.conversation.tolist() == [0, 0, 0, 1, 1, 3]
    assert kept.turn.tolist() == [0, 2, 3, -1, -1, 0]
    assert kept.pairs().tolist() == [[1, 2]]
    with pytest.raises(IndexError):
        kept.texts[6]


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_text_reads_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]):
    kept = stored(tmp_path_factory.mktemp("corpus"), [(texts, True)])
    assert list(kept.texts) == [text for text in texts if text]


def test_nothing_is_a_corpus_of_no_texts(tmp_path: Path):
    kept = stored(tmp_path, [])
    assert (len(kept), list(kept.texts), kept.pairs().tolist(), kept.wording.tolist()) == (0, [], [], [])


def test_opening_a_corpus_reads_next_to_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stored(tmp_path, [([f"text {number}" for number in range(5_000)], True)])
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, length, at: read.append(length) or pread(handle, length, at))
    kept = open_corpus(tmp_path, digest="d")
    assert sum(read) < 200
    assert kept.texts[2_500] == "text 2500"
    assert sum(read) < 400


@pytest.mark.parametrize(
    "name",
    [
        *("texts.bin", "texts.starts.npy", "turn.npy", "wording.npy"),
        *("role.npy", "roles.json", "pictures.npy", "document.npy"),
    ],
)
def test_a_missing_or_damaged_file_is_an_artifact_error(tmp_path: Path, name: str):
    stored(tmp_path, DOCUMENTS)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        open_corpus(tmp_path, digest="d")
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        open_corpus(tmp_path, digest="d")


@given(st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=9), max_size=9))
@settings(max_examples=30, deadline=None)
def test_an_array_grows_on_disk_and_numpy_opens_it(tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]):
    path = tmp_path_factory.mktemp("array") / "a.npy"
    with ArrayWriter(path, np.int32) as writer:
        for part in parts:
            writer.extend(part)
            for number in part:
                writer.append(number)
    expected = [number for part in parts for number in (*part, *part)]
    assert np.load(path).tolist() == np.asarray(StoredArray(path)).tolist() == expected
    assert StoredArray(path)[1:3].tolist() == expected[1:3]


def test_an_array_of_objects_is_not_opened(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(ArtifactError, match="is not the array"):
        StoredArray(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("conversation", lambda whole: whole + 1_000_000),
        ("conversation", lambda whole: whole + 0.5),
        ("pictures", lambda whole: np.array([10**9])),
        ("pictures", lambda whole: np.zeros((3, 3), dtype=np.int64)),
        ("document", lambda whole: whole.astype(str)),
    ],
)
def test_an_array_of_a_corpus_that_does_not_belong_is_an_artifact_error(tmp_path: Path, name: str, numbers: Any):
    stored(tmp_path, DOCUMENTS)
    np.save(tmp_path / f"{name}.npy", numbers(np.load(tmp_path / f"{name}.npy")))
    with pytest.raises(ArtifactError, match=rf"{name}\.npy"):
        open_corpus(tmp_path, digest="d")


@pytest.mark.parametrize("starts", [[0, 6, 3, 9], [0, 1, 6, 9]])
def test_texts_whose_places_were_changed_are_an_artifact_error(tmp_path: Path, starts: list[int]):
    with TextWriter(tmp_path, "texts") as writer:
        for text in ("äöü".encode(), b"abc"):
            writer.append(text)
    np.save(tmp_path / "texts.starts.npy", np.array(starts, dtype=np.int64))
    with pytest.raises(ArtifactError, match=r"texts\.bin is damaged"):
        StoredTexts(tmp_path, "texts")[:]
