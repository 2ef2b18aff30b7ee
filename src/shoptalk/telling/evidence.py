"""Evidence: what else the report shows of the entry that the verdict describes, beside the base; leaves `RUN/evidence`.

The verdict is there already and nothing here can change it. Vectors that the heads saw are used again: with labels no
text is embedded here, without labels a sample of at most `evaluate.best_head.POOL` texts once with each encoder.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from shoptalk.artifact import create, key_of, open_artifact, write_text
from shoptalk.evaluate import flips, projection, shot_gains
from shoptalk.evaluate.best_head import Seen
from shoptalk.nn.product import Embedder
from shoptalk.stages.baseline import Baseline, pool_places
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Heads, Judged
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World, open_product
from shoptalk.telling.tally import Tally, tally

CHANGED, NEIGHBOURS = 20, 3
"""Texts shown of those that were gained and of those that were lost, and neighbours of each."""
TEXT_CHARACTERS, POINT_CHARACTERS = 240, 120


def evidence_stage(world: World, curated: Curated, baseline: Baseline, judged: Judged) -> dict[str, Any]:
    """Gains per shot and task, changed texts, the map, what moved in the network, and the sources; as plain JSON.

    Where nothing was trained there are the sources alone; what needs labels is missing without them.
    """
    entry, heads = judged.entry, judged.heads
    settings: dict[str, Any] = {"seed": world.config.seed, "draws": world.config.draws}
    parents = {"corpus": curated.artifact.content, "baseline": baseline.artifact.content}
    if entry is not None:
        parents["entry"] = entry.artifact.content
    if heads is not None:
        settings |= {"heads": [heads.base, heads.adapted], "c": round(heads.c, 9)}  # c is that of the whole menu
    folder, key = world.run / "evidence", key_of(kind="evidence", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        with create(folder, kind="evidence", config=settings, parents=parents) as inside:
            found = _gather(world, curated, baseline, entry, heads)
            write_text(inside / "evidence.json", json.dumps(found, ensure_ascii=False))
    return dict(json.loads((folder / "evidence.json").read_text(encoding="utf-8")))


def _gather(
    world: World, curated: Curated, baseline: Baseline, entry: Entry | None, heads: Heads | None
) -> dict[str, Any]:
    came_from = tally(curated)
    found: dict[str, Any] = {"sources": came_from.rows}
    if entry is None:
        return found
    world.report.say(f"evidence: what {entry.name} changed")
    base = open_product(world.config)
    adapted = open_product(world.config, str(entry.folder / "encoder"))
    before, after = _seen(baseline, heads, base, adapted)
    return found | {
        "gains": _gains(world, curated, baseline, entry, heads, before, after),
        "gains_note": shot_gains.NOTE,
        "changed": _changed(curated, baseline, entry, heads, before, after),
        "map": _map(world, curated, baseline, entry, came_from, before, after),
        "layers": flips.relative_changes(_weights(base, adapted)),
        "moved": flips.moved(_both(before), _both(after)),
    }


def _seen(baseline: Baseline, heads: Heads | None, base: Embedder, adapted: Embedder) -> tuple[Seen, Seen]:
    """The vectors of the labelled texts and of the sample of others, before and after."""
    if heads is not None and baseline.seen is not None:
        return baseline.seen, heads.seen
    before, after = (Seen.by(product, (), baseline.bench.pool) for product in (base, adapted))
    return before, after


def _both(seen: Seen) -> Float[np.ndarray, "N D"]:
    return np.concatenate([seen.texts, seen.pool])


def _weights(base: Embedder, adapted: Embedder) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Both networks' parameters by name; BERT's pooler, which nothing here uses, is left out."""
    after = dict(adapted.network.named_parameters())
    for name, before in base.network.named_parameters():
        of_backbone = name.removeprefix("backbone.")
        if name in after and not of_backbone.startswith("pooler."):
            yield of_backbone, before.detach().float().cpu().numpy(), after[name].detach().float().cpu().numpy()


# --- gains --------------------------------------------------------------------------------------------------------


