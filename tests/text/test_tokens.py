import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ArtifactError, StorageError
from shoptalk.text.tokens import Tokenised, open_tokens, tokenise, tokenise_to, tokenizer_digest
from tests.text.plain_tokenizer import PlainTokenizer
from tests.tiny import WORDS, tiny_tokenizer

TEXTS = ("yes", "no day", "", "card lost", "the ferry")


class Counting:
    """A tokenizer that counts the texts it was given, and fails when it has had enough."""

    def __init__(self, most: int = 1_000) -> None:
        self.inner = tiny_tokenizer()
        self.backend_tokenizer = self.inner.backend_tokenizer
        self.seen = 0
        self.most = most

    def __len__(self) -> int:
        return len(self.inner)

    def __call__(self, texts: list[str], **named: Any) -> Any:
        self.seen += len(texts)
        if self.seen > self.most:
            raise KeyboardInterrupt
        return self.inner(texts, **named)


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=12), st.integers(3, 16))
@settings(max_examples=30, deadline=None)
def test_every_text_has_the_tokens_it_has_alone(texts: list[str], max_length: int):
    tokenizer = tiny_tokenizer()
    tokens = tokenise(tokenizer, texts, max_length=max_length)
    assert len(tokens) == len(texts)
    assert len(tokens.flat) == tokens.starts[-1]
    for i, text in enumerate(texts):
        assert tokens[i].tolist() == tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        assert tokens.lengths[i] == len(tokens[i]) <= max_length


def test_no_texts_are_no_tokens(tmp_path: Path):
    for tokens in (
        tokenise(tiny_tokenizer(), [], max_length=8),
        tokenise_to(tmp_path / "tokens", tiny_tokenizer(), [], max_length=8, digest="x"),
    ):
        assert (len(tokens), len(tokens.flat), tokens.lengths.tolist()) == (0, 0, [])


def test_more_texts_than_one_call_takes_are_all_tokenised():
    tokens = tokenise(tiny_tokenizer(), ["yes", "no day"] * 5_001, max_length=8)
    assert tokens.lengths.tolist() == [3, 4] * 5_001


def test_a_tokenised_text_is_a_slice_of_the_flat_array():
    tokens = Tokenised(flat=np.array([1, 2, 3]), starts=np.array([0, 2, 2, 3]))
    assert [tokens[i].tolist() for i in range(len(tokens))] == [[1, 2], [], [3]]
    assert [ids.tolist() for ids in tokens] == [[1, 2], [], [3]]
    for outside in (-1, 3):
        with pytest.raises(IndexError):
            tokens[outside]


def test_ids_take_two_bytes_and_are_handed_out_as_int64():
    tokens = tokenise(tiny_tokenizer(), TEXTS, max_length=8)
    assert tokens.flat.dtype == np.uint16
    assert tokens[0].dtype == np.int64


@pytest.mark.parametrize("shard", [1, 2, 5, 100])
def test_tokens_on_disk_are_those_in_memory(tmp_path: Path, shard: int):
    kept = tokenise_to(tmp_path / "tokens", tiny_tokenizer(), TEXTS, max_length=4, digest="x", shard=shard)
    plain = tokenise(tiny_tokenizer(), TEXTS, max_length=4)
    assert len(kept) == len(plain)
    assert [kept[np.int32(i)].tolist() for i in range(len(kept))] == [plain[i].tolist() for i in range(len(plain))]
    assert kept[0].dtype == np.int64
    assert kept.lengths.tolist() == plain.lengths.tolist()
    assert np.load(tmp_path / "tokens" / "ids.npy").dtype == np.uint16  # plain NumPy opens it
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokens"]  # no shards are left


def test_asking_again_tokenises_nothing(tmp_path: Path):
    tokenizer = Counting()
    for _ in range(2):
        tokenise_to(tmp_path / "tokens", tokenizer, TEXTS, max_length=4, digest="x")
    assert tokenizer.seen == len(TEXTS)


