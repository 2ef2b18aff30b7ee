"""Sources of any size to unit vectors on disk: what `shoptalk embed` does. An image encoder reads the pictures in them,
a text encoder the texts, and a pair both; what a model does not read is counted and told.

    embed_sources("minilm", [Path("chats/")], Path("vectors.npy"), config, report=console)

Memory stays constant: the sources are read once into a file of rows, which is then embedded shard by shard (sorted by
length inside a shard, in the rows' order outside). All of it happens in the hidden folder `.NAME.npy.embedding` beside
the result. A finished shard is on the disk before it is counted, so the same command continues after any crash; other
settings, sources or weights start over. The array appears at the end, as a whole and last:

| file             | holds                                                                            |
|------------------|----------------------------------------------------------------------------------|
| NAME.npy         | [texts, dimensions]; `np.load(path, mmap_mode="r")` opens it without reading it  |
| NAME.scales.npy  | for int8 only, float32 [texts, 1]: `vectors * scales` are the unit vectors       |
| NAME.jsonl       | line i is the `id`, `turn` (-1: a passage) and `text` of row i; of a picture, in |
|                  | place of the text, its path as `picture`, and its `sha256`                       |
| NAME.json        | what the vectors were made from and with (`VectorsCard`)                         |
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float32

from shoptalk.artifact import digest, file_digest, locked
from shoptalk.commands.vectors import DTYPES, Dtype, ShardPlan, VectorsCard, Work, card_of
from shoptalk.config import Config
from shoptalk.curate.listing import counted
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import InputError, SourceError, StorageError
from shoptalk.nn.bases import resolve, towers_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import embed, prompt_of
from shoptalk.nn.features import feature_of
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Embedder, Kind
from shoptalk.nn.scratch_pictures import picture_size_of
from shoptalk.quantities import span
from shoptalk.records import Document, Drop, Item
from shoptalk.stages.world import open_embedder
from shoptalk.training.reporter import Reporter

_ONE: dict[Kind, str] = {"text": "text", "image": "picture", "pair": "text or picture", "lm": "text", "seq2seq": "text"}
_MANY: dict[Kind, str] = {
    "text": "texts",
    "image": "pictures",
    "pair": "texts and pictures",
    "lm": "texts",
    "seq2seq": "texts",
}

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

SHARD = 16_384
"""Texts embedded at once: enough to sort well by length, and at most a minute or two of work lost to a crash."""
SAY_EVERY = 15.0
"""Seconds between two lines of progress."""
_LAYOUT = 1
_PROBED, _PROBED_FROM = 256, 4_096
"""Texts that the forecast is timed on, and how many must be left for one to be worth it."""


def embed_sources(
    model: str,
    sources: Sequence[Path],
    out: Path,
    config: Config,
    *,
    report: Reporter,
    dtype: str = "float32",
    precision: str = "auto",
    prompt: str | None = None,
    force: bool = False,
) -> int:
    """Write the unit vectors of every turn, passage and picture that the model reads, with the files beside them that
    the table above lists.

    Nothing is deduplicated: row i of the array is line i of the JSONL file. The same call continues after a crash, and
    returns at once where all is done. Returns the number of rows.

    Args:
        model: a reference, as `nn/bases.py` takes them.
        sources: files and folders.
        out: ends in .npy.
        config: how sources are read.
        report: where progress is reported.
        dtype: what is stored: float32, float16, or int8 with one scale per vector (`vectors.quantise`).
        precision: what is computed in: float32, bfloat16, or auto for the one this machine is faster in.
        prompt: the name of what the model puts before each text, such as "query"; nothing without one.

    Raises:
        InputError: a setting or prompt is unknown, or `out` would overwrite a source, or would later be read as one.
        SourceError: the sources hold no text.
        StorageError: the disk has no room for the result, another process is writing it, or there is another result
            and `force` was not given.
    """
    kind, requested = _dtype(dtype), _precision(precision)
    _check_out(out, sources)
    fingerprint = source_fingerprint(sources, config.curate)
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
        | ({} if prompt is None else {"prompt": prompt})
    )
    if (card := card_of(out)) is not None and card.key == key and out.is_file():
        report.say(f"embed: {out} is already there, made from the same sources with the same model and settings")
        return card.texts
    if out.exists() and not force:
        raise StorageError(
            f"{out} exists already, and was made from other sources, another model or other settings. Give another "
            "--out, or --force to replace it."
        )
    work = Work.beside(out)
    with locked(work.folder):
        plan = work.resumed(key)
        product = open_embedder(config, model)
        if prompt is not None:
            prompt_of(product, prompt)  # refuses one that it does not have
        if plan is None:
            begun = VectorsCard(
                key=key,
                model=model,
                dtype=kind,
                precision=requested or product.precision,
                prompt=prompt,
                texts=0,
                dimensions=product.dim,
                left_out=0,
                sources=fingerprint,
            )
            plan = _read_rows(work, begun, sources, config, report, product.kind)
        if not plan.card.texts:
            raise SourceError(
                f"There is no {_ONE[product.kind]} in {', '.join(map(str, sources))}. Give files that hold some."
            )
        _embed_shards(work, plan, product, report)
        work.publish(plan.card, out)
    return plan.card.texts


def _read_rows(
    work: Work, card: VectorsCard, sources: Sequence[Path], config: Config, report: Reporter, kind: Kind
) -> ShardPlan:
    """Read the sources into the file of rows that is embedded; what is left out is told."""
    report.say(f"embed: reading {', '.join(path.name or str(path) for path in sources)}")
    reasons = Counter[str]()
    read = stream_sources(sources, config.curate, say=report.say, captions=kind != "image")
    items = _counting(read, reasons, kind)
    plan = work.prepared(card, items, shard=SHARD, passage_characters=config.curate.passage_characters, kind=kind)
    if reasons:
        report.say(f"embed: {counted(reasons)}; `shoptalk curate` of the same sources lists each with why")
    return plan


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
    strange = [file for file in beside if file.exists()] if card_of(out) is None else []
    if overwritten or strange:
        raise InputError(
            f"--out {out} would overwrite {(overwritten or strange)[0]}, which is not from `shoptalk embed`: it writes "
            ".jsonl, .json and .scales.npy files of the same name too. Give another --out."
        )


def _model_digest(ref: str) -> dict[str, Any]:
    """The hash of every file that decides what the model's vectors are: weights, tokenizer, pooling, processor. What is
    made when it is opened has none, but the hash of what it will be.
    """
    if (towers := towers_of(ref)) is not None:
        return {tower: _model_digest(tower) for tower in towers}
    if picture_size_of(ref) is not None or feature_of(ref) is not None:
        return {"made": base_digest(ref)}
    folder = resolve(ref)
    files = [*folder.glob("*"), *folder.glob("1_Pooling/*")]
    return {
        file.relative_to(folder).as_posix(): file_digest(file)
        for file in sorted(files)
        if file.is_file()
        and file.suffix in {".json", ".safetensors", ".txt", ".model"}
        and file.name != "manifest.json"
    }


def _counting(items: Iterable[Document | Drop], reasons: Counter[str], kind: Kind) -> Iterator[Document | Drop]:
    """The same items; the drops among them are counted by reason, and so is what a model of this kind does not read."""
    for item in items:
        if isinstance(item, Drop):
            reasons[item.reason] += 1
        elif kind == "text" and item.picture is not None:
            reasons["pictures, which a text encoder does not read"] += 1
        elif kind == "image" and (item.text or item.turns):
            reasons["documents with texts, which an image encoder does not read"] += 1
        yield item


# Embedding


def _embed_shards(work: Work, plan: ShardPlan, product: Embedder, report: Reporter) -> None:
    first = work.finished_shards(plan)
    progress = _Progress(plan, first, report, _MANY[product.kind])
    if len(progress) > _PROBED_FROM:
        progress.forecast(_seconds_per_byte(work, plan, product))
    for shard in range(first, plan.shards):
        vectors = _vectors(product, work.items(plan, shard), plan.card)
        work.write(plan, shard, vectors)
        progress.finished(shard)


def _vectors(product: Embedder, items: Sequence[Item], card: VectorsCard) -> Float32[np.ndarray, "n D"]:
    """Unit vectors of the items; one that comes several times, such as "ok thanks", is embedded once."""
    distinct = {item: place for place, item in enumerate(dict.fromkeys(items))}
    vectors = embed(product, list(distinct), precision=card.precision, prompt=card.prompt)
    return vectors[[distinct[item] for item in items]]


def _seconds_per_byte(work: Work, plan: ShardPlan, product: Embedder) -> float:
    """What embedding takes per byte of the file of rows, timed on texts from all over it."""
    texts, size = work.sample(plan, _PROBED)
    _vectors(product, texts[:16], plan.card)  # the first call pays for what later ones find ready
    begun = time.perf_counter()
    _vectors(product, texts, plan.card)
    return (time.perf_counter() - begun) / size


class _Progress:
    """How much is done and how long the rest takes, in proportion to the bytes of the rows, not to their number."""

    def __init__(self, plan: ShardPlan, first: int, report: Reporter, items: str) -> None:
        self.plan, self.first, self.report, self.items = plan, first, report, items
        self.begun = self.said = time.monotonic()
        earlier = f", {min(first * plan.shard, plan.card.texts):,} of them are kept from before" if first else ""
        size = plan.card.texts * plan.card.dimensions * np.dtype(plan.card.dtype).itemsize
        report.say(
            f"embed: {plan.card.texts:,} {items}{earlier}; {size / 1e6:,.1f} MB of {plan.card.dtype}, "
            f"computed in {plan.card.precision}"
        )

    def __len__(self) -> int:
        """Texts that this process has to embed."""
        return max(0, self.plan.card.texts - self.first * self.plan.shard)

    def forecast(self, seconds_per_byte: float) -> None:
        """Say how long all of it will take."""
        left = self.plan.offsets[-1] - self.plan.offsets[self.first]
        self.report.say(f"embed: about {span(left * seconds_per_byte)} expected")
        self.begun = self.said = time.monotonic()

    def finished(self, shard: int) -> None:
        """Say where it stands, now and then and at the end."""
        now, offsets = time.monotonic(), self.plan.offsets
        last = shard + 1 == self.plan.shards
        if now - self.said < SAY_EVERY and not last:
            return
        texts = min((shard + 1) * self.plan.shard, self.plan.card.texts)
        seconds = max(now - self.begun, 1e-9)
        rate = (texts - self.first * self.plan.shard) / seconds
        per_byte = seconds / (offsets[shard + 1] - offsets[self.first])
        rest = (
            f"done in {span(seconds)}" if last else f"about {span((offsets[-1] - offsets[shard + 1]) * per_byte)} left"
        )
        self.report.say(
            f"embed: {texts:,} of {self.plan.card.texts:,} {self.items}, {rate:,.0f} {self.items}/s, {rest}"
        )
        self.said = now
