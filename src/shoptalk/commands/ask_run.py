"""A finished run and the systems in it that a person can be asked about.

| name           | what it is                                                                                     |
|----------------|------------------------------------------------------------------------------------------------|
| `base`         | the base that the verdict compares with, with the head that serves it best                     |
| `adapted`      | the best challenger, `RUN/candidate/encoder`, with the head that serves it best                |
| another base   | by its name in `verdict.json`, such as `mpnet`, with the head that serves it best              |
| `NAME:plain`   | the same encoder with a plain head; `NAME:names` with the labels' names too                    |
| `NAME:KIND`    | with a head of that kind: `linear`, `smoothed` or `self-trained`, and the labels' names        |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shoptalk.artifact import handed_out, open_artifact
from shoptalk.commands.finished_settings import settings_of
from shoptalk.config import did_you_mean
from shoptalk.errors import ArtifactError, InputError, SourceError
from shoptalk.nn.digests import base_digest
from shoptalk.nn.heads.kinds import KINDS, PLAIN
from shoptalk.readback import refuse_no_folder, shipped_in
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.curate import Curated, open_curated
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.world import World
from shoptalk.tasks import judged_by_pairs
from shoptalk.telling.facts import decided
from shoptalk.training.reporter import Reporter, Silent

BASE, ADAPTED = "base", "adapted"
HEADS: Mapping[str, tuple[str, bool]] = {"plain": (PLAIN, False), "names": (PLAIN, True)} | {
    kind: (kind, True) for kind in KINDS
}
"""By the word after the colon: the kind of head, and whether it may learn from the labels' names."""


@dataclass(frozen=True)
class System:
    """An encoder of a run with a head, as it would be shipped."""

    name: str
    """As it is given."""
    model: str
    """A folder or a base's reference."""
    digest: str
    """Of the encoder."""
    kind: str = ""
    """Of the head; empty where none answers."""
    names: bool = True
    """Whether the head may learn from the labels' names."""


@dataclass(frozen=True)
class AskedRun:
    """A finished run, opened again; its hashes have been compared."""

    world: World
    verdict: Verdict
    curated: Curated

    @property
    def run(self) -> Path:
        """Its folder."""
        return self.world.run

    @property
    def labelled(self) -> bool:
        """Whether its systems answer with labels; else they rank replies."""
        return bool(self.curated.examples) and self.verdict.task != "reply"


def open_run(run: Path, report: Reporter) -> AskedRun:
    """A finished run of which a person can be asked.

    Raises:
        InputError: it is no folder, or its verdict is about what a person is not asked.
        SourceError: it is not finished.
        ArtifactError: what it has left was damaged, or does not belong together any more.
    """
    refuse_no_folder(run)
    decision = run / "decision"
    artifact = open_artifact(decision)
    if artifact is None:
        raise SourceError(
            f"{run} is not a finished run: it has no decision, so there are no two systems to choose between. "
            f"`shoptalk adapt SOURCE... --labels FILE --out {run}` makes one, or finishes it."
        )
    if shipped_in(run) == "model":
        raise InputError(
            f"{run} is a run of a language model, and a person is asked about labels or replies, in which such a run "
            "is not judged. Ask about a run of --task intent or --task reply."
        )
    handed_out(decision)
    verdict = decided(run)
    if verdict.task is not None and judged_by_pairs([verdict.task]):
        raise InputError(
            f"{run} was judged by the task {verdict.task!r}, and a person is asked about labels or replies, so that no "
            "answer would say anything of that verdict. Ask about a run of --task intent or --task reply."
        )
    config = settings_of(run, artifact)
    handed_out(run / "corpus")
    curated = open_curated(World(run=run, config=config, report=Silent()))
    world = base_stage(World(run=run, config=config, report=report), curated)
    baseline = open_artifact(run / "baseline")
    if baseline is None or baseline.parents != {
        "corpus": curated.artifact.content,
        "base": base_digest(world.config.base),
    }:
        raise ArtifactError(
            f"{run} has changed since its verdict: its texts or its base are not those that were measured. Run the "
            "same `shoptalk adapt` again, then this."
        )
    return AskedRun(world, verdict, curated)


def two_systems(done: AskedRun, given: str | None) -> tuple[System, System]:
    """The two that are to be told apart, the old one first: those that are named, else base and challenger.

    Raises:
        InputError: there are not two names, one is unknown, both are one, or there is no challenger.
    """
    names = [part.strip() for part in given.split(",")] if given else [BASE, ADAPTED]
    if len(names) != 2 or not all(names):
        raise InputError(f"--systems {given} names {len(names)}; expected two, the present one first: base,adapted.")
    if names[0] == names[1]:
        raise InputError(f"--systems {given} names one system twice. {_offered(done)}")
    if not given and done.verdict.entry is None:
        raise InputError(
            f"Nothing was trained in {done.run}, so there is no challenger to ask about. Name two systems with "
            f"--systems. {_offered(done)}"
        )
    old, new = (_system(done, name) for name in names)
    if (old.digest, old.kind, old.names) == (new.digest, new.kind, new.names):
        raise InputError(
            f"{names[0]} and {names[1]} are the same encoder with the same kind of head ({old.kind or 'none'}): they "
            f"answer alike, there is nothing to choose. {_offered(done)}"
        )
    return old, new


def base_model(done: AskedRun) -> str:
    """The base that the verdict compares with: a folder, or a reference."""
    return _encoder(done, BASE)[0]


def is_verdict(old: System, new: System) -> bool:
    """Whether these two are what the run's verdict compares."""
    return (old.name, new.name) == (BASE, ADAPTED)


def _system(done: AskedRun, name: str) -> System:
    encoder, _, head = name.partition(":")
    if head and head not in HEADS:
        raise InputError(f"There is no head {head!r}. {did_you_mean(head, HEADS)}")
    if head and not done.labelled:
        raise InputError(f"{done.run} had no labels, so no head answers in it: leave out :{head}.")
    model, kind = _encoder(done, encoder)
    names = True
    if head:
        kind, names = HEADS[head]
    if encoder == ADAPTED:
        return System(name, model, handed_out(Path(model)).content, kind, names)
    return System(name, model, base_digest(model), kind, names)


def _encoder(done: AskedRun, name: str) -> tuple[str, str]:
    """The encoder of that name, and the kind of head that serves it best."""
    verdict, config = done.verdict, done.world.config
    best = {row.base: row.head or "" for row in verdict.bases}
    compared = verdict.base_model or done.world.base_name
    if name == ADAPTED and verdict.entry is not None:
        return str(done.run / "candidate" / "encoder"), verdict.heads.adapted if verdict.heads else ""
    if name in (BASE, compared):
        model = config.base if compared == done.world.base_name else compared
        return model, verdict.heads.base if verdict.heads else best.get(compared, _only_kind(done))
    if name == done.world.base_name:
        return config.base, best.get(name, _only_kind(done))
    if name in config.other_bases:
        return name, best.get(name, _only_kind(done))
    raise InputError(f"There is no system {name!r} in {done.run}. {_offered(done)}")


def _only_kind(done: AskedRun) -> str:
    """Where the verdict names no heads because nothing was trained, that of the head that ships."""
    head = open_artifact(done.run / "head") if done.labelled else None
    return str(head.config.get("kind") or PLAIN) if head is not None else ""


def _offered(done: AskedRun) -> str:
    encoders = [BASE, *([ADAPTED] if done.verdict.entry else []), *done.world.config.other_bases]
    heads = f", each also with a head of its own: {BASE}:{f', {BASE}:'.join(HEADS)}" if done.labelled else ""
    return f"It has {', '.join(encoders)}{heads}."
