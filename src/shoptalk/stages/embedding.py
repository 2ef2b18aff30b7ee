"""Sources of any size to unit vectors on disk: what `shoptalk embed` does.

    embed_sources("minilm", [Path("chats/")], Path("vectors.npy"), config, report=console)

Memory stays constant: the sources are read once into a file of rows, which is then embedded shard by shard (sorted by
length inside a shard, in the rows' order outside). All of it happens in the hidden folder `.NAME.npy.embedding` beside
the result. A finished shard is on the disk before it is counted, so the same command continues after any crash; other
settings, sources or weights start over. The array appears at the end, as a whole and last:

| file             | holds                                                                            |
|------------------|----------------------------------------------------------------------------------|
| NAME.npy         | [texts, dimensions]; `np.load(path, mmap_mode="r")` opens it without reading it  |
| NAME.scales.npy  | for int8 only, float32 [texts, 1]: `vectors * scales` are the unit vectors       |
| NAME.jsonl       | line i is the `id`, `turn` (-1: a passage) and `text` of row i                   |
| NAME.json        | what the vectors were made from and with (`VectorsCard`)                         |
"""

import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float32, Int8, Shaped
from pydantic import ValidationError

from shoptalk.artifact import digest, file_digest, locked, storage_errors, write_text
from shoptalk.config import Config
from shoptalk.curate.curate import to_corpus
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import InputError, SourceError, StorageError
from shoptalk.nn.bases import resolve
from shoptalk.nn.encoder import Product, embed
from shoptalk.nn.precision import Precision
from shoptalk.records import Document, Drop, Frozen
from shoptalk.stages.world import Reporter, open_product
from shoptalk.training.forecast import span

Dtype = Literal["float32", "float16", "int8"]
DTYPES: tuple[Dtype, ...] = get_args(Dtype)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

SHARD = 16_384
"""Texts embedded at once: enough to sort well by length, and at most a minute or two of work lost to a crash."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress."""
_LAYOUT = 1
_PROBED, _PROBED_FROM = 256, 4_096
"""Texts that the forecast is timed on, and how many must be left for one to be worth it."""


class VectorsCard(Frozen):
    """`NAME.json`: what the vectors beside it are. The same `key` means that nothing is left to do."""

    kind: Literal["vectors"] = "vectors"
    key: str
    model: str
    dtype: Dtype
    precision: Precision
    texts: int
    dimensions: int
    left_out: int
    sources: dict[str, str]


class _Plan(Frozen):
    """What the work folder is being filled with: written after the rows and before the first vector."""

    card: VectorsCard
    offsets: tuple[int, ...]
    """Where each shard's lines begin in the file of rows, and where the last one's end."""

    @property
    def shards(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True)
class _Work:
    """The hidden folder beside the result, by its files."""

    folder: Path

    @classmethod
    def beside(cls, out: Path) -> "_Work":
        return cls(out.with_name(f".{out.name}.embedding"))

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def vectors(self) -> Path:
        return self.folder / "vectors.npy"

    @property
    def scales(self) -> Path:
        return self.folder / "scales.npy"

    @property
    def done(self) -> Path:
        return self.folder / "done"

    def finished_shards(self) -> int:
        return int(self.done.read_text(encoding="utf-8")) if self.done.exists() else 0


