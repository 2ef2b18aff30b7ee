"""`/v1/conversations/…/translation`: a thread in the agents' language, as a machine writes it."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from shoptalk.serve.asking import Agent, TheService, refusals
from shoptalk.serve.refusals import Refused
from shoptalk.serve.service import Service
from shoptalk.serve.shapes import ThreadTranslation
from shoptalk.serve.threads import conversation_of, messages_of
from shoptalk.serve.translations import MOST_CHARACTERS, within_limits

router = APIRouter(tags=["hand-over"])
Id = Annotated[str, Path(max_length=200)]


@router.get("/v1/conversations/{id}/translation", response_model=ThreadTranslation, responses=refusals(404))
async def translation(service: TheService, principal: Agent, id: Id) -> Any:
    """What the run's translator writes for each message, unverified, for agents alone: nothing of it is stored or sent.
    Of a long thread the newest messages are translated.
    """
    return await thread_translation(service, principal.site, id)


async def thread_translation(service: Service, site: str, conversation: str) -> dict[str, Any]:
    """The same for whoever may read the conversation.

    Raises:
        Refused: there is none, or no translator; or too much is being translated, or it failed.
    """

    def read(session: Any) -> list[tuple[str, str]]:
        row = conversation_of(session, site, conversation)
        return [(message.id, message.text) for message in messages_of(session, row.id) if message.text.strip()]

    messages = await service.database.read(read)
    translations = service.translations
    if translations is None:
        raise Refused(
            404, "no_translator", "This assistant translates nothing: its run has no translator that may be used."
        )
    most = max(MOST_CHARACTERS, service.settings.longest_message)
    count = within_limits([text for _, text in messages], most_characters=most)
    chosen = messages[len(messages) - count :]
    written = await translations.of([text for _, text in chosen])
    source, target = translations.languages
    return {
        "source": source,
        "target": target,
        "left_out": len(messages) - count,
        "data": [{"message": id, "text": written[text].text, "whole": written[text].whole} for id, text in chosen],
    }
