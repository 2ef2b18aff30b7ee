"""Evidence: what else the report shows of the entry that the verdict describes, beside the base; leaves `RUN/evidence`.

The verdict is there already and nothing here can change it. Vectors that the heads saw are used again: with labels no
item is embedded here but a few hundred messages for the classes' shares, without labels a sample of at most
`nn.heads.kind_answers.POOL` items once with each encoder.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.evaluate import flips, projection, shot_gains
from shoptalk.evaluate.pools import pool_places
from shoptalk.nn.heads.kind_answers import Seen
from shoptalk.nn.product import Embedder, Product
from shoptalk.probes import retrieval
from shoptalk.readback import read_json
from shoptalk.records import Item
from shoptalk.report.evidence_json import (
    ChangedText,
    ChangedTexts,
    Evidence,
    GainRow,
    LayerChange,
    Moved,
    Neighbour,
    VectorMap,
)
from shoptalk.report.nouns import nouns_for
from shoptalk.report.reading import read_evidence
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Compared, Judged
from shoptalk.stages.entry import Entry
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, open_product
from shoptalk.tasks.judge import Classes
from shoptalk.telling.class_shares import traffic_of
from shoptalk.telling.picture_panels import found_both_ways, picture_panels
from shoptalk.telling.tally import Tally, tally

CHANGED, NEIGHBOURS = 20, 3
"""Texts shown of those that were gained and of those that were lost, and neighbours of each."""
TEXT_CHARACTERS, POINT_CHARACTERS = 240, 120


def evidence_stage(
    world: World, curated: Curated, baseline: Baseline, judged: Judged, prepared: Prepared | None = None
) -> Evidence:
    """Gains per shot and task, changed texts, the map, what moved in the network, and the sources.

    Where nothing was trained there are the sources alone; what needs labels is missing without them.
    """
    entry, compared = judged.entry, judged.compared
    settings: dict[str, Any] = {"seed": world.config.seed, "shots": world.config.shots}
    parents = {"corpus": curated.artifact.content, "baseline": baseline.artifact.content}
    if entry is not None:
        parents["entry"] = entry.artifact.content
    if compared is not None:
        ways = [compared.base.way, compared.adapted.way]
        settings |= {"heads": ways, "c": round(compared.c, 9)}  # c is that of the whole menu
    if baseline.kind == "pair":
        settings["retrieval"] = "R@1"  # evidence of earlier versions has no such table
    folder, key = world.run / "evidence", key_of(kind="evidence", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        with create(folder, kind="evidence", config=settings, parents=parents) as inside:
            gathered = _gather(world, curated, baseline, entry, compared, prepared)
            write_text(inside / "evidence.json", json.dumps(gathered.told(), ensure_ascii=False))
    return read_evidence(read_json(folder / "evidence.json", dict), where=folder / "evidence.json")


def _gather(
    world: World,
    curated: Curated,
    baseline: Baseline,
    entry: Entry | None,
    compared: Compared | None,
    prepared: Prepared | None,
) -> Evidence:
    came_from = tally(curated)
    if entry is None:
        return Evidence(sources=came_from.rows)
    world.report.say(f"evidence: what {entry.name} changed")
    base = open_product(world.config)
    adapted = open_product(world.config, str(entry.folder / "encoder"))
    before, after = _seen(baseline, compared, base, adapted)
    # What training moved is seen beside the base that was trained; what the verdict compares may be another.
    untrained = baseline.final.seen if compared is not None and baseline.final is not None else before
    moved = flips.moved(_both(untrained), _both(after)) if untrained and after else None
    with world.profile.part("gains"):
        gains = _gains(world, curated, baseline, entry, compared, before, after)
    with world.profile.part("traffic"):
        traffic = traffic_of(world, curated, baseline, compared, untrained, base)
    if traffic is not None and traffic.differs:
        world.report.say(f"evidence: {traffic.sentence}")
    with world.profile.part("map"):
        drawn = _map(world, curated, baseline, entry, came_from, untrained, after)
    changed = _changed(curated, baseline, entry, compared, before, after)
    with world.profile.part("pictures"):
        panels = picture_panels(
            world, curated, prepared, entry, base, adapted, changed, lambda item: _shown(item, TEXT_CHARACTERS)
        )
    evidence = Evidence(
        sources=came_from.rows,
        gains=tuple(map(GainRow.model_validate, gains)),
        gains_note=shot_gains.NOTE.format(what=nouns_for(baseline.kind).many),
        changed=changed,
        map=drawn,
        layers=tuple(map(LayerChange.model_validate, flips.relative_changes(_weights(base, adapted)))),
        moved=Moved.model_validate(moved) if moved is not None else None,
        traffic=traffic,
    )
    if panels is None:
        return evidence
    rows = found_both_ways(baseline.bench.judge, compared)
    panels = panels.model_copy(update={"retrieval": rows}) if rows else panels
    return evidence.model_copy(update={"pictures": panels})


def _seen(
    baseline: Baseline, compared: Compared | None, base: Product, adapted: Product
) -> tuple[Seen | None, Seen | None]:
    """The vectors of the labelled items and of the sample of others, before and after; None of what embeds nothing."""
    if compared is not None and compared.base.seen is not None:
        return compared.base.seen, compared.adapted.seen
    if not isinstance(base, Embedder) or not isinstance(adapted, Embedder):
        return None, None
    return Seen.by(base, (), baseline.bench.pool), Seen.by(adapted, (), baseline.bench.pool)


def _both(seen: Seen) -> Float[np.ndarray, "N D"]:
    return np.concatenate([seen.texts, seen.pool])


def _weights(base: Product, adapted: Product) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Both networks' parameters by name; BERT's pooler, which nothing here uses, is left out."""
    after = dict(adapted.network.named_parameters())
    for name, before in base.network.named_parameters():
        of_backbone = name.removeprefix("backbone.")
        if name in after and not of_backbone.startswith("pooler."):
            yield of_backbone, before.detach().float().cpu().numpy(), after[name].detach().float().cpu().numpy()