def embed_sources(
    model: str,
    sources: Sequence[Path],
    out: Path,
    config: Config,
    *,
    report: Reporter,
    dtype: str = "float32",
    precision: str = "auto",
) -> int:
    """Write the unit vectors of every turn and passage, and what the module says lies beside them.

    Nothing is deduplicated: row i of the array is line i of the JSONL file. The same call continues what a crash
    left, and is instant where all is done. Returns the number of rows.

    Args:
        model: a reference, as `nn/bases.py` takes them.
        sources: files and folders.
        out: ends in .npy.
        config: how sources are read.
        report: where progress is told.
        dtype: what is stored: float32, float16, or int8 with a scale a vector (see `quantise`).
        precision: what is computed in: float32, bfloat16, or auto for the one this machine is faster in.

    Raises:
        InputError: a setting is unknown, or `out` would overwrite or later be read as somebody's source.
        SourceError: the sources hold no text.
        StorageError: the disk has no room for the result, or another process is writing it.
    """
    kind, wanted = _dtype(dtype), _precision(precision)
    _check_out(out, sources)
    fingerprint = source_fingerprint(sources)
    key = digest(
        {
            "layout": _LAYOUT,
            "model": _model_digest(model),
            "sources": fingerprint,
            "curate": config.curate.model_dump(),
            "dtype": kind,
            "precision": precision,
            "shard": SHARD,
        }
    )
    if (card := _card(out)) is not None and card.key == key and out.is_file():
        report.say(f"embed: {out} is already there, made from the same sources with the same model and settings")
        return card.texts
    work = _Work.beside(out)
    with locked(work.folder):
        plan = _resumed(work, key)
        product = open_product(config, model)
        if plan is None:
            begun = VectorsCard(
                key=key,
                model=model,
                dtype=kind,
                precision=wanted or product.precision,
                texts=0,
                dimensions=product.encoder.dim,
                left_out=0,
                sources=fingerprint,
            )
            plan = _prepare(work, begun, sources, config, report)
        _embed_shards(work, plan, product, report)
        _publish(work, plan.card, out)
    return plan.card.texts


def quantise(
    vectors: Float32[np.ndarray, "n D"],
) -> tuple[Int8[np.ndarray, "n D"], Float32[np.ndarray, "n 1"]]:
    """Symmetric 8-bit integers with one scale a vector, its largest magnitude over 127: vectors ≈ integers * scales.

    A scale a vector needs no pass over the corpus beforehand, and cosines between the integers need no scale at all.
    """
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    # A vector of zeros, or of numbers too small for float32 to divide by, becomes zeros.
    scales = np.where(largest > 1e-30, largest / np.float32(127), np.float32(1)).astype(np.float32)
    return np.rint(vectors / scales).astype(np.int8), scales


# What is asked for


def _dtype(name: str) -> Dtype:
    for known in DTYPES:
        if name == known:
            return known
    raise InputError(f"--dtype {name!r} is not known. Give one of: {', '.join(DTYPES)}.")


def _precision(name: str) -> Precision | None:
    """What to compute in; None is for this machine's faster one."""
    for known in PRECISIONS:
        if name == known:
            return known
    if name == "auto":
        return None
    raise InputError(f"--precision {name!r} is not known. Give one of: auto, {', '.join(PRECISIONS)}.")


def _check_out(out: Path, sources: Sequence[Path]) -> None:
    """Refuse a result that would overwrite a file of the user's, or that the next run would read as a source."""
    if out.suffix != ".npy":
        raise InputError(f"--out {out}: expected a file that ends in .npy.")
    inside = [source for source in sources if source.is_dir() and source.resolve() in out.resolve().parents]
    if inside:
        raise InputError(
            f"--out {out} lies in the source folder {inside[0]}: its .jsonl would be read as a source the next time. "
            "Give an --out elsewhere."
        )
    beside = [out.with_suffix(suffix) for suffix in (".jsonl", ".json", ".scales.npy")]
    overwritten = [source for source in sources if source.resolve() in [file.resolve() for file in (out, *beside)]]
    # What an earlier `shoptalk embed` left there may be replaced; its card tells it from the user's own files.
    strange = [file for file in beside if file.exists()] if _card(out) is None else []
    if overwritten or strange:
        raise InputError(
            f"--out {out} would overwrite {(overwritten or strange)[0]}, which is not from `shoptalk embed`: it writes "
            ".jsonl, .json and .scales.npy files of the same name too. Give another --out."
        )


def _card(out: Path) -> VectorsCard | None:
    """The card beside a finished result; None where there is none."""
    try:
        return VectorsCard.model_validate_json(out.with_suffix(".json").read_bytes())
    except (OSError, ValidationError):
        return None


def _model_digest(ref: str) -> dict[str, str]:
    """The hash of every file that decides what the model's vectors are: weights, tokenizer, pooling."""
    folder = resolve(ref)
    files = [*folder.glob("*"), *folder.glob("1_Pooling/*")]
    return {
        file.relative_to(folder).as_posix(): file_digest(file)
        for file in sorted(files)
        if file.is_file()
        and file.suffix in {".json", ".safetensors", ".txt", ".model"}
        and file.name != "manifest.json"
    }


