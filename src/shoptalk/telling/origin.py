"""Where an encoder comes from, as its cards tell it: base, files, counts, settings, the command that makes it again.

All of it is a function of what the run's results are a function of, so that a resumed run tells the same.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from yaml import YAMLError

from shoptalk.config import Config
from shoptalk.config.settings import BASE_OF_TASK
from shoptalk.curate.curation import read_documents
from shoptalk.curate.labels import labels_digest
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import ArtifactError, BaseModelError
from shoptalk.nn.bases import BASES, resolve, towers_of
from shoptalk.nn.features import feature_of
from shoptalk.nn.scratch import size_of
from shoptalk.nn.scratch_lm import lm_size_of
from shoptalk.nn.scratch_pictures import picture_size_of
from shoptalk.nn.smollm2 import SMOLLM2
from shoptalk.readback import read_text
from shoptalk.report.runs import UNTOLD
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World
from shoptalk.training.replay import replay_files

_OPTIONS = ("base", "bases", "candidates", "shots", "budget", "seed")
"""Settings that `adapt` has an option for."""


@dataclass(frozen=True)
class Base:
    """A base model as a card names it: without the folders of this machine."""

    name: str
    hub_id: str | None = None
    license: str | None = None


@dataclass(frozen=True)
class CorpusFacts:
    """How much text there was, where it came from and what was left out."""

    documents: int
    train: int
    held_out: int
    labelled: int
    classes: int
    test: int
    sources: Mapping[str, str]
    """Each file's name and the SHA-256 of its bytes."""
    by_source: Mapping[str, int]
    """Documents kept of each."""
    dropped_by_source: Mapping[str, int]
    drops: Mapping[str, int]
    """By reason."""
    questions: int = 0
    """Asked for the passage that answers, given or mined."""
    bank: int = 0
    """Texts of the bank, to ask a person about."""
    replayed: int = 0
    """Texts of general text, which training replays."""
    general: Mapping[str, str] = field(default_factory=dict)
    """The files of those, as `sources`."""


@dataclass(frozen=True)
class Told:
    """What the cards of a run's encoders tell besides the verdict."""

    base: Base
    corpus: CorpusFacts
    labels: str | None
    """The name of the labels' file."""
    test: str | None
    pairs: str | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    """How the challenger was trained: the objective's settings and the loop's."""
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    kind: str = "text"
    """Of the encoder."""


def origin(
    world: World,
    curated: Curated,
    baseline: Baseline,
    prepared: Prepared | None,
    objective: str | None,
    *,
    sources: Sequence[Path],
    labels: Path | None,
    test: Path | None,
    pairs: Path | None,
    accept_unproven: bool,
) -> Told:
    """What the cards of a run's encoders tell. `objective` is that of the verdict's entry."""
    base = base_of(world.base_name)
    bases = tuple(base_of(ref).name for ref in world.config.bases)
    config = world.config.model_copy(update={"base": base.name, "bases": bases})
    return Told(
        base=base,
        corpus=_corpus_facts(world, curated, sources, labels, test, pairs),
        labels=labels.name if labels else None,
        test=test.name if test else None,
        pairs=pairs.name if pairs else None,
        training=_training(config, prepared, objective),
        versions=baseline.artifact.versions,
        command=command_of(sources, labels, test, config, pairs=pairs, accept_unproven=accept_unproven),
        kind=baseline.kind,
    )


def base_of(ref: str) -> Base:
    """The base that a reference names, without a folder of this machine.

    The licence of a folder or of a cached hub model is what its own card says; a folder's card also says which hub
    model it comes from.
    """
    if ref in BASES:
        return Base(ref, BASES[ref].hub_id, BASES[ref].license)
    if ref == SMOLLM2.name:
        return Base(ref, SMOLLM2.hub_id, SMOLLM2.license)
    if size_of(ref) or lm_size_of(ref) or picture_size_of(ref) or feature_of(ref):
        return Base(ref)
    if (towers := towers_of(ref)) is not None:
        return Base("+".join(base_of(tower).name for tower in towers))
    local = Path(ref).expanduser().is_dir()
    try:
        known = _card_data(resolve(ref))
    except BaseModelError:
        known = {}
    named = known.get("base_model")
    hub_id = named if local and isinstance(named, str) else None if local else ref
    licence = known.get("license")
    return Base(_folder_name(ref) if local else ref, hub_id, licence if isinstance(licence, str) else None)


