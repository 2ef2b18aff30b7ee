"""Documents are added, listed and forgotten over the API, and fetched from public addresses only."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from shoptalk.assistant.sections import passages_of
from shoptalk.serve.routes import knowledge_routes
from tests.serve.fakes import FakeAssistant


def test_documents_are_added_replaced_listed_and_forgotten(serve: Callable[..., TestClient]) -> None:
    assistant = FakeAssistant()
    client = serve(assistant)
    document = {"id": "dogs.md", "title": "Dogs", "text": "Dogs travel free.", "link": "https://example.com/dogs"}
    assert client.post("/v1/knowledge", json={"documents": [document]}).json()["documents"] == 1
    assert client.post("/v1/knowledge", json={"documents": [document]}).json()["replaced"] == ["dogs.md"]
    assert assistant.knowledge.documents["dogs.md"].metadata["link"] == "https://example.com/dogs"
    assert [row["id"] for row in client.get("/v1/knowledge").json()["sources"]] == ["dogs.md"]
    assert client.delete("/v1/knowledge", params={"id": "cats.md"}).status_code == 404
    assert client.delete("/v1/knowledge", params={"id": "dogs.md"}).json()["removed"] == ["dogs.md"]


def test_a_document_whose_id_says_markdown_is_read_as_markdown(serve: Callable[..., TestClient]) -> None:
    assistant = FakeAssistant()
    new = {"id": "dogs.md", "text": "# Dogs\n\nDogs travel free."}
    assert serve(assistant).post("/v1/knowledge", json={"documents": [new]}).status_code == 200
    (passage,) = passages_of(assistant.knowledge.documents["dogs.md"])
    assert (passage.title, passage.text) == ("Dogs", "Dogs travel free.")


def test_a_letter_and_its_accent_are_kept_as_one_sign(serve: Callable[..., TestClient]) -> None:
    assistant = FakeAssistant()
    new = {"id": "faehre", "title": "Fa\u0308hre", "text": "Die Fa\u0308hre fa\u0308hrt um acht."}
    assert serve(assistant).post("/v1/knowledge", json={"documents": [new]}).status_code == 200
    document = assistant.knowledge.documents["faehre"]
    assert (document.metadata["title"], document.text) == ("F\u00e4hre", "Die F\u00e4hre f\u00e4hrt um acht.")


def test_a_document_has_a_text_or_an_address_and_no_way_out_of_its_name(client: TestClient) -> None:
    for document in ({"id": "a"}, {"id": "a", "text": "x", "url": "https://example.com"}, {"id": "a b", "text": "x"}):
        assert client.post("/v1/knowledge", json={"documents": [document]}).status_code == 422


@pytest.mark.parametrize("url", ["http://127.0.0.1/x.md", "http://169.254.169.254/", "http://[::ffff:10.0.0.1]/"])
def test_an_address_inside_is_not_fetched(client: TestClient, url: str) -> None:
    response = client.post("/v1/knowledge", json={"documents": [{"id": "a", "url": url}]})
    assert response.status_code == 400 and response.json()["error"]["code"] == "private_address"


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ((200, {"content-type": "text/markdown; charset=utf-8"}, b"# Dogs"), 200),
        ((200, {"content-type": "text/html"}, b"<p>Dogs"), 400),
        ((302, {"location": "http://127.0.0.1/"}, b""), 400),
        ((200, {"content-type": "text/plain"}, b" "), 400),
    ],
)
def test_only_plain_texts_that_are_there_are_taken(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, answer: object, status: int
) -> None:
    monkeypatch.setattr(knowledge_routes, "ask", lambda *_, **__: answer)
    response = client.post("/v1/knowledge", json={"documents": [{"id": "a", "url": "https://example.com/a.md"}]})
    assert response.status_code == status, response.text