@pytest.mark.parametrize("changed", [{"digest": "y"}, {"max_length": 5}])
def test_another_corpus_or_length_is_tokenised_anew(tmp_path: Path, changed: dict[str, Any]):
    tokenizer = Counting()
    tokenise_to(tmp_path / "tokens", tokenizer, TEXTS, max_length=4, digest="x")
    tokenise_to(tmp_path / "tokens", tokenizer, TEXTS, **({"max_length": 4, "digest": "x"} | changed))
    assert tokenizer.seen == 2 * len(TEXTS)


def test_a_tokenizer_is_known_by_what_it_does_and_not_by_its_last_call():
    one, other = tiny_tokenizer(), tiny_tokenizer()
    before = tokenizer_digest(one)
    one(["yes"], truncation=True, max_length=3, padding=True)
    assert tokenizer_digest(one) == before == tokenizer_digest(other)
    other.add_tokens(["ferry"])
    assert tokenizer_digest(other) != before


def test_an_interrupted_call_continues_with_the_next_shard(tmp_path: Path):
    folder = tmp_path / "tokens"
    with pytest.raises(KeyboardInterrupt):
        tokenise_to(folder, Counting(most=3), TEXTS, max_length=4, digest="x", shard=2)
    shards = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob(".tokens.shards-*/*")}
    assert list(shards) == ["000000.npz"]
    rest = Counting()
    kept = tokenise_to(folder, rest, TEXTS, max_length=4, digest="x", shard=2)
    assert rest.seen == len(TEXTS) - 2
    assert kept.lengths.tolist() == tokenise(tiny_tokenizer(), TEXTS, max_length=4).lengths.tolist()


def test_a_killed_process_leaves_whole_shards_only(tmp_path: Path):
    """SIGKILL while a shard is written: what is there afterwards continues to the same artifact."""
    script = """
        import os, signal, sys
        import numpy as np
        from pathlib import Path
        from shoptalk.text.tokens import tokenise_to
        from tests.text.plain_tokenizer import PlainTokenizer

        whole, calls = np.savez, []

        def dying(file, **arrays):
            calls.append(file)
            if len(calls) == 3:
                file.write(b"half a shard")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            whole(file, **arrays)

        np.savez = dying
        tokenise_to(Path(sys.argv[1]), PlainTokenizer(), ["yes", "no day"] * 4, max_length=4, digest="x", shard=2)
    """
    folder = tmp_path / "tokens"
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    killed = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert killed.returncode == -9 and not folder.exists()
    assert len(list(tmp_path.glob(".tokens.shards-*/*.npz"))) == 2
    rest = PlainTokenizer()
    kept = tokenise_to(folder, rest, ["yes", "no day"] * 4, max_length=4, digest="x", shard=2)
    assert rest.seen == 4
    assert kept.lengths.tolist() == [3, 4] * 4


def test_a_store_that_is_cut_off_is_an_artifact_error(tmp_path: Path):
    folder = tmp_path / "tokens"
    tokenise_to(folder, tiny_tokenizer(), TEXTS, max_length=4, digest="x")
    whole = (folder / "ids.npy").read_bytes()
    (folder / "ids.npy").write_bytes(whole[:-2])
    with pytest.raises(ArtifactError, match=r"ids\.npy is not the array"):
        open_tokens(folder)
    (folder / "ids.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(ArtifactError, match=r"ids\.npy cannot be read as an array"):
        open_tokens(folder)


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="give another --out"):
        tokenise_to(tmp_path / "file" / "tokens", tiny_tokenizer(), TEXTS, max_length=4, digest="x")


def test_the_manifest_says_what_the_tokens_are_of(tmp_path: Path):
    tokenise_to(tmp_path / "tokens", tiny_tokenizer(), TEXTS, max_length=4, digest="the corpus")
    manifest = json.loads((tmp_path / "tokens" / "manifest.json").read_text())
    assert manifest["parents"] == {"corpus": "the corpus", "tokenizer": tokenizer_digest(tiny_tokenizer())}
    assert manifest["config"] == {"max_length": 4}
