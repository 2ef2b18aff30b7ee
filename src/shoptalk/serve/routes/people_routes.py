"""A person's rights: to have what is kept about them, and to have it erased."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from shoptalk.serve.asking import Admin, TheService, refusals
from shoptalk.serve.people import erase_person, export_person

router = APIRouter(tags=["people"])
Person = Annotated[str, Path(max_length=320, description="A visitor's id, or an address that was left.")]


@router.get("/v1/people/{person}", responses=refusals())
async def export(service: TheService, principal: Admin, person: Person) -> dict[str, Any]:
    """All that is kept about a person."""
    return await service.database.read(lambda session: export_person(session, principal.site, person))


@router.delete("/v1/people/{person}", responses=refusals())
async def erase(service: TheService, principal: Admin, person: Person) -> dict[str, Any]:
    """Delete all that is kept about a person."""
    erased = await service.database.write(lambda session: erase_person(session, principal.site, person))
    if service.translations is not None:
        service.translations.forget()
    return {"erased": erased}
