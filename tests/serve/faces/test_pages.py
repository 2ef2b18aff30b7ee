"""The page and the inbox as HTML, without a browser: what they hold, who may send their forms, and what is escaped."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.errors import ConfigError
from shoptalk.serve.face_words import WORDS, language_among
from shoptalk.serve.faces.looks import READABLE, Looks, contrast
from tests.serve.fakes import FakeAssistant

Serve = Callable[..., TestClient]
HERE = {"Origin": "http://127.0.0.1:8000"}
NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}"


class Elements(HTMLParser):
    """All start tags with their attributes; complains of inline scripts, styles and foreign addresses."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [held for name, held in self.elements if name == tag and wanted.items() <= held.items()]


def fields(html: str, action: str) -> dict[str, str]:
    form = html.partition(f'action="{action}"')[2].partition("</form>")[0]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def ask(client: TestClient, text: str) -> str:
    sent = client.post("/ask", data={**fields(client.get("/").text, "/ask"), "text": text}, headers=HERE)
    assert sent.status_code == 200, sent.text
    return sent.text


def test_a_question_is_asked_and_answered_without_any_script(client: TestClient) -> None:
    first = client.get("/").text
    assert "Hello! What would you like to know?" in first
    page = ask(client, "How much is a bicycle?")
    assert "A bicycle travels for 4 euros." in page and "Tariff · Bicycles" in page
    assert "House rules" not in page  # read, and not used
    assert "A bicycle travels for 4 euros." in client.get("/").text  # it is there after a reload
    assert "4 euros" not in client.get("/?new=1").text


def test_a_form_that_is_sent_twice_is_one_message(client: TestClient) -> None:
    form = {**fields(client.get("/").text, "/ask"), "text": "A bicycle?"}
    for _ in range(2):
        page = client.post("/ask", data=form, headers=HERE).text
    assert page.count('data-role="visitor"') == 1 and page.count('data-role="assistant"') == 1


def test_thumbs_with_a_reason_are_kept_without_any_script(client: TestClient) -> None:
    page = ask(client, "A bicycle?")
    form = {**fields(page, "/feedback"), "thumbs": "down", "reason": "outdated", "correction": "5 euros"}
    thanked = client.post("/feedback", data=form, headers=HERE)
    assert "Thank you for telling us." in thanked.text
    person = re.findall(r"conv_\w+", thanked.text)[0]
    visitor = client.app.state.service.database.read_now(  # type: ignore[attr-defined]
        lambda session: session.connection().exec_driver_sql("SELECT reason, correction FROM feedback").all()
    )
    assert [tuple(row) for row in visitor] == [("outdated", "5 euros")] and person


def test_a_person_is_asked_for_and_answers_in_the_page(client: TestClient) -> None:
    form = fields(client.get("/").text, "/person")
    page = client.post("/person", data=form, headers={**HERE, "Accept-Language": "de"}).text
    assert "Ich gebe das an einen Menschen weiter." in page
    desk = client.get("/inbox").text
    thread = re.findall(r'href="(/inbox/conv_\w+)"', desk)[0]
    held = client.get(thread).text
    assert "Waits for a person" in held and "It is 4 euros." in held  # a suggested reply
    assert "It is 4 euros.</textarea>" in client.get(f"{thread}?draft=1").text
    for action, data in (("take", {}), ("reply", {"text": "I am here now."}), ("release", {})):
        response = client.post(f"{thread}/{action}", data={**fields(held, f"{thread}/take"), **data}, headers=HERE)
        assert response.status_code == 200, response.text
    page = client.get("/").text
    assert "I am here now." in page and "Sie sprechen wieder mit dem Assistenten" in page


def test_an_agent_steps_in_and_the_visitor_is_told(client: TestClient) -> None:
    page = ask(client, "A bicycle?")
    thread = f"/inbox/{re.findall(r'conv_[0-9a-f]+', page)[0]}"
    form = fields(client.get(thread).text, f"{thread}/take")
    assert "<b>owner</b> has this conversation" in client.post(f"{thread}/take", data=form, headers=HERE).text
    assert "A colleague has joined this conversation" in client.get("/").text


def test_why_it_said_this_goes_from_the_turns_to_the_report(serve: Serve, tmp_path: Path) -> None:
    client = serve()
    (tmp_path / "report.html").write_text("<p>The report</p>", encoding="utf-8")
    (tmp_path / "verdict.json").write_text('{"sentence": "Keep the base model."}', encoding="utf-8")
    page = ask(client, "How much is a bicycle?")
    thread = client.get(f"/inbox/{re.findall(r'conv_[0-9a-f]+', page)[0]}").text
    why = client.get(re.findall(r'href="(/inbox/why/msg_\w+)"', thread)[0]).text
    for step in (
        "How much is a bicycle?", "supported", "extractive", "0.90", "Tariff · Bicycles", "House rules · Dogs", "0.200",
        "run1", "encoder1", "index1", "Keep the base model.", "/inbox/report",
    ):  # fmt: skip
        assert step in why, step
    report = client.get("/inbox/report")
    assert report.text == "<p>The report</p>" and report.headers["content-security-policy"].startswith("sandbox")


