"""The knowledge: which documents are there; adding and removing some while replies go on."""

import unicodedata
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from shoptalk.records import Document, Metadata
from shoptalk.serve.asking import Keeper, TheService, refusals
from shoptalk.serve.outbound import ask
from shoptalk.serve.refusals import Refused
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import Line, Sent, Words

router = APIRouter(tags=["knowledge"])
_PLAIN = ("text/plain", "text/markdown", "text/x-markdown")


class NewDocument(Sent):
    """A document to be known: its text, or the address of a plain text or Markdown file."""

    id: Annotated[str, Field(pattern=r"^[\w.@/-]{1,200}$")]
    title: Line | None = None
    text: Words | None = None
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://[\x21-\x7e]+$")] | None = None
    link: Annotated[str, Field(max_length=2000, pattern=r"^https?://[\x21-\x7e]+$")] | None = None
    """Where readers find it; else its `url`."""


class KnowledgeRequest(Sent):
    """Documents to be known."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"documents": [{"id": "dogs.md", "text": "# Dogs\n\nDogs travel free."}]}}
    )
    documents: Annotated[list[NewDocument], Field(min_length=1, max_length=200)]


@router.get("/v1/knowledge", responses=refusals())
async def status(service: TheService, principal: Keeper) -> dict[str, Any]:
    """What is known: documents with their passages, and the version of the index."""
    status: dict[str, Any] = await service.in_thread(service.assistant.knowledge.status)
    return status


@router.post("/v1/knowledge", responses=refusals())
async def add(service: TheService, principal: Keeper, request: KnowledgeRequest) -> dict[str, Any]:
    """Add documents; one whose id is there takes its place. Replies under way end on what was known before."""
    documents = [await _read(service, document) for document in request.documents]
    change = await service.in_thread(lambda: service.assistant.put(documents))
    return {
        "documents": change.documents,
        "passages": change.passages,
        "replaced": list(change.replaced),
        "remarks": list(change.remarks),
    }


@router.delete("/v1/knowledge", responses=refusals(404))
async def remove(
    service: TheService, principal: Keeper, id: Annotated[list[str], Query(min_length=1, max_length=200)]
) -> dict[str, Any]:
    """Forget documents by their ids, and no others: not all of a file or folder of that name."""
    known = {row["id"] for row in (await service.in_thread(service.assistant.knowledge.status))["sources"]}
    if missing := sorted(set(id) - known):
        raise Refused(404, "document_not_found", f"There is no document {missing[0][:80]!r}.")
    change = await service.in_thread(lambda: service.assistant.remove(id, ids=True))
    return {"removed": list(change.removed), "passages": change.passages}


async def _read(service: Service, new: NewDocument) -> Document:
    if (new.text is None) == (new.url is None):
        raise Refused(422, "text_or_url", f"Give {new.id!r} a text or a url: one of the two.")
    text = new.text if new.text is not None else await _fetched(service, str(new.url))
    # A letter and its accent are one sign, as visitors' questions have them: programs send them in either way.
    text = unicodedata.normalize("NFC", text)
    title = unicodedata.normalize("NFC", new.title) if new.title is not None else None
    about = {"title": title, "link": new.link or new.url}
    metadata = Metadata({name: value for name, value in about.items() if value is not None})
    return Document(id=new.id, source=new.id, text=text, metadata=metadata)


async def _fetched(service: Service, url: str) -> str:
    private = service.settings.private_targets
    try:
        status, headers, body = await service.outside(lambda: ask("GET", url, private=private))
    except OSError as error:
        raise Refused(400, "not_fetched", f"{url[:200]!r} cannot be read: {error}.") from None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if status != 200 or kind not in _PLAIN:
        raise Refused(
            400,
            "not_fetched",
            f"{url[:200]!r} answered {status} with {kind[:80]!r}; expected 200 and a plain text or Markdown.",
        )
    text = body.decode("utf-8", "replace").replace("\x00", "")
    if not text.strip():
        raise Refused(400, "not_fetched", f"{url[:200]!r} is empty.")
    return text
