"""What the report shows of pictures: small copies, the views that training made of them, what was decoded in the place
of left out parts, where a transformer looks, the nearest pictures and captions before and after, and how often
captions and pictures find each other.
"""

import base64
import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image

from shoptalk.image.batches import Views
from shoptalk.image.decode import RefusedPicture
from shoptalk.image.pixels import square_of
from shoptalk.nn.encoder import evaluating
from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork, normalised
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.product import Embedder, Product
from shoptalk.objective import Key, Material
from shoptalk.records import Picture
from shoptalk.report.evidence_json import ChangedTexts
from shoptalk.report.pictures_json import (
    AttendedPicture,
    FoundCaption,
    NearPictures,
    PicturePanels,
    Reconstructed,
    Retrieval,
    ShownPicture,
    ViewsOfOne,
)
from shoptalk.stages.curate import Curated
from shoptalk.stages.decide import Compared
from shoptalk.stages.entry import Entry
from shoptalk.stages.legs import work_folder
from shoptalk.stages.plan import Prepared
from shoptalk.stages.world import World, open_product
from shoptalk.tasks.caption import CaptionJudge
from shoptalk.tasks.judge import Judge, Score
from shoptalk.text.corpus import Corpus, plain_wording
from shoptalk.training import snapshot

SIDE, QUALITY = 64, 75
"""Of a picture in the report, in pixels, and of its JPEG file."""
VIEWED, STEPS = 3, 3
"""Pictures whose views are shown, and at how many steps of training."""
DECODED, ATTENDED, ASKED, NEAR, FOUND = 6, 4, 5, 5, 8
_POOL = 600
"""Pictures among which the nearest are looked for."""
_MOST_HEADS = 6


@runtime_checkable
class Reconstructs(Protocol):
    """An objective that decodes what it has left out."""

    def reconstructions(self, batch: Any) -> tuple[UInt8[np.ndarray, "n S S 3"], ...]:
        """Each view with its left out parts grey, with what was decoded in their place, and whole."""
        ...


def picture_panels(
    world: World,
    curated: Curated,
    prepared: Prepared | None,
    entry: Entry,
    base: Product,
    adapted: Product,
    changed: ChangedTexts | None,
    named: Callable[[Picture], str],
) -> PicturePanels | None:
    """The panels; None where neither encoder reads pictures. `named` is what the report calls a picture."""
    if not isinstance(adapted, ImageEncoder | PairEncoder) or not isinstance(base, Embedder):
        return None
    known = {named(item): item for item in _labelled(curated)}
    panels: dict[str, Any] = {"thumbnails": _thumbnails(changed, known)}
    if prepared is not None:
        panels |= _trained_on(world, prepared, entry)
    sample = _sample(curated, seed=world.config.seed)
    if isinstance(adapted, ImageEncoder):
        panels["attention"] = _attention(adapted.network, sample[:ATTENDED], named)
    panels["neighbours"] = _neighbours(base, adapted, sample, named)
    if isinstance(adapted, PairEncoder):
        panels["found"] = _found(base, adapted, curated.held_out, named)
    return PicturePanels.model_validate(panels)


def _labelled(curated: Curated) -> list[Picture]:
    return [example.picture for example in (*curated.examples, *curated.tests) if example.picture is not None]


def _sample(curated: Curated, *, seed: int) -> list[Picture]:
    """Pictures that are asked about: labelled or held-out ones first, else a part of those trained on."""
    corpus = curated.held_out if len(curated.held_out.pictures) else curated.train
    pictures = _labelled(curated) or _pictures_of(corpus, _POOL, seed)
    order = np.random.default_rng(seed).permutation(len(pictures))[:_POOL]
    return [pictures[i] for i in order.tolist()]


def _pictures_of(corpus: Corpus, most: int, seed: int) -> list[Picture]:
    places = np.asarray(corpus.pictures.numbers)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(places))[:most])
    return [item for place in places[chosen].tolist() if isinstance(item := corpus.items[place], Picture)]


# --- small copies -------------------------------------------------------------------------------------------------


