"""Administration over REST."""

import secrets

import pytest

from postroom_testing.rest_client import RestClient


@pytest.fixture
async def domain(admin: RestClient) -> str:
    name = f"d{secrets.token_hex(4)}.example"
    created = await admin.ask("POST", "/admin/domains", 201, json={"name": name})
    assert created["name"] == name
    return name


async def test_domains_come_and_go(admin: RestClient, domain: str) -> None:
    names = [each["name"] for each in (await admin.ask("GET", "/admin/domains"))["items"]]
    assert domain in names
    assert await admin.problem("POST", "/admin/domains", 409, json={"name": domain}) == "domain-exists"
    await admin.ask("DELETE", f"/admin/domains/{domain}", 204)
    assert await admin.problem("DELETE", f"/admin/domains/{domain}", 404) == "domain-not-found"
    assert await admin.problem("POST", "/admin/domains", 422, json={"name": "no domain"}) == "invalid-address"


async def test_accounts_come_change_their_password_and_go(
    admin: RestClient, domain: str, house: object
) -> None:
    address = f"dora@{domain}"
    wanted = {"address": address, "password": "first password", "display_name": "Dora"}
    created = await admin.ask("POST", "/admin/accounts", 201, json=wanted)
    assert (created["address"], created["display_name"]) == (address, "Dora")
    assert "password" not in created
    assert await admin.problem("POST", "/admin/accounts", 409, json=wanted) == "account-exists"
    assert await admin.ask("GET", f"/admin/accounts/{address}") == created
    await admin.ask("PUT", f"/admin/accounts/{address}/password", 204, json={"password": "second password"})
    old, new = ({"address": address, "password": f"{which} password"} for which in ("first", "second"))
    assert await admin.problem("POST", "/session", 401, json=old) == "invalid-credentials"
    await admin.ask("POST", "/session", 201, json=new)
    assert await admin.problem("DELETE", f"/admin/domains/{domain}", 409) == "domain-in-use"
    await admin.ask("DELETE", f"/admin/accounts/{address}", 204)
    assert await admin.problem("GET", f"/admin/accounts/{address}", 404) == "account-not-found"


async def test_a_quota_is_set_and_taken_away(admin: RestClient, domain: str) -> None:
    address = f"dora@{domain}"
    wanted = {"address": address, "password": "first password"}
    created = await admin.ask("POST", "/admin/accounts", 201, json=wanted)
    none, limits = {"octets": None, "messages": None}, {"octets": 1_000_000, "messages": 0}
    assert (created["quota"], created["effective_quota"]) == (none, none)
    path = f"/admin/accounts/{address}/quota"
    changed = await admin.ask("PUT", path, json=limits)
    assert (changed["quota"], changed["effective_quota"]) == (limits, limits)
    assert await admin.ask("GET", f"/admin/accounts/{address}") == changed
    assert await admin.ask("PUT", path, json={}) == created
    for wrong in ({"octets": -1}, {"octets": 2**53}, {"messages": "many"}, {"others": 1}):
        assert await admin.problem("PUT", path, 422, json=wrong) == "invalid-request"
    nobody = f"/admin/accounts/nobody@{domain}/quota"
    assert await admin.problem("PUT", nobody, 404, json=limits) == "account-not-found"


async def test_aliases_come_and_go(admin: RestClient, domain: str) -> None:
    wanted = {"address": f"team@{domain}", "targets": ["ann@postroom.test", "friend@elsewhere.example"]}
    created = await admin.ask("POST", "/admin/aliases", 201, json=wanted)
    assert created["targets"] == wanted["targets"]
    assert created["id"] in [each["id"] for each in (await admin.ask("GET", "/admin/aliases"))["items"]]
    await admin.ask("DELETE", f"/admin/aliases/{wanted['address']}", 204)
    path = f"/admin/aliases/{wanted['address']}"
    assert await admin.problem("DELETE", path, 404) == "alias-not-found"


async def test_an_address_with_a_slash_is_found(admin: RestClient, domain: str) -> None:
    wanted = {"address": f"a/b@{domain}", "password": "some password"}
    await admin.ask("POST", "/admin/accounts", 201, json=wanted)
    await admin.ask("PUT", f"/admin/accounts/a%2Fb@{domain}/password", 204, json={"password": "another one"})
    await admin.ask("DELETE", f"/admin/accounts/a%2Fb@{domain}", 204)


async def test_lists_come_in_pages(admin: RestClient, domain: str) -> None:
    for name in ("a", "b", "c"):
        wanted = {"address": f"{name}@{domain}", "targets": ["ann@postroom.test"]}
        await admin.ask("POST", "/admin/aliases", 201, json=wanted)
    seen: list[str] = []
    cursor = ""
    while True:
        page = await admin.ask("GET", f"/admin/aliases?limit=2{cursor}")
        seen += [each["id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) >= 3


async def test_there_is_one_tenant(admin: RestClient) -> None:
    assert len((await admin.ask("GET", "/admin/tenants"))["items"]) == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/tenants"),
        ("GET", "/admin/domains"),
        ("GET", "/admin/accounts"),
        ("GET", "/admin/aliases"),
        ("GET", "/admin/queue"),
        ("GET", "/admin/examination"),
        ("DELETE", "/admin/domains/postroom.test"),
        ("POST", "/admin/queue/agnhyqtnoj3uxb4thpxsphpunm/retry"),
    ],
)
async def test_nobody_else_administers(anonymous: RestClient, method: str, path: str) -> None:
    assert await anonymous.problem(method, path, 401) == "invalid-credentials"
    wrong = {"Authorization": "Bearer wrong"}
    assert await anonymous.problem(method, path, 401, headers=wrong) == "invalid-credentials"
