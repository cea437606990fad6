"""`postroom domain`, `account`, `alias`, `queue` and `status`, against a real REST service."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from postroom_cli import api
from postroom_cli.api import Api
from postroom_cli.demo import ensure_demo
from postroom_testing.core import ADMIN_TOKEN, PASSWORD, Core
from postroom_testing.stack import run_in_thread

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
Name: TypeAlias = Callable[[], str]


def logs_in(url: str, address: str, password: str) -> bool:
    credentials = {"address": address, "password": password}
    return httpx.post(f"{url}/api/v1/session", json=credentials, trust_env=False).is_success


def test_a_domain_comes_and_goes(postroom: Run, name: Name) -> None:
    domain = name()
    added = postroom("domain", "add", domain)
    assert (added.returncode, added.stdout, added.stderr) == (0, f"added {domain}\n", "")
    listed = postroom("domain", "list")
    assert listed.stdout.splitlines()[0].split() == ["name", "created", "at"]
    assert re.search(rf"^\s*{domain}\s+\d{{4}}-", listed.stdout, re.MULTILINE)
    removed = postroom("domain", "remove", domain)
    assert (removed.returncode, removed.stdout) == (0, f"removed {domain}\n")
    assert domain not in postroom("domain", "list").stdout


def test_an_app_password_is_made_listed_and_removed(postroom: Run, url: str, name: Name) -> None:
    domain = name()
    postroom("domain", "add", domain)
    address = f"ann@{domain}"
    postroom("account", "add", address, "--password-stdin", stdin=f"{PASSWORD}\n")
    added = postroom("account", "app-password", "add", address, "laptop", "--scope", "api", "--scope", "imap")
    assert (added.returncode, added.stderr) == (0, "")
    assert logs_in(url, address, added.stdout.strip())
    listed = json.loads(postroom("account", "app-password", "list", address, "--json").stdout)
    (found,) = listed["items"]
    assert (found["name"], found["scopes"]) == ("laptop", ["api", "imap"])
    removed = postroom("account", "app-password", "remove", address, found["id"])
    assert (removed.returncode, removed.stdout) == (0, f"removed {found['id']}\n")
    assert not logs_in(url, address, added.stdout.strip())


def test_scram_is_switched_on_with_the_password_and_off_without(postroom: Run, name: Name) -> None:
    domain = name()
    postroom("domain", "add", domain)
    address = f"ann@{domain}"
    postroom("account", "add", address, "--password-stdin", stdin=f"{PASSWORD}\n")
    wrong = postroom("account", "scram", address, "--password-stdin", stdin="not it\n")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    right = postroom("account", "scram", address, "--password-stdin", stdin=f"{PASSWORD}\n")
    assert (right.returncode, right.stdout) == (0, f"keep SCRAM keys of {address}\n")
    off = postroom("account", "scram", address, "--off")
    assert (off.returncode, off.stdout) == (0, f"forgot the SCRAM keys of {address}\n")


def test_json_is_the_rest_document(postroom: Run, url: str, name: Name) -> None:
    domain = name()
    added = json.loads(postroom("domain", "add", domain, "--json").stdout)
    answer = httpx.get(
        f"{url}/api/v1/admin/domains",
        params={"limit": 200},
        headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        trust_env=False,
    ).json()
    assert added in answer["items"]
    assert json.loads(postroom("domain", "list", "--json").stdout) == answer
    assert json.loads(postroom("domain", "remove", domain, "--json").stdout) == {}


def test_what_the_server_refuses_is_one_line_and_status_1(postroom: Run, name: Name) -> None:
    domain = name()
    for arguments in (
        ("domain", "add", "postroom.test"),
        ("domain", "add", "not a domain"),
        ("domain", "remove", domain),
        ("domain", "remove", "postroom.test"),
        ("account", "remove", f"nobody@{domain}"),
        ("alias", "remove", f"nobody@{domain}"),
        ("queue", "show", "agnhyqtnoj3uxb4thpxsphpunm"),
        ("queue", "show", "../accounts"),
    ):
        refused = postroom(*arguments)
        assert (refused.returncode, refused.stdout) == (1, ""), arguments
        assert re.fullmatch(r"postroom: .+\n", refused.stderr), arguments


def test_an_account_is_added_changed_and_removed(postroom: Run, url: str, name: Name) -> None:
    domain = name()
    address = f"o'hara+x@{domain}"
    assert postroom("domain", "add", domain).returncode == 0
    added = postroom("account", "add", address, "--name", "O'Hara", "--password-stdin", stdin=" first one \n")
    assert (added.returncode, added.stdout) == (0, f"added {address}\n")
    assert logs_in(url, address, " first one ")
    assert re.search(rf"{re.escape(address)}\s+O'Hara", postroom("account", "list").stdout)
    changed = postroom("account", "password", address, "--password-stdin", stdin="second one")
    assert (changed.returncode, changed.stdout) == (0, f"changed the password of {address}\n")
    assert not logs_in(url, address, " first one ")
    assert logs_in(url, address, "second one")
    assert "second" not in changed.stdout + changed.stderr
    limited = json.loads(postroom("account", "quota", address, "--octets", "1000", "--json").stdout)
    assert limited["effective_quota"] == {"octets": 1_000, "messages": None}
    assert postroom("account", "quota", address).stdout == f"changed the quota of {address}\n"
    assert postroom("account", "remove", address).stdout == f"removed {address}\n"
    assert not logs_in(url, address, "second one")


@pytest.mark.parametrize(
    ("options", "stdin", "said"),
    [
        ([], "", "postroom: give the password with --password-stdin\n"),
        (["--password-stdin"], "\n", "postroom: the password is empty\n"),
        (["--password-stdin"], "", "postroom: the password is empty\n"),
    ],
)
def test_a_password_must_be_given(postroom: Run, options: list[str], stdin: str, said: str) -> None:
    refused = postroom("account", "add", "carol@postroom.test", *options, stdin=stdin)
    assert (refused.returncode, refused.stderr) == (2, said)
    assert "carol" not in postroom("account", "list").stdout


def test_a_password_that_is_too_short_is_refused(postroom: Run) -> None:
    refused = postroom("account", "add", "carol@postroom.test", "--password-stdin", stdin="short\n")
    assert refused.returncode == 1
    assert "short" not in refused.stderr.replace("too short", "")


def test_an_alias_leads_to_several(postroom: Run, name: Name) -> None:
    domain = name()
    postroom("domain", "add", domain)
    added = postroom("alias", "add", f"all@{domain}", "ann@postroom.test", "bob@postroom.test", "--json")
    assert json.loads(added.stdout)["targets"] == ["ann@postroom.test", "bob@postroom.test"]
    assert f"all@{domain}" in postroom("alias", "list").stdout
    assert "ann@postroom.test, bob@postroom.test" in postroom("alias", "list").stdout
    assert postroom("alias", "remove", f"all@{domain}").stdout == f"removed all@{domain}\n"
    assert f"all@{domain}" not in postroom("alias", "list").stdout


def test_mail_that_waits_is_shown_tried_and_cancelled(postroom: Run, house: tuple[Core, str]) -> None:
    core, url = house
    with httpx.Client(base_url=f"{url}/api/v1/", trust_env=False) as client:
        credentials = {"address": "ann@postroom.test", "password": PASSWORD}
        token = client.post("session", json=credentials).json()["token"]
        sent = client.post(
            "messages",
            json={"to": [{"address": "carol@example.org"}], "subject": "x", "text": "x\n"},
            headers={"Authorization": f"Bearer {token}"},
        )
    queue_id = sent.json()["queue_id"]
    listed = postroom("queue", "list")
    assert re.search(rf"{queue_id}\s+ann@postroom\.test\s+carol@example\.org", listed.stdout)
    (item,) = json.loads(postroom("queue", "list", "--json").stdout)["items"]
    assert json.loads(postroom("queue", "show", queue_id, "--json").stdout) == item
    assert "example.org" in postroom("queue", "show", queue_id).stdout
    assert "held until" not in postroom("queue", "list").stdout
    hold = (
        "INSERT INTO mailstore.site (name, failures, back_off_until, last_diagnostic)"
        " VALUES ('example.org', 1, '2100-01-01', '421 Busy')"
    )
    run_in_thread(lambda: core.fetch(hold))
    for command in (("list",), ("show", queue_id)):
        assert re.search(r"site held until 2100-01-01T\S+\s+421 Busy", postroom("queue", *command).stdout)
    run_in_thread(lambda: core.fetch("UPDATE mailstore.delivery SET parked = true"))
    assert re.search(r"Z\s+parked\s+421 Busy", postroom("queue", "list").stdout)
    assert "1 messages wait" in postroom("status").stdout
    assert postroom("queue", "retry", queue_id).stdout == f"{queue_id} is due now\n"
    assert re.search(r"Z\s+421 Busy", postroom("queue", "list").stdout)
    assert postroom("queue", "cancel", queue_id).stdout == f"cancelled {queue_id}\n"
    assert json.loads(postroom("queue", "list", "--json").stdout)["items"] == []
    assert postroom("queue", "cancel", queue_id).returncode == 1


def test_status_tells_what_runs(postroom: Run, url: str) -> None:
    told = postroom("status")
    assert (told.returncode, told.stdout.splitlines()[0]) == (0, f"{url} answers")
    document = json.loads(postroom("status", "--json").stdout)
    assert document["url"] == url
    assert document["accounts"] >= 2


def test_a_list_is_read_page_after_page(postroom: Run, name: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    domains = [name() for _ in range(5)]
    for domain in domains:
        postroom("domain", "add", domain)
    monkeypatch.setattr(api, "_PAGE", 2)
    listed = [item["name"] for item in json.loads(postroom("domain", "list", "--json").stdout)["items"]]
    assert set(domains) <= set(listed)
    assert len(set(listed)) == len(listed)


def test_the_demo_is_the_same_at_each_start(url: str, data: Path) -> None:
    with Api(url, ADMIN_TOKEN) as administrator:
        passwords = ensure_demo(administrator, data)
        assert set(passwords) == {"alice@postroom.test", "bob@postroom.test"}
        assert (data / "demo.json").stat().st_mode & 0o777 == 0o600
        assert ensure_demo(administrator, data) == passwords


@pytest.mark.parametrize("spoilt", [None, "{", "[]", '{"alice@postroom.test": "x"}'])
def test_the_demo_s_passwords_are_true_even_when_its_file_was_lost(
    url: str, data: Path, spoilt: str | None
) -> None:
    with Api(url, ADMIN_TOKEN) as administrator:
        ensure_demo(administrator, data)
        (data / "demo.json").unlink()
        if spoilt is not None:
            (data / "demo.json").write_text(spoilt)
        passwords = ensure_demo(administrator, data)
    assert all(logs_in(url, address, password) for address, password in passwords.items())
