"""Nobody reads another's rows: all routes, all roles, two sites. And who may come in at all."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.errors import InputError
from shoptalk.serve.access import address_of, check_binding, from_this_machine, web_origin
from shoptalk.serve.keyring import change_keys
from shoptalk.serve.service_settings import ServeSettings
from tests.serve.fakes import FakeAssistant, FakeTranslator
from tests.serve.picture_addresses import address

STRANGER = ("203.0.113.5", 40000)
SITES = ("alpha", "beta")
ORIGINS = {"alpha": "https://alpha.example", "beta": "https://beta.example"}
SECRET = "planted-secret"


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@dataclass
class World:
    """Two sites with everything that a site may hold, and everybody who may knock."""

    client: TestClient
    roles: dict[str, dict[str, str]]
    """By "role site", such as "agent alpha": the headers that they send."""
    names: dict[str, dict[str, str]]
    """Per site what stands in a path's place: conversation, message, key and so on."""


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from shoptalk.serve.application import create_app
    from shoptalk.serve.database import Database, sqlite_url
    from shoptalk.serve.service import Service
    from shoptalk.serve.service_settings import ServeSettings

    folder = tmp_path_factory.mktemp("two-sites")
    settings = ServeSettings(turn_seconds=0.0, per_visitor=100_000, per_address=100_000)
    assistant = FakeAssistant()
    assistant.settings = AssistantSettings(name="Harbour", pictures="runs/pictures")
    service = Service(
        folder,
        Database(sqlite_url(folder / "serve.db")),
        assistant,
        settings,
        key="the-owner",
        translator=FakeTranslator(),
    )
    with TestClient(create_app(service), base_url="https://shop.example", client=STRANGER) as client:
        owner = bearer("the-owner")
        roles: dict[str, dict[str, str]] = {"nobody": {}, "wrong key": bearer("st_wrong"), "owner": owner}
        names: dict[str, dict[str, str]] = {}
        for site in SITES:
            made = client.post("/v1/sites", json={"id": site, "name": site, "origins": [ORIGINS[site]]}, headers=owner)
            for scope in ("chat", "agent", "knowledge", "admin"):
                body = {"name": f"{scope}-{site}", "scopes": [scope]}
                key = client.post(f"/v1/sites/{site}/keys", json=body, headers=owner).json()
                roles[f"{scope} {site}"] = bearer(key["key"])
            origin = {"Origin": ORIGINS[site]}
            for who in ("visitor", "other"):
                token = client.post("/v1/widget/token", json={"site": made.json()["public_key"]}, headers=origin).json()
                roles[f"{who} {site}"] = {**bearer(token["token"]), **origin}
            names[site] = plant(client, site, roles, key["id"])
        yield World(client, roles, names)


def plant(client: TestClient, site: str, roles: dict[str, dict[str, str]], key: str) -> dict[str, str]:
    visitor, admin = roles[f"visitor {site}"], roles[f"admin {site}"]
    answer = client.post("/v1/reply", json={"text": f"A bicycle? {SECRET} {site}"}, headers=visitor).json()
    place = f"/v1/conversations/{answer['conversation']}"
    lead = {"name": f"{SECRET} {site}", "email": f"{SECRET}@{site}.example", "consent": True}
    assert client.post(f"{place}/lead", headers=visitor, json=lead).status_code == 201
    client.post("/v1/reply", json={"text": f"a unicorn {SECRET} {site}"}, headers=visitor)
    assert client.post(f"{place}/handover", json={"note": f"{SECRET} {site}"}, headers=visitor).status_code == 200
    hook = {"url": f"https://93.184.215.14/{SECRET}-{site}", "events": ["reply.sent"]}
    made = client.post("/v1/webhooks", json=hook, headers=admin)
    assert made.status_code == 201, made.text
    shown = client.post("/v1/reply", json={"text": "A bicycle?", "picture": address()}, headers=visitor).json()
    thread = client.get(f"/v1/conversations/{shown['conversation']}", headers=visitor).json()
    return {
        "conversation": answer["conversation"],
        "message": answer["message"],
        "key": key,
        "webhook": made.json()["id"],
        "person": f"{SECRET}@{site}.example",
        "response": "resp_" + answer["message"],
        "site": site,
        "picture": thread["messages"][0]["picture"],
    }