def small(picture: UInt8[np.ndarray, "H W 3"], *, side: int = SIDE) -> str:
    """A small copy of a square picture as an address that holds a JPEG file."""
    image = Image.fromarray(picture)
    how = Image.Resampling.NEAREST if image.width < side else Image.Resampling.BICUBIC
    file = io.BytesIO()
    image.resize((side, side), how).save(file, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def shown(picture: Picture, name: str) -> ShownPicture | None:
    """A small copy of a picture's file; None where it cannot be read any more."""
    try:
        return ShownPicture(name=name, data=small(square_of(picture, SIDE, unchanged=False)))
    except RefusedPicture:
        return None


def _all_shown(pictures: Sequence[Picture], named: Callable[[Picture], str]) -> tuple[ShownPicture, ...]:
    return tuple(copy for picture in pictures if (copy := shown(picture, named(picture))) is not None)


def _thumbnails(changed: ChangedTexts | None, known: dict[str, Picture]) -> dict[str, str]:
    """Of the pictures that changed sides, and of their neighbours."""
    if changed is None:
        return {}
    rows = (*changed.gained, *changed.lost)
    names = {row.text for row in rows} | {near.text for row in rows for near in (*row.before, *row.after)}
    copies = {name: shown(known[name], name) for name in sorted(names) if name in known}
    return {name: copy.data for name, copy in copies.items() if copy is not None}


# --- what training saw --------------------------------------------------------------------------------------------


def _trained_on(world: World, prepared: Prepared, entry: Entry) -> dict[str, Any]:
    """Views of some pictures at some steps, and reconstructions by the trained objective where it makes any."""
    candidate = prepared.candidates[entry.candidate]
    product = open_product(world.config)
    network = _network_of(product)
    places = np.asarray(prepared.corpus.pictures.numbers)[:DECODED].tolist()
    if network is None or not places:
        return {}
    material = Material(prepared.corpus, product, prepared.inputs, candidate.targets)
    collate, seed = candidate.spec.collate(material), world.config.seed
    batches = [collate(places, Key(seed=seed, step=step)) for step in range(STEPS)]
    if not isinstance(batches[0], Views):
        return {}
    rows = []
    for number, place in enumerate(places[:VIEWED]):
        item = prepared.corpus.items[place]
        copy = shown(item, _end(item)) if isinstance(item, Picture) else None
        if copy is not None:
            views = [small(_bytes(view[number], network)) for batch in batches for view in batch.views]
            rows.append(ViewsOfOne(picture=copy, views=tuple(views)))
    panels: dict[str, Any] = {"objective": entry.candidate, "views": tuple(rows)}
    # The newest snapshot is the only one that is kept, and of a later step where an earlier entry is the best.
    work = snapshot.newest(work_folder(world, prepared, entry.candidate), most=sys.maxsize)
    if work is None or candidate.then is not None:  # the snapshot is of the objective that came after
        return panels
    with torch.random.fork_rng(devices=[]):
        objective = candidate.spec.build(product)
    if isinstance(objective, Reconstructs):
        snapshot.load_module(work, objective)
        panels["decoded_after"] = snapshot.steps_done(work)
        parts = objective.reconstructions(batches[0])
        panels["reconstructions"] = tuple(
            Reconstructed(
                name=_end(prepared.corpus.items[place]),
                **dict(zip(("masked", "decoded", "whole"), copies, strict=True)),
            )
            for place, *pictures in zip(places, *parts, strict=True)
            if (copies := [small(one) for one in pictures])
        )
    return panels


def _network_of(product: Product) -> ImageNetwork | None:
    """What reads pictures in a product."""
    if isinstance(product, ImageEncoder):
        return product.network
    return product.network.pictures if isinstance(product, PairEncoder) else None


def _bytes(view: Float[torch.Tensor, "3 H W"], network: ImageNetwork) -> UInt8[np.ndarray, "H W 3"]:
    """A normalised view as bytes again."""
    values = view.float().cpu().permute(1, 2, 0) * torch.tensor(network.std) + torch.tensor(network.mean)
    return (values * 255).round().clamp(0, 255).to(torch.uint8).numpy()


def _end(item: object) -> str:
    return Path(item.path).name if isinstance(item, Picture) else ""


# --- where a transformer looks ------------------------------------------------------------------------------------


def _attention(
    network: ImageNetwork, pictures: Sequence[Picture], named: Callable[[Picture], str]
) -> tuple[AttendedPicture, ...]:
    """Maps of the last layer's heads from [CLS] to the patches (Caron et al. 2021, figure 1)."""
    if network.patch is None:
        return ()
    read: list[tuple[Picture, UInt8[np.ndarray, "S S 3"]]] = []
    for picture in pictures:
        with contextlib.suppress(RefusedPicture):  # it cannot be read any more
            read.append((picture, square_of(picture, network.size, unchanged=False)))
    if not read:
        return ()
    weights = cls_attention(network, np.stack([whole for _, whole in read]))
    rows = []
    for (picture, whole), heads in zip(read, weights, strict=True):
        maps = [small(_bright(head)) for head in heads[:_MOST_HEADS]]
        copy = ShownPicture(name=named(picture), data=small(whole))
        rows.append(AttendedPicture(picture=copy, heads=tuple(maps)))
    return tuple(rows)


def cls_attention(
    network: ImageNetwork, pictures: UInt8[np.ndarray, "n S S 3"]
) -> Float[np.ndarray, "n heads across across"]:
    """How much the last layer's [CLS] token attends to each patch, per head."""
    backbone: Any = network.backbone
    assert network.patch is not None
    with evaluating(network), torch.inference_mode():
        pixels = normalised(pictures, network.mean, network.std).to(network.device)
        output = backbone(pixel_values=pixels, output_attentions=True, interpolate_pos_encoding=True)
    from_cls = output.attentions[-1][:, :, 0, 1:].float().cpu().numpy()
    across = network.size // network.patch
    return np.asarray(from_cls.reshape(*from_cls.shape[:2], across, across))


def _bright(head: Float[np.ndarray, "across across"]) -> UInt8[np.ndarray, "across across 3"]:
    scaled = 255 * head / max(float(head.max()), 1e-9)
    return np.repeat(scaled.astype(np.uint8)[..., None], 3, axis=-1)


# --- what lies near -----------------------------------------------------------------------------------------------


def _neighbours(
    base: Embedder, adapted: Embedder, pictures: Sequence[Picture], named: Callable[[Picture], str]
) -> tuple[NearPictures, ...]:
    if len(pictures) < 2:
        return ()
    near = []
    for product in (base, adapted):
        vectors = product.embed(pictures)
        cosines = vectors[:ASKED] @ vectors.T
        np.fill_diagonal(cosines, -np.inf)
        near.append(np.argsort(-cosines, axis=1)[:, :NEAR])
    rows = []
    for number, picture in enumerate(pictures[:ASKED]):
        copy = shown(picture, named(picture))
        if copy is None:
            continue
        before, after = (_all_shown([pictures[i] for i in places[number].tolist()], named) for places in near)
        rows.append(NearPictures(picture=copy, before=before, after=after))
    return tuple(rows)


def _found(
    base: Embedder, adapted: Embedder, held_out: Corpus, named: Callable[[Picture], str]
) -> tuple[FoundCaption, ...]:
    """What each encoder finds first for some held-out pictures, those on which they differ before the others."""
    captions: dict[int, list[str]] = {}
    pictures: dict[int, Picture] = {}
    for item, document in zip(held_out.items, np.asarray(held_out.conversation).tolist(), strict=True):
        if isinstance(item, Picture):
            pictures[document] = item
        else:
            captions.setdefault(document, []).append(item)
    asked = [document for document in pictures if document in captions][:_POOL]
    texts = list(dict.fromkeys(text for document in asked for text in captions[document]))
    if not asked:
        return ()
    first = []
    for product in (base, adapted):
        vectors = product.embed([pictures[document] for document in asked])
        first.append([texts[i] for i in (vectors @ product.embed(texts).T).argmax(axis=1).tolist()])
    right = {document: {plain_wording(text) for text in captions[document]} for document in asked}
    rows = [
        (document, *texts, *(plain_wording(text) in right[document] for text in texts))
        for document, *texts in zip(asked, *first, strict=True)
    ]
    rows.sort(key=lambda row: row[3] == row[4])
    answers = []
    for document, before, after, right_before, right_after in rows[:FOUND]:
        copy = shown(pictures[document], named(pictures[document]))
        if copy is not None:
            answers.append(
                FoundCaption(
                    picture=copy,
                    captions=tuple(captions[document][:3]),
                    before=before,
                    after=after,
                    right_before=right_before,
                    right_after=right_after,
                )
            )
    return tuple(answers)


def found_both_ways(judge: Judge | None, compared: Compared | None) -> tuple[Retrieval, ...]:
    """R@1 in both directions, by the scores that the verdict compares; nothing of other tasks than caption."""
    if not isinstance(judge, CaptionJudge) or compared is None:
        return ()
    rows = []
    for share, among in zip(judge.shares, reversed(judge.asked.belong.shape), strict=True):
        of = share.of
        row = {
            "direction": share.name,
            "asked": len(judge.asked.chances[of]),
            "among": among,
            "chance": 100.0 * float(judge.asked.chances[of].mean()),
            "before": _per_cent(compared.base.scores, of),
            "after": _per_cent(compared.adapted.scores, of),
        }
        if judge.untrained is not None:
            row["untrained"] = _per_cent(judge.untrained.scores, of)
        rows.append(Retrieval.model_validate(row))
    return tuple(rows)


def _per_cent(scores: Score, of: slice) -> float:
    return 100.0 * float(scores[:, of].mean())
