"""curl lists, reads, searches, marks and stores over IMAP, and lists, reads and deletes over POP3."""

from collections.abc import Callable
from pathlib import Path

import pytest

from postroom_testing.mail_person import Person, letter

pytestmark = pytest.mark.timeout(120)
Ask = Callable[..., str]
FOLDER = "Projekte/Größe & Maß"
CODED = "Projekte/Gr%26APYA3w-e%20%26-%20Ma%26AN8-"


@pytest.fixture(params=["over TLS", "by STARTTLS"])
def ask(request: pytest.FixtureRequest, person: Person, client: Callable[..., str], authority: Path) -> Ask:
    """curl for a URL of this protocol."""

    def run(protocol: str, path: str, *options: str | Path) -> str:
        implicit, plain = {"imap": (993, 143), "pop3": (995, 110)}[protocol]
        port = person.postroom.port(implicit if request.param == "over TLS" else plain)
        scheme = f"{protocol}s" if request.param == "over TLS" else protocol
        login = ("--user", f"{person.address}:{person.password}", "--cacert", authority, "--ssl-reqd")
        return client("curl", "-sS", *login, f"{scheme}://localhost:{port}/{path}", *options)

    return run


def test_curl_lists_reads_and_searches_over_imap(person: Person, ask: Ask) -> None:
    person.deliver("first", letter("second", "About plums.\n"), "third")
    person.make(FOLDER)
    listed = ask("imap", "")
    assert "INBOX" in listed
    assert "Gr&APYA3w-e &- Ma&AN8-" in listed
    assert ask("imap", "INBOX;UID=2").encode() == person.raw("second")
    assert ask("imap", "INBOX;UID=2;SECTION=TEXT").splitlines() == ["About plums."]
    assert "second" in ask("imap", "INBOX;MAILINDEX=2;SECTION=HEADER.FIELDS%20(SUBJECT)")
    assert ask("imap", "INBOX?SUBJECT%20third").split() == ["*", "SEARCH", "3"]
    assert ask("imap", "INBOX?BODY%20plums").split() == ["*", "SEARCH", "2"]


def test_curl_stores_marks_and_removes_over_imap(person: Person, ask: Ask, tmp_path: Path) -> None:
    person.deliver("first")
    file, octets = tmp_path / "mail.eml", letter("stored", "Grüße\n" * 50_000)
    file.write_bytes(octets)
    person.make(FOLDER)
    ask("imap", CODED, "--upload-file", file)
    assert person.raw("stored", FOLDER) == octets
    ask("imap", "INBOX", "--request", "STORE 1 +FLAGS (\\Flagged)")
    assert "$flagged" in person.flags()["first"]
    ask("imap", "INBOX", "--request", "STORE 1 +FLAGS (\\Deleted)")
    ask("imap", "INBOX", "--request", "EXPUNGE")
    assert person.messages() == {}
    ask("imap", "", "--request", 'CREATE "made by curl"')
    assert "made by curl" in person.mailboxes()


def test_curl_lists_reads_and_deletes_over_pop3(person: Person, ask: Ask) -> None:
    person.deliver("first", letter("dots", ".\n..\n.line\n"), "third")
    sizes = [len(person.raw(subject)) for subject in ("first", "dots", "third")]
    assert ask("pop3", "").splitlines() == [f"{at} {size}" for at, size in enumerate(sizes, 1)]
    assert ask("pop3", "2").splitlines() == person.raw("dots").decode().splitlines()
    assert ask("pop3", "", "--request", "TOP 1 0").rstrip().endswith("MIME-Version: 1.0")
    uids = [line.split()[1] for line in ask("pop3", "", "--request", "UIDL").splitlines()]
    assert len(set(uids)) == 3
    ask("pop3", "2", "--request", "DELE", "--list-only")
    assert set(person.messages()) == {"first", "third"}
    assert [line.split()[1] for line in ask("pop3", "", "--request", "UIDL").splitlines()] == [
        uids[0],
        uids[2],
    ]