PLACES = {
    "/v1/conversations/{id}": "conversation",
    "/v1/messages/{id}": "message",
    "/v1/responses/{id}": "response",
    "/v1/keys/{id}": "key",
    "/v1/webhooks/{id}": "webhook",
    "/v1/people/{person}": "person",
    "/v1/sites/{id}": "site",
    "/v1/dead-letters/{id}": "message",
    "/v1/models/{name}": "site",
    "/v1/knowledge/{id}": "site",
    "/v1/pictures/{id}": "picture",
}
BODIES: dict[str, Any] = {
    "/v1/conversations/{id}/handover": {},
    "/v1/conversations/{id}/assign": {"agent": "someone"},
    "/v1/conversations/{id}/lead": {"name": "n", "email": "a@b.example", "consent": True},
    "/v1/messages/{id}/feedback": {"thumbs": "up"},
    "/v1/sites/{id}/keys": {"name": "k", "scopes": ["admin"]},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "A bicycle?"}]},
    "/v1/responses": {"input": "A bicycle?"},
    "/v1/embeddings": {"input": "A bicycle?"},
    "/v1/sites": {"id": "gamma", "name": "gamma"},
    "/v1/keys": {"name": "k", "scopes": ["chat"]},
    "/v1/webhooks": {"url": "https://93.184.215.14/", "events": ["reply.sent"]},
    "/v1/knowledge": {"documents": [{"id": "d", "title": "t", "text": "text"}]},
    "/v1/widget/token": {"site": "none"},
}
OPEN = {"/healthz", "/readyz", "/v1/widget/token"}
PAGES = ("/v1/", "/metrics", "/healthz", "/readyz")


def routes_of(world: World) -> list[tuple[str, str]]:
    described = world.client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, ways in described.items() if path.startswith(PAGES) for method in ways]


def filled(path: str, names: dict[str, str]) -> str:
    for start, name in PLACES.items():
        if path.startswith(start):
            placeholder = path[path.index("{") : path.index("}") + 1]
            return path.replace(placeholder, names[name])
    assert "{" not in path, f"{path} is not in this test's table"
    return path


def call(world: World, method: str, path: str, names: dict[str, str], headers: dict[str, str]) -> Any:
    body = BODIES.get(path, {"text": "A bicycle?"} if method == "POST" else None)
    query = "?seconds=0.01" if path.endswith("/events") else ""
    return world.client.request(method, filled(path, names) + query, json=body, headers=headers)


def test_every_route_but_the_open_ones_is_closed_to_strangers(places: World) -> None:
    routes = routes_of(places)
    assert len(routes) > 30
    for (method, path), role in itertools.product(routes, ("nobody", "wrong key")):
        if path not in OPEN:
            response = call(places, method, path, places.names["alpha"], places.roles[role])
            assert response.status_code == 401, (method, path, role)


def test_nobody_reads_or_changes_the_rows_of_another_site(places: World) -> None:
    reading_first = sorted(routes_of(places), key=lambda route: ("GET", "POST", "DELETE").index(route[0]))
    for method, path in reading_first:
        for role, headers in places.roles.items():
            if not role.endswith(" beta"):
                continue
            response = call(places, method, path, places.names["alpha"], headers)
            assert response.status_code < 500, (method, path, role)
            assert f"{SECRET} alpha" not in response.text and f"{SECRET}@alpha" not in response.text, (
                method,
                path,
                role,
            )
            assert f"{SECRET}-alpha" not in response.text, (method, path, role)
            if "{" in path and not path.startswith(("/v1/people", "/v1/knowledge")):
                assert response.status_code in (403, 404), (method, path, role, response.status_code)
    whole = places.client.get(
        f"/v1/conversations/{places.names['alpha']['conversation']}", headers=places.roles["agent alpha"]
    ).json()
    assert whole["held_by"] == "human" and whole["agent"] is None and len(whole["messages"]) == 3


def test_a_visitor_reaches_only_their_own_conversation_and_only_what_visitors_may(places: World) -> None:
    for method, path in routes_of(places):
        if path in OPEN:
            continue
        begins = {"/v1/reply": 200, "/v1/conversations": 202}
        may = path.startswith(("/v1/conversations/", "/v1/messages/", "/v1/pictures/")) and path.rsplit("/", 1)[-1] in (
            "{id}",
            "messages",
            "events",
            "feedback",
            "lead",
            "handover",
        )
        other = call(places, method, path, places.names["alpha"], places.roles["other alpha"])
        expected = begins.get(path, 404 if may else 403)
        assert other.status_code == expected, (method, path, other.status_code)
        if not may and path not in begins:
            own = call(places, method, path, places.names["alpha"], places.roles["visitor alpha"])
            assert own.status_code == 403, (method, path)