@pytest.mark.parametrize("path", ["/", "/inbox", "/inbox/sign-in", "/no/such/page"])
def test_pages_have_no_inline_script_or_style_and_load_from_here_alone(client: TestClient, path: str) -> None:
    response = client.get(path, headers={"Accept": "text/html"})
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy and "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    page = Elements(response.text)
    for tag, held in page.elements:
        assert not [name for name in held if name == "style" or name.startswith("on")], (tag, held)
        for name in ("src", "href", "action"):
            assert (held.get(name) or "/").startswith(("/", "#")), (tag, held)
        assert tag != "style" and (tag != "script" or held["src"])
    assert page.all("html")[0]["lang"] and page.all("meta", name="viewport")
    assert len(page.all("h1")) == 1 and len(page.all("main")) == 1
    ids = [held["id"] for _, held in page.elements if "id" in held]
    assert len(ids) == len(set(ids))


def test_whatever_is_written_stands_on_the_pages_as_text(client: TestClient) -> None:
    page = ask(client, f"{NASTY} bicycle")
    thread = client.get(f"/inbox/{re.findall(r'conv_[0-9a-f]+', page)[0]}").text
    why = client.get(re.findall(r'href="(/inbox/why/msg_\w+)"', thread)[0]).text
    for html in (page, thread, why, client.get("/inbox").text):
        assert "&lt;script&gt;alert(1)" in html and "<script>alert" not in html and "{{7*7}}" in html
        assert not Elements(html).all("img", src="x")


def test_a_source_links_to_web_pages_and_to_nothing_else() -> None:
    from shoptalk.serve.faces.sheets import safe_link

    assert safe_link("https://a.example/x") == "https://a.example/x"
    for link in (
        None,
        "",
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//a.example",
        "http://[x",
    ):
        assert safe_link(link) is None


@pytest.mark.parametrize("action", ["/ask", "/person", "/feedback", "/inbox/{}/take", "/inbox/{}/close"])
def test_forms_of_other_sites_and_of_other_sessions_are_refused(serve: Serve, action: str) -> None:
    client = serve()
    page = ask(client, "A bicycle?")
    conversation = re.findall(r"conv_[0-9a-f]+", page)[0]
    action = action.format(conversation)
    right = {**fields(page, "/ask"), "text": "forged words", "message": "", "thumbs": "up"}
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {**HERE, "Sec-Fetch-Site": "cross-site"}):
        assert client.post(action, data=right, headers=headers, follow_redirects=False).status_code in (401, 403)
    wrong = {**right, "sign": "0" * 64}
    assert client.post(action, data=wrong, headers=HERE, follow_redirects=False).status_code == 403
    assert client.post(action, data={}, headers=HERE, follow_redirects=False).status_code in (403, 422)
    assert "forged words" not in client.get("/").text


def test_a_visitor_sees_no_conversation_but_their_own(serve: Serve) -> None:
    client, other = serve(), serve()
    conversation = re.findall(r"conv_[0-9a-f]+", ask(client, "A bicycle?"))[0]
    other.get("/")
    assert "4 euros" not in other.get("/").text
    assert other.get(f"/events?conversation={conversation}&seconds=0.01").status_code == 404
    form = {**fields(other.get("/").text, "/ask"), "text": "mine", "conversation": conversation}
    assert other.post("/ask", data=form, headers=HERE).status_code == 404
    forged = client.cookies["shoptalk_visitor"][:-4] + "AAAA"
    other.cookies.set("shoptalk_visitor", forged)
    assert "4 euros" not in other.get("/").text


def test_the_inbox_wants_a_key_for_agents_unless_one_sits_at_this_machine(serve: Serve) -> None:
    owner = {"Authorization": "Bearer the-owner"}
    client = serve(peer=("203.0.113.5", 4000), key="the-owner", open_here=False)
    for path in ("/inbox", "/inbox/conv_1", "/inbox/why/msg_1", "/inbox/report", "/inbox/events"):
        assert client.get(path, headers={"Accept": "text/html"}, follow_redirects=False).status_code == 303
        assert client.get(path, follow_redirects=False).status_code == 401
    keys = {
        scope: client.post("/v1/keys", json={"name": scope, "scopes": [scope]}, headers=owner).json()
        for scope in ("chat", "agent")
    }
    for key in ("", "st_wrong", keys["chat"]["key"]):
        assert client.post("/inbox/sign-in", data={"key": key}, headers=HERE).status_code == 403
    inside = client.post("/inbox/sign-in", data={"key": keys["agent"]["key"]}, headers=HERE)
    assert inside.status_code == 200 and "Sign out" in inside.text and 'class="small me">agent<' in inside.text
    client.delete(f"/v1/keys/{keys['agent']['id']}", headers=owner)
    assert client.get("/inbox", follow_redirects=False).status_code == 401  # a revoked key ends its sessions
    assert client.post("/inbox/sign-in", data={"key": "the-owner"}, headers=HERE).status_code == 200


