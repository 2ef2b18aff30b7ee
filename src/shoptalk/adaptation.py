"""The story: from a pile of text to a verdict and an encoder. Reads like section 1 of the design."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from shoptalk.artifact import create, handed_out, key_of, locked, open_artifact, write_text
from shoptalk.config import Config
from shoptalk.config.settings import beside_young
from shoptalk.curate.labels import labels_digest
from shoptalk.curate.sources import source_fingerprint
from shoptalk.errors import ArtifactError, InputError, SourceError
from shoptalk.evaluate.bench import reading_of
from shoptalk.nn.bases import began_as, kind_of
from shoptalk.nn.digests import base_digest
from shoptalk.nn.product import Embedder
from shoptalk.probes.once import Once
from shoptalk.question import Question, claim, clear_work
from shoptalk.readback import read_json
from shoptalk.report.facts_json import RunFacts
from shoptalk.report.reading import read_facts
from shoptalk.report.verdict_json import Verdict
from shoptalk.stages.bank import answers_needed, bank_stage
from shoptalk.stages.baseline import Baseline, baseline_stage
from shoptalk.stages.choose import choose_stage
from shoptalk.stages.curate import Curated, curate_stage, with_general
from shoptalk.stages.decide import Judged, decide_stage
from shoptalk.stages.entry import Entry
from shoptalk.stages.merges import merge_stage
from shoptalk.stages.own_base import base_stage
from shoptalk.stages.plan import Prepared, check_candidates, plan_stage
from shoptalk.stages.pretrain import train_stage
from shoptalk.stages.ship import damaged_parts, ship_stage
from shoptalk.stages.world import World, open_product
from shoptalk.tasks import OR_ACCEPT, held_out_shares, judged_by_pairs
from shoptalk.telling.cards import encoder_cards
from shoptalk.telling.evidence import evidence_stage
from shoptalk.telling.facts import (
    collect,
    decided,
    facts_of,
    published_text,
    spent,
    verdict_of,
    verdict_text,
    write_page,
)
from shoptalk.telling.origin import Told, base_of, origin
from shoptalk.telling.reship import CARDS, cards_text
from shoptalk.telling.settled import about, accepted, asked_about, counted, on_cards, serves_challenger
from shoptalk.training.advance import read_log
from shoptalk.training.replay import replay_digest
from shoptalk.training.reporter import Reporter, Silent

__all__ = ["Verdict", "adapt"]


@dataclass(frozen=True)
class _Given:
    """What a person gave beside the settings."""

    sources: Sequence[Path]
    labels: Path | None
    test: Path | None
    pairs: Path | None
    accept_unproven: bool
    command: str


def adapt(
    sources: Sequence[str | Path],
    *,
    out: str | Path,
    config: Config | None = None,
    report: Reporter | None = None,
    labels: str | Path | None = None,
    test: str | Path | None = None,
    pairs: str | Path | None = None,
    accept_unproven: bool = False,
    command: str = "",
    verb: str = "adapt",
    force: bool = False,
) -> Verdict:
    """Adapt `config.base` to the sources, decide whether that helped, and leave the run in `out`.

    Without `config` every setting has its default, and without `report` nothing is printed.
    Returns what `out/verdict.json` holds. The same call again is instant; after an interruption it continues and ends
    with the same result. `verb` is the command that the folder belongs to, and `force` lets it answer another question.

    Raises:
        InputError: a source, a labels file or a setting is wrong.
        StorageError: `out` cannot be written, is in use, or holds the finished answer to another question.
    """
    config = with_untrained(config or Config())
    check_candidates(config)
    tasks = (config.task, *config.other_tasks)
    if pairs is not None and not judged_by_pairs(tasks):
        raise InputError(
            f"Pairs are given and nothing is judged by them: the task is {config.task}. Give --task answer, or "
            '--set other_tasks=["answer"] for what must not get worse; or leave --pairs out.'
        )
    given = _Given(
        [Path(source) for source in sources],
        None if labels is None else Path(labels),
        None if test is None else Path(test),
        None if pairs is None else Path(pairs),
        accept_unproven=accept_unproven,
        command=command,
    )
    return _adapted(World(run=Path(out), config=config, report=report or Silent()), given, verb=verb, force=force)


def with_untrained(config: Config) -> Config:
    """With the bases that need no training beside one that a run has made of random weights, as beside these; unless
    `bases` says what is compared.
    """
    if config.task != "picture" or "bases" in config.model_fields_set or kind_of(config.base) != "image":
        return config
    if (began := began_as(config.base)) is None:
        return config
    return config.model_copy(update={"bases": beside_young(config.base, began_as=began)})


def _adapted(world: World, given: _Given, *, verb: str, force: bool) -> Verdict:
    out, config = world.run, world.config
    with locked(out):
        files = dict(source_fingerprint(given.sources, config.curate, out=out))
        inputs = {"base": base_digest(config.base)}
        inputs |= {f"base:{ref}": base_digest(ref) for ref in config.other_bases}
        inputs |= {
            role: labels_digest(path, config.curate)
            for role, path in (("labels", given.labels), ("test", given.test), ("pairs", given.pairs))
            if path is not None and path.exists()
        }
        if (general := replay_digest(config, sources=files, out=out)) is not None:
            inputs["general"] = general
        hashes: dict[str, str | None] = {"labels": None, "test": None, "pairs": None, **inputs}
        claim(out, Question.of(verb, config.of_answers(), sources=files, **hashes), force=force)
        parents = files | inputs
        asks_general = kind_of(config.base) == "lm" and began_as(config.base) is None
        settings = config.of_decision(asks_general=asks_general) | {"accept_unproven": given.accept_unproven}
        decision = out / "decision"
        finished = open_artifact(decision, key=key_of(kind="decision", config=settings, parents=parents))
        if finished is None or not _stands(world, head=given.labels is not None):
            verdict, facts, cards = _tell(world, given)
            with create(decision, kind="decision", config=settings, parents=parents) as inside:
                write_text(inside / "verdict.json", verdict_text(verdict))
                write_text(inside / "facts.json", json.dumps(facts.told(), ensure_ascii=False))
                write_text(inside / CARDS, cards)
            clear_work(out)  # snapshots; the menu keeps what was measured
        write_text(out / "verdict.json", published_text(out))
        write_page(out)
        return verdict_of(out)


def _stands(world: World, *, head: bool) -> bool:
    """Whether a finished run, with labels one with a head, still holds what it did; says what is to be made anew."""
    broken = ["decision"]
    with suppress(ArtifactError):
        decision, facts = world.run / "decision", facts_of(world.run)
        handed_out(decision)
        verdict = decided(world.run)
        read_facts(read_json(facts, dict), where=facts)
        broken = damaged_parts(world.run, challenger=verdict.entry is not None, head=head)
    if broken:
        world.report.say(f"adapt: {', '.join(broken)} of this run is missing or damaged, and is made anew")
    return not broken


def _tell(world: World, given: _Given) -> tuple[Verdict, RunFacts, str]:
    """The verdict, the facts and the cards of what may ship, as `RUN/decision` holds them."""
    begun, earlier = time.perf_counter(), _logged_seconds(world.run)

    def timed(stage: str) -> AbstractContextManager[None]:
        return _timed(world, stage)

    with timed("curate"):
        curated = _curated(world, given)
        messages = bank_stage(world, curated) if _bank_share(world, given.labels) else ()
        world = base_stage(world, curated)
    with timed("baseline"):
        baseline = baseline_stage(world, curated)
    with timed("plan"):
        prepared, skipped = plan_stage(world, curated, baseline, spent=time.perf_counter() - begun)
    entries: list[Entry] = []
    if prepared is not None:
        with timed("choose"):
            chosen = choose_stage(world, prepared, baseline)
        with timed("pretrain"):
            entries, eliminated = train_stage(world, prepared, baseline, chosen)
            entries += merge_stage(world, prepared, baseline, entries, failed=bool(eliminated))
        skipped |= chosen.eliminated | eliminated
    with timed("decide"):
        judged = decide_stage(world, baseline, entries, left_out=skipped)
        with world.profile.part("ceiling"):
            best_targets = _ceiling(world, baseline, prepared)
        with world.profile.part("bank"):
            needed = answers_needed(world, curated, baseline, judged, messages)
    with timed("evidence"):
        evidence = evidence_stage(world, curated, baseline, judged, prepared)
    taken = spent(world, entries, prepared, earlier + time.perf_counter() - begun)
    settling = dict(zip(("answers_needed", "bank_needed"), needed or (None, None), strict=True))
    settling = settling | {"bank": len(messages)} if messages else {}
    began = began_as(judged.base.model)
    young = {} if began is None else {"base_began_as": began}
    verdict = Verdict.model_validate(judged.facts | young | settling | {"spent": taken})
    published = accepted(verdict) if given.accept_unproven else verdict
    with timed("finetune"):
        made_from = origin(
            world,
            curated,
            baseline,
            prepared,
            verdict.objective,
            sources=given.sources,
            labels=given.labels,
            test=given.test,
            pairs=given.pairs,
            accept_unproven=given.accept_unproven,
        )
        cards = _shipped(world, curated, baseline, judged, verdict, made_from, accept_unproven=given.accept_unproven)
    facts = collect(
        world,
        curated,
        baseline,
        prepared,
        entries,
        judged,
        verdict=published,
        best_targets=best_targets,
        evidence=evidence,
        command=given.command,
        labels=given.labels,
        skipped=skipped,
    )
    return published, facts, cards


def _shipped(
    world: World,
    curated: Curated,
    baseline: Baseline,
    judged: Judged,
    verdict: Verdict,
    made_from: Told,
    *,
    accept_unproven: bool,
) -> str:
    """Leave what is served, and the best challenger, in the run; returns the cards of both, as `RUN/decision` keeps
    them.
    """
    asked = None
    if judged.entry is not None:  # an asking that has changed what ships, where it is about the same challenger
        parents = baseline.artifact.parents
        asked = counted(verdict, asked_about(world.run, about(entry=judged.entry.artifact.content, **parents)))
    serves = serves_challenger(judged.choice, asked, accept_unproven=accept_unproven)
    unchanged = replace(made_from, base=base_of(judged.base.name))
    kept = {False: encoder_cards(unchanged, verdict, adapted=False)}  # as the labels alone have it
    if judged.entry is not None:
        on_card = verdict
        if accept_unproven:  # its card need not say how it would be served
            on_card = verdict.model_copy(update={"sentence": verdict.sentence.replace(OR_ACCEPT, "")})
        kept[True] = encoder_cards(made_from, on_card, adapted=True)
    ship_stage(
        world,
        curated,
        baseline,
        base=judged.base.model,
        challenger=judged.entry,
        served=judged.entry if serves else None,
        compared=judged.compared,
        cards=on_cards(kept[serves], asked),
        challenger_cards=kept.get(True, {}),
    )
    return cards_text(kept)


def _curated(world: World, given: _Given) -> Curated:
    """The corpus with the general text to replay, and where a task is judged by questions and what answers them, those:
    given, or else mined.
    """
    config = world.config
    mine = given.pairs is None and judged_by_pairs((config.task, *config.other_tasks))
    curated = curate_stage(
        world,
        given.sources,
        given.labels,
        given.test,
        pairs=given.pairs,
        mine=mine,
        bank=_bank_share(world, given.labels),
        reads=kind_of(config.base),
    )
    if mine and not curated.pairs:
        nothing = "no agent's turn in the sources' conversations quotes or links one of their documents"
        if judged_by_pairs([config.task]):
            raise SourceError(
                f"There is nothing to judge the task {config.task} by: {nothing}. Give --pairs FILE, JSON Lines with a "
                '"question" and the "passage" or the "document" that answers it.'
            )
        world.report.say(f"curate: answers cannot be watched: {nothing}. Give --pairs FILE.")
    return with_general(world, curated)


def _bank_share(world: World, labels: Path | None) -> float:
    """What is held out to ask a person about: nothing where there are neither labels nor replies to ask for, and none
    of what pictures and language models learn from, of which a person is not asked.
    """
    config = world.config
    asked = labels is not None or held_out_shares((config.task,)) is not None
    return config.bank if asked and kind_of(config.base) == "text" else 0.0


def _ceiling(world: World, baseline: Baseline, prepared: Prepared | None) -> float | None:
    """What a candidate's targets themselves score, where they say so of any item; None without a judge."""
    judge = baseline.bench.judge
    if prepared is None or judge is None:
        return None
    product = open_product(world.config)
    if isinstance(product, Embedder) and baseline.final is not None and baseline.final.seen is not None:
        product = Once(product)
        product.remember(judge.items, np.asarray(baseline.final.seen.texts))
    ceilings = (candidate.ceiling(product) for candidate in prepared.candidates.values())
    best = next((ceiling for ceiling in ceilings if ceiling is not None), None)
    return reading_of(judge, judge.look(best)).value if best is not None else None


@contextmanager
def _timed(world: World, stage: str) -> Iterator[None]:
    world.report.stage(stage)
    with world.profile.stage(stage):
        yield


def _logged_seconds(run: Path) -> float:
    """Training seconds of earlier processes that were interrupted."""
    return float(sum(row["seconds"] for folder in (run / "work").glob("*") for row in read_log(folder)))