def command_of(
    sources: Sequence[Path],
    labels: Path | None,
    test: Path | None,
    config: Config,
    *,
    pairs: Path | None = None,
    accept_unproven: bool,
) -> str:
    """The command that makes such a run: files by their names, and every setting that is not at its default."""
    words = ["shoptalk", "adapt", *(path.name for path in sources), "--out", "RUN"]
    for option, path in (("--labels", labels), ("--test", test), ("--pairs", pairs)):
        words += [option, path.name] if path is not None else []
    limits = config.limits()
    if limits.euros is not None:  # together with the price of an hour, which decides how long it lasts
        config = config.model_copy(update={"budget": str(limits)})
    defaults = Config()
    if config.task in BASE_OF_TASK:  # with a base and candidates of its own, which need not be named
        words += ["--task", config.task]
        defaults = Config(task=config.task)
    changed = dict(_changed(config.model_dump(), defaults.model_dump()))
    if config.bases:
        changed.pop("base", None)  # the first of them
    for name in _OPTIONS:
        if name in changed:
            value = changed.pop(name)
            words += [f"--{name}", ",".join(value) if isinstance(value, tuple | list) else str(value)]
    for source in changed.pop("replay.sources", ()):
        words += ["--replay", Path(source).name]
    words += ["--accept-unproven"] if accept_unproven else []
    for name, value in changed.items():
        if name not in UNTOLD:
            words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


def _changed(tree: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _changed(value, defaults.get(key) or {}, f"{prefix}{key}.")
        elif key not in defaults or value != defaults[key]:
            yield f"{prefix}{key}", value


def _folder_name(ref: str) -> str:
    """The last part of a folder's path that says something: an encoder lies in `RUN/encoder`."""
    parts = [part for part in Path(ref).expanduser().resolve().parts if part not in ("encoder", "candidate")]
    return parts[-1] if len(parts) > 1 else ref


def _card_data(folder: Path) -> dict[str, Any]:
    """The head of a folder's README.md; empty where it has none that can be read."""
    try:
        text = read_text(folder / "README.md")
        return dict(vars(ModelCard(text, ignore_metadata_errors=True).data)) if text.startswith("---") else {}
    except (ArtifactError, ValueError, TypeError, YAMLError, RecursionError):
        return {}


def _corpus_facts(
    world: World,
    curated: Curated,
    sources: Sequence[Path],
    labels: Path | None,
    test: Path | None,
    pairs: Path | None,
) -> CorpusFacts:
    files = dict(source_fingerprint(sources, world.config.curate, out=world.run))
    files |= {path.name: labels_digest(path, world.config.curate) for path in (labels, test, pairs) if path is not None}
    reasons, dropped = Counter[str](), Counter[str]()
    for drop in curated.drops:
        reasons[drop.reason] += 1
        dropped[drop.source] += 1
    return CorpusFacts(
        documents=curated.n_documents,
        train=len(curated.train),
        held_out=len(curated.held_out),
        labelled=len(curated.examples),
        classes=len({example.label for example in curated.examples}),
        test=len(curated.tests),
        sources=files,
        by_source=Counter(document.source for document in read_documents(world.run / "corpus")),
        dropped_by_source=dropped,
        drops=dict(reasons),
        questions=len(curated.pairs),
        bank=0 if curated.bank is None else len(curated.bank),
        replayed=0 if curated.general is None else len(curated.general),
        general=replay_files(world.config, out=world.run),
    )


def _training(config: Config, prepared: Prepared | None, objective: str | None) -> dict[str, Any]:
    """The settings that the challenger was trained with."""
    candidate = prepared.candidates.get(objective or "") if prepared is not None else None
    if candidate is None or prepared is None:
        return {}
    phases = (
        {"": candidate.spec} if candidate.then is None else {"phase 1: ": candidate.spec, "phase 2: ": candidate.then}
    )
    settings = {
        f"{phase}{name}": value
        for phase, spec in phases.items()
        for name, value in _changed(spec.model_dump(exclude={"kind"}), {})
    }
    return settings | config.train.of_results() | {"precision": prepared.plan.precision, "seed": config.seed}
