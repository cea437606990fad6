"""What is true of every request: problems in one shape, bounds, names, headers."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.traces import current_traceparent
from postroom_testing.rest_client import RestClient, Serve
from webmail_api.access import is_loopback
from webmail_api.boundary import Boundary
from webmail_api.limits import Limits

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def test_every_operation_has_a_name_and_says_what_may_go_wrong(anonymous: RestClient) -> None:
    described = (await anonymous.http.get("/api/openapi.json")).json()
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) >= 40
    for operation in operations:
        assert list(operation["responses"]["default"]["content"]) == ["application/problem+json"]
    assert "/api/v1/mailboxes/{id}/messages" in described["paths"]
    schemas = described["components"]["schemas"]
    assert {"NewMessage", "NewAttachment", "Recipient", "Problem", "Message"} <= schemas.keys()
    assert set(described["components"]["securitySchemes"]) == {"session", "administrator"}


async def test_the_start_page_loads_nothing(anonymous: RestClient) -> None:
    response = await anonymous.http.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "IMAP" in response.text
    assert "<script" not in response.text
    assert "http://" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/no-such", 404, "not-found"),
        ("PATCH", "/session", 405, "method-not-allowed"),
        ("POST", "/session", 422, "invalid-request"),
        ("GET", "/mailboxes/", 404, "not-found"),
    ],
)
async def test_refusals_have_one_shape(
    anonymous: RestClient, method: str, path: str, status: int, name: str
) -> None:
    assert await anonymous.problem(method, path, status) == name


async def test_faults_of_a_document_are_pointed_at_without_repeating_it(anonymous: RestClient) -> None:
    wrong = {"address": "a@b", "passwort": "my secret"}
    response = await anonymous.http.post("/api/v1/session", json=wrong)
    assert response.status_code == 422
    assert {fault["pointer"] for fault in response.json()["errors"]} == {"body/password", "body/passwort"}
    assert "my secret" not in response.text


async def test_answers_carry_a_request_id_and_protection(anonymous: RestClient) -> None:
    response = await anonymous.http.get("/api/v1/session", headers={"X-Request-Id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    response = await anonymous.http.get("/", headers={"X-Request-Id": 'bad"id'})
    assert response.headers["x-request-id"] not in {"", 'bad"id'}


async def test_documents_that_are_too_large_are_refused(anonymous: RestClient) -> None:
    large = {"address": "x" * 2_000_000, "password": ""}
    assert await anonymous.problem("POST", "/session", 413, json=large) == "content-too-large"

    async def unannounced() -> AsyncGenerator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    headers = {"Content-Type": "application/json"}
    wrong = await anonymous.problem("POST", "/session", 413, content=unannounced(), headers=headers)
    assert wrong == "content-too-large"


async def test_messages_that_are_too_large_are_refused(serve: Serve, guest_token: str) -> None:
    url = f"http://127.0.0.1:{(await serve(message_octets=100_000))['http']}"
    headers = {"Authorization": f"Bearer {guest_token}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http:
        # More than the document may have, and more than the message in it may have.
        for size in (1_400_000, 120_000):
            message = {"to": [{"address": "ann@postroom.test"}], "text": "x" * size}
            wrong = await RestClient(http).problem("POST", "/messages", 413, json=message)
            assert wrong == "content-too-large"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.6", False),  # a sidecar's
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("2001:db8::1", False),
        ("", False),
        ("127.0.0.1.example", False),
    ],
)
def test_only_this_machine_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def _bounded(scope: Scope) -> int:
    return 1_000


def _unbounded(scope: Scope) -> None:
    return None


@contextlib.asynccontextmanager
async def guarded(app: Any, **options: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of an application behind the boundary."""
    values: dict[str, Any] = {"max_requests": 10, "body_bound": _bounded}
    boundary = Boundary(app, lifecycle=Lifecycle(), **(values | options))
    transport = httpx.ASGITransport(boundary)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_an_unknown_error_is_an_incident_without_its_text() -> None:
    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a secret of the house")

    async with guarded(fail) as client:
        response = await client.get("/")
    assert response.status_code == 500
    document = response.json()
    assert document["type"] == "urn:postroom:problem:internal"
    assert len(document["incident"]) == 16
    assert "secret" not in response.text


async def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    async with guarded(hang, limits=Limits(answer_seconds=0.05)) as client:
        response = await client.get("/")
    assert response.status_code == 503
    assert int(response.headers["retry-after"]) > 0


async def test_a_transfer_may_take_its_time() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await PlainTextResponse("done")(scope, receive, send)

    limits = Limits(answer_seconds=0.02)
    async with guarded(slow, limits=limits, body_bound=_unbounded) as client:
        assert (await client.get("/")).text == "done"


async def test_an_answer_that_has_begun_may_take_its_time() -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"a"
        await asyncio.sleep(0.1)
        yield b"b"

    async with guarded(StreamingResponse(pieces()), limits=Limits(answer_seconds=0.05)) as client:
        assert (await client.get("/")).text == "ab"


async def test_more_requests_than_the_bound_are_refused() -> None:
    going, go_on = asyncio.Event(), asyncio.Event()

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        going.set()
        await go_on.wait()
        await PlainTextResponse("done")(scope, receive, send)

    async with guarded(wait, max_requests=1) as client:
        first = asyncio.ensure_future(client.get("/"))
        await going.wait()
        refused = await client.get("/")
        go_on.set()
        assert (await first).text == "done"
        assert (refused.status_code, refused.json()["type"]) == (503, "urn:postroom:problem:overloaded")
        assert (await client.get("/")).text == "done"


async def test_a_client_that_stops_sending_is_given_up() -> None:
    answers: list[Message] = []

    async def read(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    async def send(message: Message) -> None:
        answers.append(message)

    boundary = Boundary(
        read,
        lifecycle=Lifecycle(),
        max_requests=1,
        body_bound=_bounded,
        limits=Limits(receive_seconds=0.05),
    )
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"host", b"test")]}
    await boundary(scope, receive, send)
    assert answers[0]["status"] == 408


@pytest.mark.parametrize(("given", "kept"), [(TRACE, True), ("nonsense", False)])
async def test_a_trace_goes_on(given: str, kept: bool) -> None:
    seen: list[str | None] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(current_traceparent())
        await PlainTextResponse("")(scope, receive, send)

    async with guarded(look) as client:
        await client.get("/", headers={"traceparent": given})
    assert (seen == [TRACE]) is kept
    assert seen[0] is not None


async def test_an_answer_that_fails_midway_is_not_completed() -> None:
    answers: list[Message] = []

    async def fail(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ZeroDivisionError

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        answers.append(message)

    boundary = Boundary(fail, lifecycle=Lifecycle(), max_requests=1, body_bound=_bounded)
    await boundary({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    assert [answer.get("body") for answer in answers] == [None, b"half"]
    assert answers[-1]["more_body"]
