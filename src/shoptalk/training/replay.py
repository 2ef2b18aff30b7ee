"""General text for a training to replay against forgetting: read once into `RUN/replay`, without what the run is judged
on.

    general = general_corpus(run, config, judged=held_out, after=corpus_digest, say=print)    # None where none is named
    material = replayed(run, general, product)                                # what objectives get as Material.general
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoptalk.artifact import create, digest, key_of, open_artifact
from shoptalk.config import Config
from shoptalk.curate.curation import TRAIN, open_part, read_drops, write_corpus
from shoptalk.curate.general_text import MOST_SHARED, TELLING_WORDS, general_text
from shoptalk.curate.listing import counted
from shoptalk.curate.readable import expected, readable
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import AbsentError, ConfigError, SourceError
from shoptalk.nn.product import Product
from shoptalk.objective import Material, Spec
from shoptalk.probes.forgetting import general_pairs
from shoptalk.records import Item
from shoptalk.text.corpus import Corpus
from shoptalk.training import launch

TEXT = "replay/text"
"""The artifact of the general text, as a corpus with its documents and drops."""


def refuse_unfit(config: Config, trained: Mapping[str, Sequence[Spec]]) -> None:
    """Refuse general text that nothing replays, and what is to replay text that nobody named.

    Args:
        config: the settings.
        trained: by its name the specs of each phase of what is to be trained.

    Raises:
        ConfigError: one of the two is there without the other.
    """
    replaying = [name for name, phases in trained.items() if any(spec.replays for spec in phases)]
    if replaying and not config.replay.sources:
        raise ConfigError(
            f"{replaying[0]} replays general text, and replay.sources names none. Give --replay SOURCE, text such as "
            "the base has read before, or leave that candidate out."
        )
    if config.replay.sources and not replaying:
        raise ConfigError(
            f"replay.sources names general text, and nothing that is trained ({', '.join(trained) or 'nothing'}) "
            "replays any. Give a candidate such as clm-replay-25, set objectives.clm.replay_percent, or leave the "
            "sources out."
        )


def replay_digest(config: Config, *, sources: Mapping[str, str], out: Path) -> str | None:
    """A hash of the files of general text; None where none are named.

    Args:
        config: the settings.
        sources: the hash of each file that is learned from anyway.
        out: the run's folder, which is no source.

    Raises:
        ConfigError: one of the files is among the sources, too.
    """
    general = replay_files(config, out=out)
    if both := [name for name, content in general.items() if content in sources.values()]:
        raise ConfigError(
            f"{both[0]} is given as general text to replay, and is among the sources, too. Replaying what is learned "
            "from anyway helps against no forgetting: give other text, such as the base has read before."
        )
    return digest(general) if config.replay.sources else None


def replay_files(config: Config, *, out: Path) -> dict[str, str]:
    """Each file of general text, by its name, with the SHA-256 of its bytes; none where none are named."""
    if not config.replay.sources:
        return {}
    return dict(source_fingerprint(_paths(config), config.curate, out=out))


def general_corpus(
    run: Path, config: Config, *, judged: Iterable[Item], after: str, say: Callable[[str], None]
) -> Corpus | None:
    """The general text that the settings name, of which nothing is held out; leaves `RUN/replay/text`. Several
    processes may call this together.

    Args:
        run: the run's folder.
        config: the settings.
        judged: texts that must stay unseen, near duplicates of which are left out, as those of what the guard reads;
            gone through where there is general text to read.
        after: the content hash of what `judged` comes from.
        say: is told how much there is, and how much was left out.

    Raises:
        SourceError: a source cannot be read, or nothing of it is left.
    """
    if not config.replay.sources:
        return None
    guarded = [text for pair in general_pairs() for text in (pair.a, pair.b)]
    parents = replay_files(config, out=run) | {"judged": after}
    shared = [TELLING_WORDS, MOST_SHARED]  # what was kept by another rule is read anew
    settings = config.curate.model_dump() | {"guarded": digest(guarded), "shared": shared}
    key = key_of(kind="replay", config=settings, parents=parents)
    folder = run / TEXT

    def make() -> None:
        if open_artifact(folder, key=key) is not None:
            return
        say(f"curate: reading general text to replay, {', '.join(config.replay.sources)}")
        read = stream_sources(_paths(config), config.curate, out=run, say=say, pictures=False)
        kept = general_text(readable(read, "lm"), judged=list(judged), guarded=guarded, config=config.curate)
        size = config.curate.passage_characters
        with create(folder, kind="replay", config=settings, parents=parents) as inside:
            written = write_corpus(inside, kept, passage_characters=size, held_out=lambda _: False)
            if not written.documents:
                raise SourceError(
                    "Nothing of the general text is left to replay: every document was dropped "
                    f"({', '.join(sorted(written.dropped))}). {expected('lm', read_drops(inside))}"
                )
        left_out = f"; {counted(written.dropped)}" if written.dropped else ""
        say(f"curate: {written.documents:,} documents of general text to replay{left_out}")

    return launch.shared(folder, make=make, read=lambda: _opened(folder, key))


def kept_general(run: Path, config: Config) -> Corpus | None:
    """The general text that a finished run has kept, wherever its sources are now; None where its settings name none.

    Raises:
        AbsentError: it was deleted.
    """
    return _opened(run / TEXT, None) if config.replay.sources else None


def replayed(run: Path, general: Corpus | None, product: Product) -> Material[Any] | None:
    """What batches of the general text are made from, its inputs in `RUN/replay/inputs`. Several processes may call
    this together.
    """
    if general is None:
        return None
    folder = run / "replay" / "inputs"
    inputs = launch.shared(
        folder, make=lambda: product.inputs(general, folder), read=lambda: product.inputs(general, folder)
    )
    return Material(general, product, inputs, None)


def _opened(folder: Path, key: str | None) -> Corpus:
    artifact = open_artifact(folder, key=key)
    if artifact is None:
        raise AbsentError(f"{folder} is not there. Run the command that makes it again.")
    return open_part(folder, TRAIN, digest=artifact.content)


def _paths(config: Config) -> list[Path]:
    return [Path(source) for source in config.replay.sources]
