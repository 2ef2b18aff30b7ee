"""Ship: the folders that are handed out, encoders and head."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from shoptalk.artifact import Artifact, create, discard, handed_out, key_of, open_artifact, sound, write_text
from shoptalk.nn.bases import open_model
from shoptalk.nn.digests import base_digest
from shoptalk.nn.encoder import MODEL_CARD, embed
from shoptalk.nn.heads import classifier, head_files, names
from shoptalk.nn.product import Embedder, folder_of
from shoptalk.probes.once import Once
from shoptalk.question import withdraw
from shoptalk.readback import MANIFEST, shipped_in
from shoptalk.records import Item
from shoptalk.stages.baseline import Baseline
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Compared
from shoptalk.stages.entry import Entry
from shoptalk.stages.world import World, open_product

_Known = tuple[Sequence[Item], Float[np.ndarray, "_ _"]]
"""Items, and the vectors that an encoder is known to give them."""


def ship_stage(
    world: World,
    curated: Curated,
    baseline: Baseline,
    *,
    base: str,
    challenger: Entry | None,
    served: Entry | None,
    compared: Compared | None,
    cards: Mapping[str, str],
    challenger_cards: Mapping[str, str],
) -> None:
    """Leave `RUN/candidate/encoder`, whatever was decided, `RUN/encoder`, which is served, and with labels
    `RUN/head` on it; of a language model `RUN/candidate/model` and `RUN/model`. `served` is None where that is `base`;
    `cards` are those of what is served. The head is of the kind that the verdict has `compared`, and learns from the
    same vectors, where there are such.
    """
    shipped = folder_of(baseline.kind)
    kept = {f"candidate/{shipped}"} if challenger else set()
    withdraw(world.run, but={"evidence", "head", "dose.json"} | kept)
    if open_artifact(other := world.run / ("encoder" if shipped == "model" else "model")) is not None:
        discard(other)  # of an earlier question, whose base was of another kind
    with world.profile.part("saving"):
        if challenger is not None:
            encoder_stage(
                str(challenger.folder / "encoder"),
                world.run / "candidate" / shipped,
                parents={"entry": challenger.artifact.content},
                cards=challenger_cards,
            )
        encoder = encoder_stage(
            str(served.folder / "encoder") if served else base,
            world.run / shipped,
            parents={"entry": served.artifact.content} if served else {"base": base_digest(base)},
            cards=cards,
        )
    with world.profile.part("heads"):
        judged = None
        if compared is not None:
            judged = compared.adapted if served is not None else compared.base
        judge, pool, kind, known = baseline.bench.judge, baseline.bench.pool, "", list[_Known]()
        if judged is not None and judged.seen is not None and judge is not None:
            kind, known = judged.way, [(judge.items, judged.seen.texts), (pool, judged.seen.pool)]
        finetune_stage(world, curated, pool, encoder, kind=kind, known=known)


def damaged_parts(run: Path, *, challenger: bool, head: bool) -> list[str]:
    """Of what a finished run hands out, with challenger or head beside the product, what is not as it was."""
    shipped = shipped_in(run)
    parts = [shipped, *([f"candidate/{shipped}"] if challenger else []), *(["head"] if head else [])]
    return [name for name in parts if sound(run / name) is None]


def encoder_stage(source: str, target: Path, *, parents: Mapping[str, str], cards: Mapping[str, str]) -> Artifact:
    """Write the encoder `source` (a folder or a base's name) as the artifact `target`, with its cards by file name."""
    settings = {"cards": dict(cards)}
    if sound(target, key=key_of(kind="encoder", config=settings, parents=parents)) is None:
        for folder in (Path(source), Path(source).parent):  # an entry of the menu holds its encoder as a folder
            if (folder / MANIFEST).is_file():
                handed_out(folder)  # what is damaged is not copied
        with create(target, kind="encoder", config=settings, parents=parents) as inside:
            open_model(source).save(inside, card=cards[MODEL_CARD])
            for name, text in cards.items():
                write_text(inside / name, text)
    return handed_out(target)


def finetune_stage(
    world: World,
    curated: Curated,
    pool: Sequence[Item],
    encoder: Artifact,
    *,
    kind: str = "",
    known: Sequence[_Known] = (),
) -> None:
    """The classifier of every label, on the encoder that is served; leaves `RUN/head`. `kind` is that of the head with
    which the verdict has judged the encoder; of `known` items it has the vectors.
    """
    parents = {"encoder": encoder.content, "corpus": curated.artifact.content}
    settings, target = {"seed": world.config.seed, "names": names.EXAMPLES, "kind": kind}, world.run / "head"
    key = key_of(kind="head", config=settings, parents=parents)
    product = open_product(world.config, str(world.run / shipped_in(world.run))) if curated.examples else None
    if not isinstance(product, Embedder):  # no labels, or a model that gives no vectors to fit a head on
        if open_artifact(target) is not None:
            discard(target)  # of an earlier question that had labels; it knows another encoder
        return
    if sound(target, key=key) is not None:
        return
    labels, labelled = [example.label for example in curated.examples], [example.item for example in curated.examples]
    product = Once(product)
    for items, vectors in known:
        product.remember(items, np.asarray(vectors))
    head = classifier.train(
        embed(product, labelled),
        labels,
        np.array([example.cluster for example in curated.examples]),
        unlabelled=embed(product, pool),
        named=names.embedded(product, sorted(set(labels))) if product.kind == "text" else None,
        kinds=(kind,) if kind else None,  # what was judged is what ships
        seed=world.config.seed,
    )
    world.report.say(f"finetune: {classifier.described(head)}")
    with create(target, kind="head", config=settings, parents=parents, readings=dict(head.dev)) as inside:
        head_files.save(head, inside)
