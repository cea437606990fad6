"""Logging in and out, and who may not."""

import httpx
import pytest

from postroom_testing.core import PASSWORD
from postroom_testing.rest_client import Connect, RestClient


async def test_a_session_says_whose_it_is(guest: RestClient) -> None:
    who = await guest.ask("GET", "/session")
    assert who["address"] == guest.address


async def test_a_session_tells_when_it_ends(guest: RestClient) -> None:
    session = await guest.ask("POST", "/session", 201, json={"address": guest.address, "password": PASSWORD})
    assert session["token"]
    assert session["expires_at"].endswith("Z")


@pytest.mark.parametrize("address", ["ann@postroom.test", "nobody@postroom.test", "no address"])
async def test_a_wrong_password_and_an_unknown_address_are_refused_alike(
    anonymous: RestClient, address: str
) -> None:
    credentials = {"address": address, "password": "wrong"}
    assert await anonymous.problem("POST", "/session", 401, json=credentials) == "invalid-credentials"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer nonsense", "Basic YTpi", "Bearer " + "x" * 5000])
async def test_nothing_is_told_without_a_token(anonymous: RestClient, header: str) -> None:
    headers = {"Authorization": header}
    assert await anonymous.problem("GET", "/mailboxes", 401, headers=headers) == "invalid-credentials"
    response = await anonymous.http.get("/api/v1/mailboxes", headers=headers)
    assert response.headers["www-authenticate"].startswith("Bearer")


async def test_an_ended_session_is_over(carol: RestClient) -> None:
    await carol.ask("DELETE", "/session", 204)
    assert await carol.problem("GET", "/session", 401) == "capability-expired"


async def test_a_user_is_no_administrator(guest: RestClient) -> None:
    assert await guest.problem("GET", "/admin/accounts", 401) == "invalid-credentials"


async def test_the_administrator_is_no_user(admin: RestClient) -> None:
    assert await admin.problem("GET", "/mailboxes", 401) == "invalid-credentials"


async def test_passwords_with_nul_and_lone_surrogates_are_refused(anonymous: RestClient) -> None:
    for password in (r"\u0000", r"\ud800"):
        body = f'{{"address": "ann@postroom.test", "password": "{password}"}}'
        headers = {"Content-Type": "application/json"}
        response = await anonymous.http.post("/api/v1/session", content=body, headers=headers)
        assert response.status_code == 422, response.text


async def test_too_many_wrong_passwords_end_the_patience(anonymous: RestClient, connect: Connect) -> None:
    victim = await connect("victim")
    credentials = {"address": victim.address, "password": "wrong"}
    answers: list[httpx.Response] = []
    for _ in range(12):
        answers.append(await anonymous.http.post("/api/v1/session", json=credentials))  # noqa: PERF401
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].json()["type"] == "urn:postroom:problem:too-many-attempts"