@pytest.mark.parametrize(
    ("role", "closed"),
    [
        (
            "chat",
            ["/v1/inbox", "/v1/leads", "/v1/keys", "/v1/webhooks", "/v1/sites", "/v1/people/{person}", "/metrics"],
        ),
        ("agent", ["/v1/keys", "/v1/webhooks", "/v1/sites", "/v1/people/{person}", "/metrics", "/v1/models"]),
        ("knowledge", ["/v1/inbox", "/v1/conversations/{id}", "/v1/keys", "/v1/models", "/v1/leads"]),
        ("admin", ["/v1/sites"]),
    ],
)
def test_a_key_opens_what_its_scope_says_and_no_more(places: World, role: str, closed: list[str]) -> None:
    for path in closed:
        response = call(places, "GET", path, places.names["alpha"], places.roles[f"{role} alpha"])
        assert response.status_code == 403, path


def test_a_token_is_worth_nothing_at_another_site_or_from_another_origin(places: World) -> None:
    alpha = places.roles["visitor alpha"]
    stolen = {**alpha, "Origin": ORIGINS["beta"]}
    conversation = f"/v1/conversations/{places.names['alpha']['conversation']}"
    assert places.client.get(conversation, headers=stolen).status_code == 401
    beta = places.client.get("/v1/sites", headers=places.roles["owner"]).json()["data"][1]
    assert beta["id"] == "beta"
    replayed = {"site": beta["public_key"], "resume": alpha["Authorization"].partition(" ")[2]}
    given = places.client.post("/v1/widget/token", json=replayed, headers={"Origin": ORIGINS["beta"]}).json()
    headers = {**bearer(given["token"]), "Origin": ORIGINS["beta"]}
    assert places.client.get(conversation, headers=headers).status_code == 404  # a new visitor of beta


def test_a_visitor_comes_back_with_what_they_were_given_and_keeps_their_conversation(places: World) -> None:
    key = places.client.get("/v1/sites", headers=places.roles["owner"]).json()["data"][0]["public_key"]
    origin = {"Origin": ORIGINS["alpha"]}
    first = places.client.post("/v1/widget/token", json={"site": key}, headers=origin).json()
    own = {**bearer(first["token"]), **origin}
    conversation = places.client.post("/v1/reply", json={"text": "A bicycle?"}, headers=own).json()["conversation"]
    back = places.client.post("/v1/widget/token", json={"site": key, "resume": first["resume"]}, headers=origin).json()
    again = {**bearer(back["token"]), **origin}
    assert places.client.get(f"/v1/conversations/{conversation}", headers=again).status_code == 200
    resume_as_token = {**bearer(first["resume"]), **origin}
    assert places.client.get(f"/v1/conversations/{conversation}", headers=resume_as_token).status_code == 401


def test_a_widget_on_an_origin_that_is_not_listed_gets_no_token(places: World) -> None:
    key = places.client.get("/v1/sites", headers=places.roles["owner"]).json()["data"][0]["public_key"]
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert places.client.post("/v1/widget/token", json={"site": key}, headers=headers).status_code == 403


