"""`/healthz`, `/readyz` and `/metrics`: for those who watch the server."""

from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import text

from shoptalk.serve.asking import Admin, TheService, refusals
from shoptalk.serve.refusals import Refused

router = APIRouter(tags=["state"])


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """The process is there."""
    return {"status": "ok"}


@router.get("/readyz", responses=refusals())
async def ready(service: TheService) -> dict[str, Any]:
    """It answers: the assistant is loaded, and the database can be read and written, for every message is stored before
    it is answered. `remarks` are what its owner should know.
    """
    if service.answerer.draining:
        raise Refused(429, "stopping", "The server is about to stop.", retry_after=2.0)
    await service.database.read(lambda session: session.execute(text("SELECT 1")).scalar())
    await service.database.prove_writes()
    return {"status": "ready", "remarks": list(service.remarks)}


@router.get("/metrics", response_class=Response, responses=refusals())
async def metrics(service: TheService, principal: Admin) -> Response:
    """Counters for Prometheus."""
    service.measures.waiting.set(service.answerer.waiting)
    return Response(service.measures.page(), media_type=service.measures.content_type)
