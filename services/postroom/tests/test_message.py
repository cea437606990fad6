"""`postroom message`: what a user has deleted for good comes back."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeAlias

import httpx
import pytest

from postroom_testing.core import PASSWORD, Core
from postroom_testing.stack import run_in_thread

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def owner(house: tuple[Core, str]) -> Iterator[tuple[str, httpx.Client]]:
    """An account with two messages that it deleted for good, and its way to REST."""
    core, url = house
    [address] = run_in_thread(lambda: core.add_accounts("owner"))
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=20) as rest:
        delete_two(rest, address)
        yield address, rest


def delete_two(rest: httpx.Client, address: str) -> None:
    said = rest.post("/session", json={"address": address, "password": PASSWORD}).raise_for_status()
    rest.headers["Authorization"] = f"Bearer {said.json()['token']}"
    for subject in ("first", "second"):
        message = {"to": [{"address": "far@example.org"}], "subject": subject, "text": "Text."}
        copy = rest.post("/messages", json=message).raise_for_status().json()["sent_copy"]
        rest.delete(f"/messages/{copy}").raise_for_status()
        rest.delete(f"/messages/{messages(rest, 'trash')[0]['id']}").raise_for_status()


def messages(rest: httpx.Client, use: str) -> list[dict[str, str]]:
    listed = rest.get("/mailboxes").raise_for_status().json()["items"]
    mailbox = next(each["id"] for each in listed if each["special_use"] == use)
    return rest.get(f"/mailboxes/{mailbox}/messages").raise_for_status().json()["items"]


def test_expunged_messages_are_listed_and_restored(postroom: Run, owner: tuple[str, httpx.Client]) -> None:
    address, rest = owner
    shown = postroom("message", "expunged", address)
    assert re.search(rf"Trash\s+{address}\s+second", shown.stdout)
    items = json.loads(postroom("message", "expunged", address, "--json").stdout)["items"]
    assert [item["subject"] for item in items] == ["second", "first"]
    restored = postroom("message", "restore", address, items[1]["id"])
    assert (restored.returncode, restored.stdout) == (0, "restored 1 messages\n")
    assert [each["subject"] for each in messages(rest, "trash")] == ["first"]
    again = postroom("message", "restore", address, items[1]["id"])
    assert again.stdout == "restored 0 messages; 1 are not there any more\n"
    assert postroom("message", "restore", address, "--all", "--mailbox", "Sent").stdout.startswith(
        "restored 0 "
    )
    done = json.loads(postroom("message", "restore", address, "--all", "--json").stdout)
    assert [each["was"] for each in done["items"]] == [items[0]["id"]]
    assert [each["subject"] for each in messages(rest, "trash")] == ["second", "first"]
    refused = postroom("message", "restore", address, "nonsense")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)


@pytest.mark.parametrize("arguments", [(), ("some-id", "--all"), ("some-id", "--mailbox", "Sent")])
def test_it_must_be_clear_what_to_restore(postroom: Run, arguments: tuple[str, ...]) -> None:
    ended = postroom("message", "restore", "ann@postroom.test", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