# --- gains --------------------------------------------------------------------------------------------------------


def _gains(
    world: World,
    curated: Curated,
    baseline: Baseline,
    entry: Entry,
    compared: Compared | None,
    before: Seen | None,
    after: Seen | None,
) -> list[dict[str, Any]]:
    judge, rows = baseline.bench.judge, []
    if judge is not None and judge.classes is not None and compared is not None and before and len(before.texts):
        assert after is not None
        rows += shot_gains.shots_gains(
            np.asarray(before.texts),
            np.asarray(after.texts),
            judge.classes.labels,
            judge.cluster,
            entry=entry.name,
            shots=world.config.shots,
            c=compared.c,
            seed=world.config.seed,
            task=judge.key,
        )
    readings = [measured.reading(retrieval.KEY) for measured in (baseline.measured, entry.measured)]
    ranks = [reading.outcomes if reading is not None else () for reading in readings]
    if ranks[0] and len(ranks[0]) == len(ranks[1]):
        conversations = _conversations(curated, baseline.bench.pairs)
        row = shot_gains.retrieval_gain(ranks[0], ranks[1], conversations, seed=world.config.seed)
        rows += [row] if row is not None else []
    return rows


def _conversations(curated: Curated, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """The held-out conversation of each (context, reply); a pair that two conversations have is the first's."""
    corpus, number = curated.held_out, dict[tuple[str, str], int]()
    for context, reply in corpus.pairs():
        pair = corpus.texts[int(context)], corpus.texts[int(reply)]
        number.setdefault(pair, int(corpus.conversation[context]))
    return [number[context, reply] for context, reply in pairs]


# --- changed texts ------------------------------------------------------------------------------------------------


def _changed(
    curated: Curated,
    baseline: Baseline,
    entry: Entry,
    compared: Compared | None,
    before: Seen | None,
    after: Seen | None,
) -> ChangedTexts | None:
    judge = baseline.bench.judge
    if judge is None or judge.classes is None or compared is None or not (before and after):
        return None
    classes, tested, answers = judge.classes, compared.scores.tested, (compared.base.answers, compared.adapted.answers)
    if answers[0] is None or answers[1] is None or not len(before.texts):
        return None
    sides = flips.sides(answers[0], answers[1], classes.labels, tested)
    ends = []
    for which in (sides.gained[:CHANGED], sides.lost[:CHANGED]):
        near = [flips.nearest(np.asarray(seen.texts), which, judge.cluster, NEIGHBOURS) for seen in (before, after)]
        texts = (
            ChangedText(
                id=curated.examples[i].id,
                text=_shown(classes.items[i], TEXT_CHARACTERS),
                label=classes.names[classes.labels[i]],
                base=classes.names[sides.base_says[i]],
                adapted=classes.names[sides.adapted_says[i]],
                base_share=round(float(sides.base_share[i]), 4),
                adapted_share=round(float(sides.adapted_share[i]), 4),
                before=_neighbours(classes, near[0][place]),
                after=_neighbours(classes, near[1][place]),
            )
            for place, i in enumerate(which.tolist())
        )
        ends.append(tuple(texts))
    return ChangedTexts(
        entry=entry.name,
        head=compared.adapted.way,
        base_head=compared.base.way,
        draws=len(tested),
        n_gained=len(sides.gained),
        n_lost=len(sides.lost),
        gained=ends[0],
        lost=ends[1],
    )


def _neighbours(classes: Classes, near: Sequence[tuple[int, float]]) -> tuple[Neighbour, ...]:
    return tuple(
        Neighbour(
            text=_shown(classes.items[i], TEXT_CHARACTERS),
            label=classes.names[classes.labels[i]],
            cosine=round(cosine, 4),
        )
        for i, cosine in near
    )


# --- the map ------------------------------------------------------------------------------------------------------


def _map(
    world: World,
    curated: Curated,
    baseline: Baseline,
    entry: Entry,
    came_from: Tally,
    before: Seen | None,
    after: Seen | None,
) -> VectorMap | None:
    if before is None or after is None:
        return None
    judge, pool = baseline.bench.judge, baseline.bench.pool
    classes = judge.classes if judge is not None and len(before.texts) else None
    n = len(before.texts)
    chosen = _points(n, len(pool), seed=world.config.seed)
    what = nouns_for(baseline.kind).many
    drawn = projection.project(_both(before)[chosen], _both(after)[chosen], seed=world.config.seed, what=what)
    if drawn is None:
        return None
    texts = [*(classes.items if classes is not None else ()), *pool]
    names = [row.source for row in came_from.rows]
    given = next(
        (name.removeprefix("labels:") for name in curated.artifact.parents if name.startswith("labels:")), None
    )
    if n:
        names.append(str(given))
    places = pool_places(curated.train, seed=world.config.seed)
    sources = [len(names) - 1] * n + [int(came_from.of_text[places[text]]) for text in pool]
    of_class = [*(classes.labels.tolist() if classes is not None else ()), *([None] * len(pool))]
    return VectorMap(
        entry=entry.name,
        method=drawn.method,
        n_all=n + (len(curated.train.pictures) or len(curated.train)),
        classes=tuple(classes.names) if classes is not None else (),
        sources=tuple(names),
        text=tuple(_shown(texts[i], POINT_CHARACTERS) for i in chosen),
        class_=tuple(of_class[i] for i in chosen),
        source=tuple(sources[i] for i in chosen),
        before=np.round(drawn.before, 4).tolist(),
        after=np.round(drawn.after, 4).tolist(),
    )


def _shown(item: Item, most: int) -> str:
    """The beginning of a text; of a picture, its file's name and its folder's."""
    return item[:most] if isinstance(item, str) else "/".join(item.path.split("/")[-2:])[-most:]


def _points(labelled: int, others: int, *, seed: int) -> Int[np.ndarray, " P"]:
    """Which texts are drawn: the labelled ones first, a random part of them where they are too many."""
    rng = np.random.default_rng(seed)
    first = np.sort(rng.permutation(labelled)[: projection.MOST])
    rest = np.sort(rng.permutation(others)[: projection.MOST - len(first)])
    return np.concatenate([first, labelled + rest])
