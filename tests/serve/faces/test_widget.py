"""The widget without a browser: what it weighs, what it may do, who may load it, and what its tokens are worth."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.serve.face_words import WORDS
from shoptalk.serve.faces.sheets import widget_script
from shoptalk.serve.keyring import change_keys
from tests.serve.fakes import FakeAssistant

Serve = Callable[..., TestClient]
STRANGER = ("203.0.113.5", 40000)
ORIGINS = {"alpha": "https://alpha.example", "beta": "https://beta.example"}


def packed(content: bytes) -> int:
    return len(gzip.compress(content))


def test_all_that_the_widget_loads_is_at_most_30_kilobytes_gzipped(client: TestClient) -> None:
    script = client.get("/widget.js")
    assert script.headers["content-encoding"] == "gzip" and script.headers["content-type"].startswith("text/javascript")
    for language in WORDS:
        looks = client.get(f"/widget/looks?lang={language}")
        assert packed(script.content) + packed(looks.content) <= 30_000
    assert client.get("/widget.js", headers={"Accept-Encoding": "identity"}).content == script.content
    assert client.get("/widget.js", headers={"If-None-Match": script.headers["etag"]}).status_code == 304


def test_the_widget_makes_no_markup_of_texts_and_nothing_that_a_strict_policy_forbids() -> None:
    script = widget_script()
    for name in (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(",
        'createElement("style")', 'setAttribute("style"', "cssText", "srcdoc", "DOMParser",
        "importScripts", "http://", "@import",
    ):  # fmt: skip
        assert name not in script.replace("http://www.w3.org/2000/svg", ""), name


def test_any_page_may_load_the_widget_and_read_why_it_is_refused_and_nothing_else(serve: Serve) -> None:
    client = serve(peer=STRANGER, key="the-owner", open_here=False)
    foreign = {"Origin": "https://elsewhere.example"}
    for path in ("/widget.js", "/widget/looks?lang=de"):
        response = client.get(path, headers=foreign)
        assert response.status_code == 200 and response.headers["cross-origin-resource-policy"] == "cross-origin"
        assert response.headers["access-control-allow-origin"] == foreign["Origin"]
        assert "access-control-allow-credentials" not in response.headers
    refused = client.post("/v1/widget/token", json={"site": "pk_none"}, headers=foreign)
    assert refused.status_code == 403 and refused.headers["access-control-allow-origin"] == foreign["Origin"]
    assert "shoptalk keys" in refused.json()["error"]["message"]
    assert "access-control-allow-origin" not in client.post("/v1/reply", json={"text": "x"}, headers=foreign).headers
    preflight = {**foreign, "Access-Control-Request-Method": "POST"}
    assert client.options("/v1/widget/token", headers=preflight).status_code == 204
    assert client.options("/v1/conversations", headers=preflight).status_code == 403


def test_the_widget_looks_and_speaks_as_the_owner_wants(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "logo.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", encoding="utf-8")
    assistant = FakeAssistant()
    texts = {"face.send": "Go", "face.person.de": "Mensch!"}
    colours = {"accent": "#7a0b2e", "dark_background": "#000000"}
    assistant.settings = AssistantSettings(name="Acme", tone="formal", logo="logo.svg", colours=colours, texts=texts)
    client = serve(assistant)
    looks = client.get("/widget/looks?lang=de-AT,en").json()
    assert (looks["name"], looks["language"], looks["direction"]) == ("Acme", "de", "ltr")
    assert looks["words"]["send"] == "Go" and looks["words"]["person"] == "Mensch!"
    assert looks["greeting"] == "Guten Tag. Womit dürfen wir Ihnen helfen?"
    assert looks["light"]["accent"] == "#7a0b2e" and looks["dark"]["background"] == "#000000"
    assert client.get(looks["logo"]).headers["cross-origin-resource-policy"] == "cross-origin"
    assert client.get("/widget/looks?lang=ar").json()["direction"] == "rtl"
    assert client.get("/widget/looks").json()["language"] == "en"


def test_every_word_that_the_widget_shows_is_among_its_words() -> None:
    named = set(re.findall(r"\bwords\.([a-z]+)", widget_script()))
    assert named and named <= set(WORDS["en"])


class Sites:
    """Two sites, each with its own key, origin and visitors."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.owner = {"Authorization": "Bearer the-owner"}
        self.keys = {name: self.put(name, [origin])["public_key"] for name, origin in ORIGINS.items()}

    def put(self, name: str, origins: list[str]) -> dict[str, Any]:
        body = {"id": name, "name": name, "origins": origins}
        record: dict[str, Any] = self.client.post("/v1/sites", json=body, headers=self.owner).json()
        return record

    def visit(self, name: str, *, origin: str | None = None, resume: str | None = None) -> Any:
        body = {"site": self.keys[name], "resume": resume}
        return self.client.post("/v1/widget/token", json=body, headers={"Origin": origin or ORIGINS[name]})

    def ask(self, token: str, origin: str, path: str = "/v1/conversations", **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {token}", "Origin": origin}
        return self.client.post(path, json=body or {"text": "A bicycle?"}, headers=headers)


@pytest.fixture
def sites(serve: Serve) -> Sites:
    return Sites(serve(peer=STRANGER, key="the-owner", open_here=False))


def test_a_token_is_replayed_at_no_other_site_and_from_no_other_origin(sites: Sites) -> None:
    alpha, beta = (sites.visit(name).json() for name in ORIGINS)
    begun = sites.ask(alpha["token"], ORIGINS["alpha"])
    assert begun.status_code == 202
    place = f"/v1/conversations/{begun.json()['conversation']}"
    # alpha's token, shown by a page of beta, and by one that says nothing true of itself
    for origin in (ORIGINS["beta"], "null", "https://alpha.example.evil.example", "http://alpha.example"):
        for path in ("/v1/conversations", f"{place}/messages", f"{place}/handover"):
            assert sites.ask(alpha["token"], origin, path).status_code == 401, (origin, path)
        headers = {"Authorization": f"Bearer {alpha['token']}", "Origin": origin}
        assert sites.client.get(f"{place}/events?seconds=0.01", headers=headers).status_code == 401
    # beta's own visitor finds nothing of alpha's
    assert sites.ask(beta["token"], ORIGINS["beta"], f"{place}/messages").status_code == 404
    # a site's key opens nothing from the other's origin
    assert sites.visit("alpha", origin=ORIGINS["beta"]).status_code == 403


def test_what_brings_a_visitor_back_brings_nobody_else_and_opens_nothing(sites: Sites) -> None:
    first = sites.visit("alpha").json()
    conversation = sites.ask(first["token"], ORIGINS["alpha"]).json()["conversation"]
    place = f"/v1/conversations/{conversation}/messages"
    again = sites.visit("alpha", resume=first["resume"]).json()
    assert sites.ask(again["token"], ORIGINS["alpha"], place).status_code == 202
    for resume in (first["token"], first["resume"][:-4] + "AAAA", sites.visit("beta").json()["resume"], "x"):
        other = sites.visit("alpha", resume=resume).json()
        assert sites.ask(other["token"], ORIGINS["alpha"], place).status_code == 404
    stolen = sites.visit("beta", resume=first["resume"]).json()
    assert sites.ask(stolen["token"], ORIGINS["beta"], place).status_code == 404
    assert sites.ask(first["resume"], ORIGINS["alpha"], place).status_code == 401


def test_a_token_is_worth_nothing_once_its_origin_is_taken_from_the_site(sites: Sites) -> None:
    token = sites.visit("alpha").json()["token"]
    sites.put("alpha", ["https://new.example"])
    assert sites.ask(token, ORIGINS["alpha"]).status_code == 401
    assert sites.visit("alpha").status_code == 403


def test_an_origin_that_is_added_from_the_command_line_works_at_once(sites: Sites, tmp_path: Path) -> None:
    new = "https://new.example"
    assert sites.visit("alpha", origin=new).status_code == 403
    change_keys(tmp_path, None, add=None, scopes=(), revoke=None, site="alpha", origins=[ORIGINS["alpha"], new])
    token = sites.visit("alpha", origin=new).json()["token"]
    preflight = {"Origin": new, "Access-Control-Request-Method": "POST"}
    assert sites.client.options("/v1/conversations", headers=preflight).status_code == 204
    begun = sites.ask(token, new)
    assert begun.status_code == 202 and begun.headers["access-control-allow-origin"] == new