# The work folder


def _resumed(work: _Work, key: str) -> _Plan | None:
    """The plan that an earlier process left for the same key; what belongs to any other is removed."""
    try:
        plan = _Plan.model_validate_json(work.plan.read_bytes())
    except (OSError, ValidationError):
        plan = None
    if plan is not None and plan.card.key == key:
        return plan
    for file in (work.plan, work.done, work.rows, work.vectors, work.scales):  # the plan first: it vouches for the rest
        file.unlink(missing_ok=True)
    return None


def _prepare(work: _Work, begun: VectorsCard, sources: Sequence[Path], config: Config, report: Reporter) -> _Plan:
    """Read the sources into the file of rows, and make room for their vectors."""
    report.say(f"embed: reading {', '.join(path.name for path in sources)}")
    items = stream_sources(sources, config.curate)
    with storage_errors(work.rows):
        texts, left_out, offsets = _write_rows(work.rows, items, config.curate.passage_characters)
        if not texts:
            raise SourceError(f"No text in {', '.join(map(str, sources))}. Give files that hold some.")
        plan = _Plan(card=begun.model_copy(update={"texts": texts, "left_out": left_out}), offsets=offsets)
        _make_room(work.folder, texts * (begun.dimensions * np.dtype(begun.dtype).itemsize + 4))
        _empty_array(work.vectors, (texts, begun.dimensions), begun.dtype)
        if begun.dtype == "int8":
            _empty_array(work.scales, (texts, 1), "float32")
        write_text(work.plan, plan.model_dump_json())
    return plan


def _write_rows(
    path: Path, items: Iterable[Document | Drop], passage_characters: int
) -> tuple[int, int, tuple[int, ...]]:
    """Write a JSON line for each text; how many, how much was left out, and where every shard begins, and the end."""
    texts, left_out, at = 0, 0, 0
    offsets: list[int] = []
    with path.open("wb") as file:
        for item in items:
            if isinstance(item, Drop):
                left_out += 1
                continue
            for row in _rows(item, passage_characters):
                if texts % SHARD == 0:
                    offsets.append(at)
                at += file.write(row.encode("utf-8", "surrogatepass"))
                texts += 1
    return texts, left_out, (*offsets, at)


def _rows(document: Document, passage_characters: int) -> Iterator[str]:
    """One JSON line for each text of a document."""
    corpus = to_corpus([document], digest="", passage_characters=passage_characters)
    for turn, text in zip(corpus.turn.tolist(), corpus.texts, strict=True):
        yield json.dumps({"id": document.id, "turn": turn, "text": text}, ensure_ascii=False) + "\n"


def _make_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StorageError(
            f"The vectors need {needed / 1e9:.1f} GB beside {folder}, where {free / 1e9:.1f} GB are free. Free some "
            "space, give another --out, or --dtype float16 (half the size) or int8 (a quarter)."
        )


def _empty_array(path: Path, shape: tuple[int, int], dtype: str) -> None:
    """A .npy file with its header and all its room, whose blocks the file system fills in as they are written."""
    np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


def _place(path: Path, first: int, rows: Shaped[np.ndarray, "n D"]) -> None:
    """Write rows into a .npy file from row `first` on, and wait until the disk has them.

    By an ordinary write: a memory map would be killed by the system where the disk is full.
    """
    header = int(np.load(path, mmap_mode="r").offset)
    with storage_errors(path), path.open("r+b") as file:
        file.seek(header + first * rows[:1].nbytes)
        file.write(np.ascontiguousarray(rows).data)
        file.flush()
        os.fsync(file.fileno())


def _texts(work: _Work, begin: int, end: int) -> list[str]:
    """The texts of the rows between two places in the file of rows."""
    with work.rows.open("rb") as file:
        file.seek(begin)
        lines = file.read(end - begin).decode("utf-8", "surrogatepass")
    return [json.loads(line)["text"] for line in lines.split("\n")[:-1]]


# Embedding


