"""What a base cannot read is left out with its reason: pictures where it reads texts, texts where it reads pictures.

for item in readable(documents, "image"):      # an encoder of pictures: no plain texts, no captions
    ...
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from shoptalk.curate.clean import printable, sample
from shoptalk.errors import InputError
from shoptalk.records import Document, Drop, Example

NOT_READ = "not-read"
"""The reason of all that the base cannot read."""
_WEB_PICTURE = re.compile(r"https?://\S+\.(?:jpe?g|png|webp|gif|bmp|tiff?|heic|avif)(?:[?#]\S*)?$", re.I)
_READERS = {"image": "image encoders read pictures alone", "pair": "encoders of pictures and texts learn from both"}


def readable(items: Iterable[Document | Drop], kind: str) -> Iterator[Document | Drop]:
    """The documents that a product of this kind reads, as it reads them, and a drop for all that it does not.

    Text encoders and language models read texts. Image encoders read pictures, without their captions. Encoders of
    pictures and texts read pictures with captions.
    """
    for item in items:
        if isinstance(item, Drop):
            yield item
        elif kind == "image":
            yield from _pictures(item)
        elif kind == "pair":
            yield item if item.picture is not None and _words(item) else _drop(item, _lacking(item))
        else:
            yield item if item.picture is None else _drop(item, "a picture, and the base reads texts")


def refuse_unreadable(examples: Sequence[Example], kind: str, name: str) -> None:
    """Refuse labelled examples that a product of this kind cannot read; `name` is their file's.

    Raises:
        InputError: they are pictures, and it reads texts; or texts, and it reads pictures.
    """
    reads_pictures = kind in ("image", "pair")
    wrong = [example for example in examples if (example.picture is not None) != reads_pictures]
    if wrong and reads_pictures:
        raise InputError(
            f"{name} has {len(wrong):,} labelled texts, such as {wrong[0].id}, and the base reads pictures. Give a CSV "
            "with the columns image,label, or a --base that reads texts."
        )
    if wrong:
        raise InputError(
            f"{name} has {len(wrong):,} labelled pictures, such as {wrong[0].id}, and the base reads texts. Give "
            "`shoptalk adapt --task picture`, whose base reads pictures, or a CSV with the columns text,label."
        )


def expected(kind: str | None, drops: Iterable[Drop]) -> str:
    """What to give where nothing is left to learn from, for a product of this kind."""
    first = next((drop for drop in drops if drop.reason == NOT_READ), None)
    why = f"The first that cannot be read: {first.id}: {first.detail}. " if first is not None else ""
    if first is not None and kind == "pair":
        return f"{why}Give pictures with captions: a .csv or .jsonl file with the columns image,text."
    if first is not None and kind == "image":
        return f"{why}Give pictures: their files, folders or zips, or a .csv or .jsonl file with a column image."
    of = ("pictures", "are", "pictures themselves") if kind in ("image", "pair") else ("text", "is", "text itself")
    return f"{why}Give unlabelled {of[0]} that {of[1]} not the labelled {of[2]}."


def _pictures(document: Document) -> Iterator[Document | Drop]:
    if document.picture is None:
        yield _drop(document, f"a text, and the base reads pictures{_address(document)}")
        return
    captions = len(document.turns) or bool(document.text)
    yield document.model_copy(update={"turns": (), "text": ""}) if captions else document
    if captions:
        many = "its caption" if captions == 1 else f"its {captions} captions"
        yield _drop(document, f"{many}: {_READERS['image']}", id=f"{document.id}#captions")


def _lacking(document: Document) -> str:
    what = "a text without a picture" if document.picture is None else "a picture without a caption"
    return f"{what}, and {_READERS['pair']}{_address(document)}"


def _address(document: Document) -> str:
    """What to say of a text whose row names a picture in the web."""
    values = document.metadata.values() if document.picture is None else ()
    named = next((value for value in values if isinstance(value, str) and _WEB_PICTURE.match(value.strip())), None)
    if named is None:
        return ""
    shown = printable(named.strip())[:80]
    return f"; its row names {shown}: addresses are not fetched, so download the picture and name its file"


def _words(document: Document) -> str:
    return " ".join([document.text, *(turn.text for turn in document.turns)]).strip()


def _drop(document: Document, detail: str, *, id: str = "") -> Drop:
    shown = _words(document) or (Path(document.picture.path).name if document.picture is not None else "")
    return Drop(id=id or document.id, source=document.source, reason=NOT_READ, detail=detail, sample=sample(shown))
