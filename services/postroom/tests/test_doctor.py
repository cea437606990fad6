"""`postroom doctor` and `postroom mailbox`, against a real REST service without file and object store."""

import json
import subprocess
from collections.abc import Callable
from typing import TypeAlias

import pytest

from postroom_cli import doctor
from postroom_cli.api import Api, Document
from postroom_cli.errors import CommandError

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]
EMPTY: Document = {"items": [], "examined": {}, "garbage": {"objects": 0, "octets": 0}, "next_cursor": None}


def test_findings_are_lines_and_status_1(postroom: Run) -> None:
    told = postroom("doctor")
    assert (told.returncode, told.stderr) == (1, "")
    lines = told.stdout.splitlines()
    assert "service-away: filestore: it does not answer, or cannot work" in lines
    assert any(line.startswith("dependency-away: the object store: ") for line in lines)
    assert lines[-2].startswith("looked at ")
    assert "1 service-away" in lines[-1]


def test_json_is_one_document(postroom: Run) -> None:
    told = postroom("doctor", "--json")
    document = json.loads(told.stdout)
    assert told.returncode == 1
    assert document["kinds"]["service-away"] == 1
    assert {"kind", "subject", "detail"} == document["findings"][0].keys()
    assert document["garbage"] == {"objects": 0, "octets": 0}


def test_what_is_nobodys_is_told_and_is_no_finding(postroom: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    part = EMPTY | {"examined": {"objects": 4, "messages": 9}, "garbage": {"objects": 2, "octets": 70}}

    def ask(_: Api, __: str, ___: str) -> Document:
        return part

    monkeypatch.setattr(Api, "ask", ask)
    told = postroom("doctor")
    assert told.returncode == 0
    assert told.stdout == (
        "looked at 9 messages, 4 objects\n"
        "2 objects in the buckets (70 octets) are nobody's; harmless\n"
        "all is in order\n"
    )


def test_a_part_that_did_not_come_is_asked_for_again_and_who_cannot_ask_has_status_2(
    postroom: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_PAUSE_SECONDS", 0.0)
    asked: list[str] = []
    away = 4

    def ask(_: Api, __: str, path: str) -> Document:
        asked.append(path)
        if path.endswith("="):
            raise AssertionError
        if "cursor" not in path:
            return EMPTY | {"next_cursor": "a b"}
        if len(asked) <= away:
            raise CommandError("busy")
        return EMPTY

    monkeypatch.setattr(Api, "ask", ask)
    assert postroom("doctor").returncode == 0
    assert asked == ["admin/examination", *["admin/examination?cursor=a%20b"] * 4]
    away = 99
    told = postroom("doctor")
    assert (told.returncode, told.stderr) == (2, "postroom: busy\n")


def test_who_finds_no_instance_has_status_2(run: Run, tmp_path: object) -> None:
    told = run("doctor", "--data", str(tmp_path))
    assert told.returncode == 2
    assert told.stderr.startswith("postroom: no Postroom runs on ")


def test_uidvalidities_are_renewed_for_all_or_for_one(postroom: Run) -> None:
    for arguments in ((), ("ann@postroom.test", "--all")):
        told = postroom("mailbox", "renew-uidvalidity", *arguments)
        assert (told.returncode, told.stderr) == (2, "postroom: name an address, or --all\n")
    told = postroom("mailbox", "renew-uidvalidity", "nobody@postroom.test")
    assert told.returncode == 1
    told = postroom("mailbox", "renew-uidvalidity", "--all", "--json")
    assert json.loads(told.stdout).keys() == {"accounts", "mailboxes"}
    told = postroom("mailbox", "renew-uidvalidity", "ann@postroom.test")
    assert told.returncode == 0
    assert told.stdout.startswith("renewed ")
