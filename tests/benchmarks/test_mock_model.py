import asyncio
from collections.abc import Sequence

import pytest
from benchmarks.mock_model import Knobs, MockModel, knobs_of

from shoptalk.assistant.assistant_settings import GeneratorSettings
from shoptalk.assistant.document_facts import DocumentFacts
from shoptalk.assistant.generator import Generator
from shoptalk.assistant.ground import ground
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import Passage, Span

TEXT = "A bicycle costs 4 crowns on all three lines."
FOUND = [
    Found(0, Passage("d", "Tariffs", "", 0, 44, TEXT, (Span(0, 44, TEXT, 1),), DocumentFacts()), 1.0, 1.0, 1.0),
]


def test_the_mock_s_knobs_are_in_its_name() -> None:
    assert knobs_of("mock-first-300ms-words-40") == Knobs(0.3, 40, 0.0)
    assert knobs_of("mock-first-0ms-words-5-fails-10") == Knobs(0.0, 5, 0.1)
    with pytest.raises(ValueError, match="is no mock"):
        knobs_of("gpt")


def test_what_the_mock_says_passes_the_gate_and_its_failures_are_failures() -> None:
    async def asked(name: str, question: str, found: Sequence[Found]) -> tuple[str | None, MockModel]:
        model = MockModel()
        async with model.listening() as address:
            generator = Generator(
                GeneratorSettings(model=name, base_url=address, retries=0), name="Harbour", sentences=3
            )
            return await asyncio.to_thread(generator.words, question, found), model

    words, _ = asyncio.run(asked("mock-first-1ms-words-40", "How much is a bicycle?", FOUND))
    assert words is not None and ground(words, FOUND).sentences[0].text == TEXT
    short, _ = asyncio.run(asked("mock-first-1ms-words-3", "How much?", FOUND))
    assert short == "A bicycle costs [1]"
    nothing, model = asyncio.run(asked("mock-first-1ms-words-3-fails-100", "How much?", FOUND))
    assert nothing is None and (model.asked, model.failed) == (1, 1)