def _gains(
    world: World, curated: Curated, baseline: Baseline, entry: Entry, heads: Heads | None, before: Seen, after: Seen
) -> list[dict[str, Any]]:
    labelled, rows = baseline.bench.labelled, []
    if labelled is not None and heads is not None:
        rows += shot_gains.shots_gains(
            np.asarray(before.texts),
            np.asarray(after.texts),
            labelled.labels,
            labelled.cluster,
            entry=entry.name,
            n_draws=world.config.draws,
            c=heads.c,
            seed=world.config.seed,
        )
    ranks = [
        next((reading.outcomes for reading in measured.readings if reading.name == "next-turn MRR"), ())
        for measured in (baseline.measured, entry.measured)
    ]
    if ranks[0] and len(ranks[0]) == len(ranks[1]):
        found = shot_gains.retrieval_gain(
            ranks[0], ranks[1], _conversations(curated, baseline.bench.pairs), seed=world.config.seed
        )
        rows += [found] if found is not None else []
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
    curated: Curated, baseline: Baseline, entry: Entry, heads: Heads | None, before: Seen, after: Seen
) -> dict[str, Any] | None:
    if baseline.bench.labelled is None or heads is None:
        return None
    labelled = baseline.judged
    found = flips.sides(*heads.answers, labelled.labels, labelled.draws.tested)
    ends = {}
    for name, which in (("gained", found.gained[:CHANGED]), ("lost", found.lost[:CHANGED])):
        near = [flips.nearest(np.asarray(seen.texts), which, labelled.cluster, NEIGHBOURS) for seen in (before, after)]
        ends[name] = [
            {
                "id": curated.examples[i].id,
                "text": labelled.texts[i][:TEXT_CHARACTERS],
                "label": labelled.names[labelled.labels[i]],
                "base": labelled.names[found.base_says[i]],
                "adapted": labelled.names[found.adapted_says[i]],
                "base_share": round(float(found.base_share[i]), 4),
                "adapted_share": round(float(found.adapted_share[i]), 4),
                "before": _neighbours(baseline, near[0][place]),
                "after": _neighbours(baseline, near[1][place]),
            }
            for place, i in enumerate(which.tolist())
        ]
    return {
        "entry": entry.name,
        "head": heads.adapted,
        "base_head": heads.base,
        "draws": len(labelled.draws.training),
        "n_gained": len(found.gained),
        "n_lost": len(found.lost),
        **ends,
    }


def _neighbours(baseline: Baseline, near: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    labelled = baseline.bench.labelled
    assert labelled is not None
    return [
        {
            "text": labelled.texts[i][:TEXT_CHARACTERS],
            "label": labelled.names[labelled.labels[i]],
            "cosine": round(cosine, 4),
        }
        for i, cosine in near
    ]


# --- the map ------------------------------------------------------------------------------------------------------


def _map(
    world: World,
    curated: Curated,
    baseline: Baseline,
    entry: Entry,
    came_from: Tally,
    before: Seen,
    after: Seen,
) -> dict[str, Any] | None:
    labelled, pool = baseline.bench.labelled, baseline.bench.pool
    n = len(labelled.texts) if labelled is not None else 0
    chosen = _points(n, len(pool), seed=world.config.seed)
    drawn = projection.project(_both(before)[chosen], _both(after)[chosen], seed=world.config.seed)
    if drawn is None:
        return None
    texts = [*(labelled.texts if labelled is not None else ()), *pool]
    names = [row["source"] for row in came_from.rows]
    given = next(
        (name.removeprefix("labels:") for name in curated.artifact.parents if name.startswith("labels:")), None
    )
    if n:
        names.append(str(given))
    places = pool_places(curated.train, seed=world.config.seed)
    sources = [len(names) - 1] * n + [int(came_from.of_text[places[text]]) for text in pool]
    classes = [*(labelled.labels.tolist() if labelled is not None else ()), *([None] * len(pool))]
    return {
        "entry": entry.name,
        "method": drawn.method,
        "n_all": n + len(curated.train),
        "classes": list(labelled.names) if labelled is not None else [],
        "sources": names,
        "text": [texts[i][:POINT_CHARACTERS] for i in chosen],
        "class": [classes[i] for i in chosen],
        "source": [sources[i] for i in chosen],
        "before": np.round(drawn.before, 4).tolist(),
        "after": np.round(drawn.after, 4).tolist(),
    }


def _points(labelled: int, others: int, *, seed: int) -> Int[np.ndarray, " P"]:
    """Which texts are drawn: the labelled ones first, a random part of them where they are too many."""
    rng = np.random.default_rng(seed)
    first = np.sort(rng.permutation(labelled)[: projection.MOST])
    rest = np.sort(rng.permutation(others)[: projection.MOST - len(first)])
    return np.concatenate([first, labelled + rest])
