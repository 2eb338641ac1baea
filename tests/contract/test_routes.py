"""Every address says who may call it, and means it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.gateway.app import routes
from appliance.gateway.box import Box as Parts
from appliance.gateway.endpoints import ENDPOINTS
from appliance.http.routes import Access, Route
from appliance.identity.app import Threads
from appliance.identity.app import routes as sign_on_routes
from appliance.identity.services import Services
from tests.support.box import Box, bodies
from tests.support.sign_on import SignOn

# `routes` only hands the box on to its handlers, so an empty one is enough to read the table.
TABLE: tuple[Route, ...] = routes(object.__new__(Parts))

# The least number of routes there has ever been since: raise it with each route, so that none is lost unseen.
ROUTES = 24

_NO_THREAD = object.__new__(ThreadPoolExecutor)
SIGN_ON: tuple[Route, ...] = sign_on_routes(object.__new__(Services), Threads(_NO_THREAD, _NO_THREAD, _NO_THREAD))
SIGN_ON_ROUTES = 38

# What a holder of a key is told who asks with nothing at hand, where that is an error.
NOT_READY = {
    ("POST", "/v1/files"): "form-unreadable",
    ("GET", "/v1/files/chat"): "file-not-found",
    ("DELETE", "/v1/files/chat"): "file-not-found",
    ("GET", "/v1/files/chat/content"): "file-not-found",
    ("POST", "/v1/batches"): "field-missing",
    ("GET", "/v1/batches/chat"): "batch-not-found",
    ("POST", "/v1/batches/chat/cancel"): "batch-not-found",
}


def test_no_route_is_lost_and_a_new_one_is_counted() -> None:
    assert len(TABLE) == ROUTES
    assert len({(route.method, route.path) for route in TABLE}) == ROUTES


def test_every_route_says_who_may_call_it() -> None:
    assert {type(route.access) for route in TABLE} == {Access}
    assert {route.path for route in TABLE if route.access is Access.ANYBODY} == {"/health", "/ready", "/openapi.json"}


def test_a_route_for_key_holders_answers_nobody_else(served_all: Box) -> None:
    for route in TABLE:
        path = route.path.replace("{id}", "chat")
        body = bodies().get(path, {}) if route.method == "POST" else None
        status, headers, said = served_all.request(route.method, path, body, None)
        if route.access is Access.ANYBODY:
            assert status == 200, path
            continue
        assert status == 401, path
        assert said["error"]["code"] == "key-missing", path
        assert headers["www-authenticate"] == "Bearer"
        status, _, said = served_all.request(route.method, path, body, "apl-made-up")
        assert (status, said["error"]["code"]) == (401, "key-refused"), path
    key = served_all.key()
    for route in TABLE:
        path = route.path.replace("{id}", "chat")
        body = bodies().get(path, {}) if route.method == "POST" else None
        status, _, said = served_all.request(route.method, path, body, key)
        if (route.method, path) in NOT_READY:
            assert said["error"]["code"] == NOT_READY[route.method, path], path
        else:
            assert status == 200, path
    assert len(served_all.rows()) == sum(one.on_record for one in ENDPOINTS)


def test_no_route_of_sign_on_is_lost_and_each_says_who_may_call_it() -> None:
    assert len(SIGN_ON) == SIGN_ON_ROUTES
    assert len({(route.method, route.path) for route in SIGN_ON}) == SIGN_ON_ROUTES
    assert {type(route.access) for route in SIGN_ON} == {Access}
    assert Access.KEY not in {route.access for route in SIGN_ON}


def test_a_route_of_sign_on_means_what_it_says(sign_on: SignOn) -> None:
    for route in SIGN_ON:
        form: dict[str, str] | None = {} if route.method == "POST" else None
        said = sign_on.ask(route.method, route.path.replace("{id}", "none"), form)
        if route.access in (Access.CLIENT, Access.BEARER):
            assert said.status in (400, 401), route.path
            assert said.json["error"], route.path
        if route.access is Access.SIGNED_IN:
            # A form without its token is refused before anything is looked at.
            assert (said.status, said.headers.get("location", "")[:8]) in ((303, "/sign-in"), (403, "")), route.path


@pytest.mark.parametrize("route", (*TABLE, *SIGN_ON), ids=lambda route: str(route.path))
def test_a_route_has_words_for_the_manual(route: Route) -> None:
    handler = getattr(route.handler, "func", route.handler)
    assert route.about or handler.__doc__
