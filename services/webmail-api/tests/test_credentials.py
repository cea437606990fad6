"""App passwords and SCRAM over REST."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from postroom_testing.core import PASSWORD
from postroom_testing.rest_client import Connect, RestClient

OWN = "/account/app-passwords"
LAPTOP = {"name": "laptop", "scopes": ["imap", "api"]}


@pytest.fixture
async def carol(connect: Connect) -> RestClient:
    """Somebody whose credentials are hers alone."""
    return await connect()


async def test_an_app_password_is_shown_once_and_ends_when_it_is_deleted(
    carol: RestClient, anonymous: RestClient
) -> None:
    made = await carol.ask("POST", OWN, 201, json=LAPTOP)
    password = made.pop("password")
    assert re.fullmatch(r"([a-z2-7]{5}-){3}[a-z2-7]{5}", password)
    assert (await carol.ask("GET", OWN))["items"] == [made]
    assert made["scopes"] == ["api", "imap"]
    credentials = {"address": carol.address, "password": password}
    session = await anonymous.ask("POST", "/session", 201, json=credentials)
    headers = {"Authorization": f"Bearer {session['token']}"}
    await anonymous.ask("GET", "/mailboxes", headers=headers)
    assert await anonymous.problem("GET", OWN, 403, headers=headers) == "not-permitted"
    assert await anonymous.problem("POST", OWN, 403, headers=headers, json=LAPTOP) == "not-permitted"
    await carol.ask("DELETE", f"{OWN}/{made['id']}", 204)
    assert await anonymous.problem("POST", "/session", 401, json=credentials) == "invalid-credentials"
    assert await carol.problem("DELETE", f"{OWN}/{made['id']}", 404) == "app-password-not-found"
    assert (await carol.ask("GET", OWN))["items"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"scopes": []},
        {"scopes": ["admin"]},
        {"scopes": ["submission"]},
        {"expires_at": "2027-01-01T00:00:00"},
        {"password": "mine"},
    ],
)
async def test_what_cannot_be_an_app_password_is_refused(carol: RestClient, wrong: dict[str, Any]) -> None:
    assert await carol.problem("POST", OWN, 422, json=LAPTOP | wrong) == "invalid-request"


async def test_an_app_password_may_have_an_end(carol: RestClient, anonymous: RestClient) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    made = await carol.ask("POST", OWN, 201, json={**LAPTOP, "expires_at": past})
    credentials = {"address": carol.address, "password": made["password"]}
    assert await anonymous.problem("POST", "/session", 401, json=credentials) == "invalid-credentials"


async def test_administrators_make_and_end_those_of_any_account(admin: RestClient, carol: RestClient) -> None:
    path = f"/admin/accounts/{carol.address}/app-passwords"
    made = await admin.ask("POST", path, 201, json=LAPTOP)
    assert made.pop("password")
    assert (await admin.ask("GET", path))["items"] == [made] == (await carol.ask("GET", OWN))["items"]
    assert await carol.problem("GET", path, 401) == "invalid-credentials"
    await admin.ask("DELETE", f"{path}/{made['id']}", 204)
    nobody = f"/admin/accounts/{secrets.token_hex(4)}@postroom.test/app-passwords"
    assert await admin.problem("GET", nobody, 404) == "account-not-found"
    assert await admin.problem("DELETE", f"{path}/x", 404) == "app-password-not-found"


async def test_scram_is_switched_on_by_whoever_has_the_password(carol: RestClient) -> None:
    assert await carol.ask("GET", "/account/scram") == {"enabled": False}
    wrong = {"password": "not it"}
    assert await carol.problem("PUT", "/account/scram", 401, json=wrong) == "invalid-credentials"
    right = {"password": PASSWORD}
    assert await carol.ask("PUT", "/account/scram", json=right) == {"enabled": True}
    assert await carol.ask("GET", "/account/scram") == {"enabled": True}
    await carol.ask("DELETE", "/account/scram", 204)
    assert await carol.ask("GET", "/account/scram") == {"enabled": False}


async def test_administrators_switch_scram_on_for_a_password_that_they_know(
    admin: RestClient, carol: RestClient
) -> None:
    path = f"/admin/accounts/{carol.address}/scram"
    assert await admin.problem("PUT", path, 401, json={"password": "not it"}) == "invalid-credentials"
    assert await admin.ask("PUT", path, json={"password": PASSWORD}) == {"enabled": True}
    assert await admin.ask("GET", path) == await carol.ask("GET", "/account/scram") == {"enabled": True}
    await admin.ask("DELETE", path, 204)
    assert await carol.ask("GET", "/account/scram") == {"enabled": False}