def test_cookies_cannot_be_read_by_scripts_and_are_no_keys_for_each_other(serve: Serve) -> None:
    client = serve(peer=("203.0.113.5", 4000), key="the-owner", open_here=False)
    visitor = client.get("/").headers["set-cookie"]
    agent = client.post("/inbox/sign-in", data={"key": "the-owner"}, headers=HERE, follow_redirects=False)
    kept = agent.headers["set-cookie"]
    assert "HttpOnly" in visitor and "SameSite=lax" in visitor and "HttpOnly" in kept and "SameSite=strict" in kept
    client.cookies.clear()
    client.cookies.set("shoptalk_agent", visitor.partition("=")[2].partition(";")[0])
    assert client.get("/inbox", follow_redirects=False).status_code == 401


def test_a_stream_brings_the_messages_as_pieces_of_the_page(client: TestClient) -> None:
    page = ask(client, "A bicycle?")
    conversation = re.findall(r"conv_[0-9a-f]+", page)[0]
    stream = client.get(f"/events?conversation={conversation}&seconds=0.01").text
    assert stream.count("event: message") == 2 and "A bicycle travels for 4 euros." in stream
    numbers = re.findall(r"^id: (\d+)$", stream, re.M)
    rest = client.get(f"/events?conversation={conversation}&seconds=0.01", headers={"Last-Event-ID": numbers[0]}).text
    assert rest.count("event: message") == 1
    desk = client.get(f"/inbox/events?conversation={conversation}&seconds=0.01").text
    assert desk.count("event: message") == 2 and "/inbox/why/" in desk


@pytest.fixture
def drawing(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    yield "logo.svg"


def test_name_logo_colours_and_greeting_are_the_owners(serve: Serve, drawing: str) -> None:
    assistant = FakeAssistant()
    assistant.settings = AssistantSettings(
        name="Acme & Sons", greeting="Ahoy!", logo=drawing, colours={"accent": "#7a0b2e"}, texts={"face.send": "Go"}
    )
    client = serve(assistant)
    page = client.get("/").text
    assert "<h1>Acme &amp; Sons</h1>" in page and "Ahoy!" in page and ">Go</button>" in page
    logo = client.get(re.findall(r'<img class="logo" src="([^"]+)"', page)[0])
    assert logo.headers["content-type"] == "image/svg+xml" and "sandbox" in logo.headers["content-security-policy"]
    assert "--accent:#7a0b2e" in client.get("/colours.css").text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"colours": {"acent": "#fff"}}, r"assistant.colours.acent is unknown. There are: accent"),
        ({"colours": {"accent": "red;}"}}, r"expected a colour such as"),
        ({"texts": {"face.sned": "Go"}}, r"'face.sned', which is no sentence. Did you mean 'face.send'\?"),
        ({"texts": {"face.send.xx": "Go"}}, r"one of the languages en, de, fr, es, ar, or 'face.send' alone"),
        ({"logo": "logo.html"}, r"expected a file that ends in"),
        ({"logo": "none.png"}, r"cannot read"),
    ],
)
def test_looks_that_cannot_be_used_are_refused_when_the_server_starts(
    settings: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Looks.of(AssistantSettings(**settings), tmp_path)  # type: ignore[arg-type]


COLOUR = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(COLOUR, COLOUR, COLOUR)
def test_whatever_colours_the_owner_wants_everything_can_be_read(accent: str, background: str, text: str) -> None:
    colours = {"accent": accent, "background": background, "text": text}
    looks = Looks.of(AssistantSettings(colours=colours), Path())
    for palette in (looks.light, looks.dark):
        assert contrast(palette["on-accent"], palette["accent"]) >= READABLE
        for name in ("text", "muted", "accent"):
            assert contrast(palette[name], palette["panel"]) >= READABLE, name


def test_the_words_are_whole_in_every_language_and_the_reader_chooses() -> None:
    for language, words in WORDS.items():
        assert words.keys() == WORDS["en"].keys() and all(words.values()), language
    assert language_among("da, de-AT;q=0.8, en;q=0.9") == "en"
    assert language_among("de-AT,en;q=0.5") == "de" and language_among("xx;q=oops") == "en"


def test_a_language_that_is_written_from_the_right_turns_the_page(client: TestClient) -> None:
    assert '<html lang="ar" dir="rtl">' in client.get("/", headers={"Accept-Language": "ar"}).text