def _embed_shards(work: _Work, plan: _Plan, product: Product, report: Reporter) -> None:
    first = work.finished_shards()
    progress = _Progress(plan, first, report)
    if len(progress) > _PROBED_FROM:
        progress.forecast(_seconds_per_byte(work, plan, product))
    for shard in range(first, plan.shards):
        vectors = _vectors(product, _texts(work, *plan.offsets[shard : shard + 2]), plan.card.precision)
        at = shard * SHARD
        if plan.card.dtype == "int8":
            integers, scales = quantise(vectors)
            _place(work.scales, at, scales)
            _place(work.vectors, at, integers)
        else:
            _place(work.vectors, at, vectors.astype(plan.card.dtype))
        write_text(work.done, str(shard + 1))
        progress.finished(shard)


def _vectors(product: Product, texts: Sequence[str], precision: Precision) -> Float32[np.ndarray, "n D"]:
    """Unit vectors of the texts; one that comes several times, such as "ok thanks", is embedded once."""
    distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    found = embed(product, list(distinct), precision=precision)
    return found[[distinct[text] for text in texts]]


def _seconds_per_byte(work: _Work, plan: _Plan, product: Product) -> float:
    """What embedding takes per byte of the file of rows, timed on texts from all over it."""
    shards = np.unique(np.linspace(0, plan.shards - 1, num=8).astype(int)).tolist()
    lines: list[bytes] = []
    with work.rows.open("rb") as file:
        for shard in shards:
            file.seek(plan.offsets[shard])
            lines += islice(file, _PROBED // len(shards))
    texts = [json.loads(line.decode("utf-8", "surrogatepass"))["text"] for line in lines]
    _vectors(product, texts[:16], plan.card.precision)  # the first call pays for what later ones find ready
    begun = time.perf_counter()
    _vectors(product, texts, plan.card.precision)
    return (time.perf_counter() - begun) / sum(map(len, lines))


class _Progress:
    """How much is done and how long the rest takes; time goes with the bytes of the rows, not with their number."""

    def __init__(self, plan: _Plan, first: int, report: Reporter) -> None:
        self.plan, self.first, self.report = plan, first, report
        self.begun = self.said = time.monotonic()
        kept = f", {min(first * SHARD, plan.card.texts):,} of them are kept from before" if first else ""
        size = plan.card.texts * plan.card.dimensions * np.dtype(plan.card.dtype).itemsize
        report.say(
            f"embed: {plan.card.texts:,} texts{kept}; {size / 1e6:,.1f} MB of {plan.card.dtype}, "
            f"computed in {plan.card.precision}"
        )

    def __len__(self) -> int:
        """Texts that this process has to embed."""
        return max(0, self.plan.card.texts - self.first * SHARD)

    def forecast(self, seconds_per_byte: float) -> None:
        """Say how long the whole will take."""
        left = self.plan.offsets[-1] - self.plan.offsets[self.first]
        self.report.say(f"embed: about {span(left * seconds_per_byte)} expected")
        self.begun = self.said = time.monotonic()

    def finished(self, shard: int) -> None:
        """Say where it stands, now and then and at the end."""
        now, offsets = time.monotonic(), self.plan.offsets
        last = shard + 1 == self.plan.shards
        if now - self.said < SAY_EVERY and not last:
            return
        done = min((shard + 1) * SHARD, self.plan.card.texts)
        seconds = max(now - self.begun, 1e-9)
        rate = (done - self.first * SHARD) / seconds
        per_byte = seconds / (offsets[shard + 1] - offsets[self.first])
        rest = (
            f"done in {span(seconds)}" if last else f"about {span((offsets[-1] - offsets[shard + 1]) * per_byte)} left"
        )
        self.report.say(f"embed: {done:,} of {self.plan.card.texts:,} texts, {rate:,.0f} texts/s, {rest}")
        self.said = now


def _publish(work: _Work, card: VectorsCard, out: Path) -> None:
    """Move what is finished to its place, the array last. After a crash in the middle the same call goes on."""
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        out.unlink(missing_ok=True)
        write_text(out.with_suffix(".json"), card.model_dump_json(indent=1))
        if card.dtype != "int8":
            out.with_suffix(".scales.npy").unlink(missing_ok=True)
        for made, place in (
            (work.rows, out.with_suffix(".jsonl")),
            (work.scales, out.with_suffix(".scales.npy")),
            (work.vectors, out),
        ):
            if made.exists():
                made.replace(place)
        shutil.rmtree(work.folder)
