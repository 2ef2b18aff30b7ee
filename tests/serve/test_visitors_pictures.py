"""Pictures that visitors send: stored with their message, written anew, read by nobody else."""

import base64
import io
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.serve.picture_addresses import Looking, address


@pytest.fixture
def looking(serve: Callable[..., TestClient]) -> TestClient:
    return serve(Looking())


def test_a_picture_alone_is_answered_and_shown_in_the_thread(looking: TestClient) -> None:
    answer = looking.post("/v1/reply", json={"picture": address(40)}).json()
    assert answer["text"] == "It is 40 wide. You say ''."
    record = looking.get(f"/v1/conversations/{answer['conversation']}").json()
    shown = record["messages"][0]
    assert shown["text"] == "" and shown["picture"]
    file = looking.get(f"/v1/pictures/{shown['picture']}")
    assert file.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(file.content)).size == (40, 30)


def test_words_with_a_picture_are_read_together(looking: TestClient) -> None:
    answer = looking.post("/v1/reply", json={"text": "What is this?", "picture": address()}).json()
    assert answer["text"].endswith("You say 'What is this?'.")


def test_a_picture_is_written_anew_without_what_its_file_says_beside_it(looking: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home, 48.2 N 16.4 E"
    answer = looking.post("/v1/reply", json={"picture": address(1, kind="JPEG", exif=exif.tobytes())}).json()
    record = looking.get(f"/v1/conversations/{answer['conversation']}").json()
    file = looking.get(f"/v1/pictures/{record['messages'][0]['picture']}").content
    assert b"taken at home" not in file


@pytest.mark.parametrize("kind", ["JPEG", "GIF"])
def test_a_files_comment_is_not_kept(looking: TestClient, kind: str) -> None:
    answer = looking.post("/v1/reply", json={"picture": address(1, kind=kind, comment=b"taken at home")}).json()
    record = looking.get(f"/v1/conversations/{answer['conversation']}").json()
    file = looking.get(f"/v1/pictures/{record['messages'][0]['picture']}").content
    assert b"taken at home" not in file


def test_a_comment_that_no_jpeg_can_hold_does_no_harm(looking: TestClient) -> None:
    assert looking.post("/v1/reply", json={"picture": address(kind="GIF", comment=b"x" * 70_000)}).status_code == 200


def test_a_large_picture_is_kept_small(looking: TestClient) -> None:
    answer = looking.post("/v1/reply", json={"picture": address(3000)}).json()
    assert answer["text"].startswith("It is 1024 wide.")


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_decoded(looking: TestClient) -> None:
    file = io.BytesIO()
    Image.new("1", (6_000, 6_000)).save(file, "PNG")
    assert len(file.getvalue()) < 100_000
    bomb = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    answer = looking.post("/v1/reply", json={"picture": bomb})
    assert answer.status_code == 422 and "6,000 x 6,000 pixels" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "picture",
    [
        "data:image/png;base64,AAAA",
        "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload='alert(1)'/>").decode(),
        "https://example.com/a.png",
        "data:text/html;base64,PGI+",
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_stored(looking: TestClient, picture: str) -> None:
    answer = looking.post("/v1/reply", json={"text": "Look", "picture": picture})
    assert answer.status_code == 422
    assert looking.get("/v1/inbox").json() == {"data": []}


def test_an_assistant_without_pictures_says_so(client: TestClient) -> None:
    answer = client.post("/v1/reply", json={"picture": address()})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "no_pictures_here"


def test_a_message_with_neither_words_nor_picture_is_refused(looking: TestClient) -> None:
    assert looking.post("/v1/reply", json={"text": " "}).status_code == 422
    assert looking.post("/v1/reply", json={}).status_code == 422


def test_the_same_key_with_another_picture_is_refused(looking: TestClient) -> None:
    key = {"idempotency-key": "one"}
    first = looking.post("/v1/reply", json={"picture": address(40)}, headers=key)
    assert looking.post("/v1/reply", json={"picture": address(40)}, headers=key).json() == first.json()
    assert looking.post("/v1/reply", json={"picture": address(41)}, headers=key).status_code == 409


def test_a_chat_client_sends_a_picture_as_a_part(looking: TestClient) -> None:
    parts = [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": address(40)}}]
    answer = looking.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]}).json()
    assert answer["choices"][0]["message"]["content"] == "It is 40 wide. You say 'Look'."
    parts = [{"type": "input_image", "image_url": address(40)}]
    answer = looking.post("/v1/responses", json={"input": [{"role": "user", "content": parts}]}).json()
    assert answer["output"][0]["content"][0]["text"] == "It is 40 wide. You say ''."


def test_the_last_picture_of_the_users_last_messages_is_looked_at(looking: TestClient) -> None:
    def shown(width: int) -> dict[str, object]:
        return {"role": "user", "content": [{"type": "input_image", "image_url": address(width)}]}

    def words(text: str, role: str = "user") -> dict[str, object]:
        return {"role": role, "content": text}

    def answer(*messages: dict[str, object]) -> tuple[str, str]:
        chat = looking.post("/v1/chat/completions", json={"messages": messages}).json()
        response = looking.post("/v1/responses", json={"input": messages}).json()
        return chat["choices"][0]["message"]["content"], response["output"][0]["content"][0]["text"]

    assert answer(shown(30), shown(40), words("What is it?")) == ("It is 40 wide. You say 'What is it?'.",) * 2
    assert answer(shown(40), words("Be brief", "system")) == ("It is 40 wide. You say ''.",) * 2
    assert answer(words("What is it?"), shown(40)) == ("It is 40 wide. You say ''.",) * 2
    earlier = answer(shown(40), words("A lamp", "assistant"), words("How much?"))
    assert not any("wide" in text for text in earlier), "a picture that was answered is not looked at again"


@pytest.mark.parametrize("data", ["\u0661\u0661", "\N{SNOWMAN}", "!!", "QQ", "\0"])
def test_what_a_chat_client_sends_as_data_and_is_no_base64_is_refused(looking: TestClient, data: str) -> None:
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    answer = looking.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": [part]}]})
    assert answer.status_code == 422 and "no base64" in answer.json()["error"]["message"]


def test_a_visitors_picture_is_nobody_elses(looking: TestClient, serve: Callable[..., TestClient]) -> None:
    answer = looking.post("/v1/reply", json={"picture": address()}).json()
    record = looking.get(f"/v1/conversations/{answer['conversation']}").json()
    picture = record["messages"][0]["picture"]
    assert looking.get(f"/inbox/pictures/{picture}").status_code == 200
    stranger = serve(Looking(), peer=("203.0.113.9", 5000))
    assert stranger.get(f"/v1/pictures/{picture}").status_code == 401
    assert stranger.get(f"/pictures/{picture}").status_code == 404, "the page's visitors have their own alone"
    assert stranger.get(f"/inbox/pictures/{picture}", follow_redirects=False).status_code in (303, 401)


def test_a_persons_pictures_are_exported_and_erased(looking: TestClient) -> None:
    answer = looking.post("/v1/reply", json={"picture": address(), "visitor": "ada"}).json()
    picture = looking.get(f"/v1/conversations/{answer['conversation']}").json()["messages"][0]["picture"]
    export = looking.get("/v1/people/ada").json()
    assert [row["id"] for row in export["pictures"]] == [picture]
    looking.delete("/v1/people/ada")
    assert looking.get(f"/v1/pictures/{picture}").status_code == 404
