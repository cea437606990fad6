"""Somebody whose mail a real client keeps, seen and changed from the other side: over SMTP and REST."""

import hashlib
import secrets
import smtplib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from functools import cached_property
from typing import Any

import httpx

from postroom_testing.running import RunningPostroom

_SECONDS = 20.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Kept:
    """A message in a mailbox; flags as the REST API spells them."""

    id: str
    subject: str
    flags: frozenset[str]


@dataclass
class Person:
    """An account of a running Postroom. Messages are named by their subjects, which differ in a test."""

    postroom: RunningPostroom
    address: str
    password: str = field(repr=False)

    @classmethod
    def moves_in(cls, postroom: RunningPostroom) -> "Person":
        """A fresh account."""
        address, password = f"p{secrets.token_hex(5)}@postroom.test", secrets.token_urlsafe(12)
        token = (postroom.data / "admin.token").read_text().strip()
        answer = httpx.post(
            f"http://127.0.0.1:{postroom.port(80)}/api/v1/admin/accounts",
            json={"address": address, "password": password},
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        return cls(postroom, address, password)

    @cached_property
    def api(self) -> httpx.Client:
        """The REST API, logged in."""
        base = f"http://127.0.0.1:{self.postroom.port(80)}/api/v1/"
        client = httpx.Client(base_url=base, trust_env=False, timeout=_SECONDS)
        credentials = {"address": self.address, "password": self.password}
        client.headers["Authorization"] = (
            f"Bearer {_document(client.post('session', json=credentials))['token']}"
        )
        return client

    def deliver(self, *messages: str | bytes) -> None:
        """Send these, subjects or whole messages, and wait until all are in the inbox."""
        before = len(self.messages())
        with smtplib.SMTP("127.0.0.1", self.postroom.port(25), timeout=_SECONDS) as client:
            for each in messages:
                octets = each if isinstance(each, bytes) else letter(each)
                client.sendmail("you@example.com", [self.address], octets)
        eventually(lambda: len(self.messages()) == before + len(messages))

    def mailboxes(self) -> dict[str, str]:
        """The id of each mailbox by its name."""
        return {each["name"]: each["id"] for each in _document(self.api.get("mailboxes"))["items"]}

    def messages(self, mailbox: str = "INBOX") -> dict[str, Kept]:
        """What a mailbox holds, by subject."""
        path = f"mailboxes/{self.mailboxes()[mailbox]}/messages"
        items = _document(self.api.get(path, params={"limit": 100}))["items"]
        kept = [Kept(item["id"], item["subject"], frozenset(item["flags"])) for item in items]
        found = {each.subject: each for each in kept}
        if len(found) != len(kept):
            raise AssertionError(f"doubled in {mailbox}: {sorted(each.subject for each in kept)}")
        return found

    def everything(self) -> dict[str, dict[str, Kept]]:
        """All mailboxes, each with what it holds; ids too, so that nothing may come anew."""
        return {name: self.messages(name) for name in self.mailboxes()}

    def flags(self, mailbox: str = "INBOX") -> dict[str, set[str]]:
        """The flags of each message."""
        return {subject: set(kept.flags) for subject, kept in self.messages(mailbox).items()}

    def raw(self, subject: str, mailbox: str = "INBOX") -> bytes:
        """A message's octets."""
        answer = self.api.get(f"messages/{self.messages(mailbox)[subject].id}/raw")
        answer.raise_for_status()
        return answer.content

    def flag(self, subject: str, *flags: str, mailbox: str = "INBOX") -> None:
        """Give a message these flags and no others."""
        path = f"messages/{self.messages(mailbox)[subject].id}/flags"
        _document(self.api.put(path, json={"flags": flags}))

    def move(self, subject: str, target: str, mailbox: str = "INBOX") -> None:
        """To another mailbox."""
        path = f"messages/{self.messages(mailbox)[subject].id}/move"
        _document(self.api.post(path, json={"mailbox_id": self.mailboxes()[target]}))

    def make(self, mailbox: str) -> None:
        """A new mailbox, subscribed."""
        _document(self.api.post("mailboxes", json={"name": mailbox}))


def letter(subject: str, text: str = "Hello.\nWith kind regards\n", **fields: str) -> bytes:
    """A message with CRLFs, which looks the same each time."""
    digest = hashlib.sha256(subject.encode()).hexdigest()[:16]
    header: Mapping[str, str] = {
        "From": "You <you@example.com>",
        "To": "somebody@postroom.test",
        "Date": "Mon, 02 Mar 2026 09:30:00 +0100",
        "Message-ID": f"<{digest}@example.com>",
        "Subject": subject,
        **fields,
    }
    message = message_from_bytes(b"\n", policy=policy.SMTP)
    for name, value in header.items():
        message[name] = value
    message.set_content(text)
    return message.as_bytes()


def eventually(look: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Return once it is true; raises AssertionError."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            raise AssertionError("it did not come true")
        time.sleep(_POLL_SECONDS)


def _document(answer: httpx.Response) -> Any:
    if answer.is_error:
        raise AssertionError(f"{answer.status_code}: {answer.text}")
    return answer.json() if answer.content else None