def test_browsers_may_call_from_listed_origins_only(places: World) -> None:
    for origin, allowed in ((ORIGINS["alpha"], True), ("https://evil.example", False)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        response = places.client.options("/v1/reply", headers=asked)
        assert (response.headers.get("access-control-allow-origin") == origin) == allowed
        assert response.status_code == (204 if allowed else 403)


def test_a_revoked_key_opens_nothing(places: World) -> None:
    admin = places.roles["admin alpha"]
    made = places.client.post("/v1/keys", json={"name": "brief", "scopes": ["chat"]}, headers=admin).json()
    assert places.client.get("/v1/models", headers=bearer(made["key"])).status_code == 200
    assert places.client.delete(f"/v1/keys/{made['id']}", headers=admin).status_code == 200
    assert places.client.get("/v1/models", headers=bearer(made["key"])).status_code == 401


def test_keys_are_kept_as_digests(places: World) -> None:
    from sqlalchemy import select

    from shoptalk.serve.rows import KeyRow

    service = places.client.app.state.service  # type: ignore[attr-defined]
    digests = service.database.read_now(lambda session: session.scalars(select(KeyRow.digest)).all())
    key = places.roles["chat alpha"]["Authorization"].partition(" ")[2]
    assert key not in digests and all(len(digest) == 64 for digest in digests)


@pytest.mark.parametrize(
    ("peer", "headers", "here"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8000"}, True),
        ("::1", {"host": "[::1]:8000"}, True),
        ("127.0.0.1", {"host": "localhost:8000", "origin": "http://localhost:8000"}, True),
        ("127.0.0.1", {"host": "evil.example"}, False),  # a name that was made to mean this machine
        ("127.0.0.1", {"host": "127.0.0.1:8000", "origin": "https://evil.example"}, False),  # another page's form
        ("127.0.0.1", {"host": "127.0.0.1:8000", "sec-fetch-site": "cross-site"}, False),
        ("127.0.0.1", {"host": "127.0.0.1:8000", "x-forwarded-for": "203.0.113.5"}, False),  # a proxy beside it
        ("203.0.113.5", {"host": "127.0.0.1:8000"}, False),
        ("127.0.0.1", {"host": "[::1"}, False),
        (None, {"host": "127.0.0.1"}, False),
    ],
)
def test_only_programs_on_this_machine_need_no_key(peer: str | None, headers: dict[str, str], here: bool) -> None:
    assert from_this_machine(peer, headers) is here


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # no proxy of ours: anybody may write that
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("127.0.0.1", ["198.51.100.1, 203.0.113.5"], "203.0.113.5"),
        ("::1", ["198.51.100.1", "203.0.113.5"], "203.0.113.5"),
        (None, ["203.0.113.5"], ""),
    ],
)
def test_a_request_is_counted_to_the_address_that_a_proxy_on_this_machine_saw(
    peer: str | None, forwarded: list[str], address: str
) -> None:
    assert address_of(peer, forwarded) == address


def test_one_visitor_behind_a_proxy_does_not_use_up_what_the_others_may_ask(
    serve: Callable[..., TestClient],
) -> None:
    client = serve(settings=ServeSettings(per_address=6))
    statuses = [client.get("/", headers={"x-forwarded-for": "198.51.100.1"}).status_code for _ in range(3)]
    assert statuses[-1] == 429
    assert client.get("/", headers={"x-forwarded-for": "198.51.100.1, 203.0.113.5"}).status_code == 200


def test_a_key_that_is_set_is_needed_on_this_machine_too(serve: Callable[..., TestClient]) -> None:
    client = serve(key="secret")
    assert client.post("/v1/reply", json={"text": "A bicycle?"}).status_code == 401
    assert client.post("/v1/reply", json={"text": "A bicycle?"}, headers=bearer("secret")).status_code == 200


@pytest.mark.parametrize("name", ["Shop", "a_b", "straße", "x" * 41, "", "a b", "shop\n"])
def test_the_command_line_and_the_api_take_the_same_names_of_sites(
    name: str, tmp_path: Path, serve: Callable[..., TestClient]
) -> None:
    with pytest.raises(InputError, match="no name for a site"):
        change_keys(tmp_path, None, add=None, scopes=(), revoke=None, site=name, origins=None)
    assert serve().post("/v1/sites", json={"id": name, "name": "x"}).status_code == 422


def test_an_origin_is_kept_as_browsers_send_it(tmp_path: Path, serve: Callable[..., TestClient]) -> None:
    given = ["https://Shop.Example:443", "http://shop.example:8080", "HTTP://[::1]:80"]
    kept = ["https://shop.example", "http://shop.example:8080", "http://[::1]"]
    assert [web_origin(origin) for origin in given] == kept
    listed = change_keys(tmp_path, None, add=None, scopes=(), revoke=None, site="shop", origins=given)
    assert [site["origins"] for site in listed["sites"] if site["id"] == "shop"] == [kept]
    made = serve().post("/v1/sites", json={"id": "shop-2", "name": "x", "origins": given}).json()
    assert made["origins"] == kept
    for wrong in ("shop.example", "https://shop.example/", "ftp://a", "https://müller.example", "https://a b"):
        with pytest.raises(InputError, match="no web origin"):
            web_origin(wrong)


def test_the_name_of_a_key_is_one_line_of_plain_signs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no name for a key"):
        change_keys(tmp_path, None, add="a b", scopes=("chat",), revoke=None, site="main", origins=None)


def test_a_public_address_without_a_key_is_refused() -> None:
    check_binding("127.0.0.1", has_key=False)
    check_binding("0.0.0.0", has_key=True)
    for host in ("0.0.0.0", "192.168.1.5", "::", "shop.example"):
        with pytest.raises(InputError, match="SHOPTALK_KEY"):
            check_binding(host, has_key=False)
