"""fetchmail, getmail and mpop collect mail, once each, and leave or remove it as they are told."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from postroom_testing.heard_commands import HeardCommands
from postroom_testing.mail_person import Person, letter
from postroom_testing.maildir import Maildir

pytestmark = pytest.mark.timeout(120)
Run = Callable[..., str]
Heard = Callable[[], AbstractContextManager[HeardCommands]]
FOLDER = "Projekte/Größe & Maß"
DOTS = letter("dots", ".\n..\n.line\nend\n")

FETCHMAIL = """set no bouncemail
poll localhost with protocol {protocol} service {port} {options}
  user "{user}" with password "{password}" {how} ssl sslcertck sslcertfile "{authority}" mda "{home}/file"
"""
GETMAIL = """[retriever]
type = {kind}
server = localhost
port = {port}
username = {user}
password = {password}
ca_certs = {authority}
{more}
[destination]
type = MDA_external
path = {home}/file
allow_root_commands = true
[options]
read_all = false
delete = {delete}
delivered_to = false
received = false
"""
MPOP = """account default
host localhost
port {port}
user {user}
password {password}
auth {mechanism}
tls on
tls_starttls {starttls}
tls_trust_file {authority}
keep {keep}
uidls_file {home}/uidls
delivery maildir {mail}
"""


@pytest.fixture
def collected(home: Path) -> Maildir:
    """Where the mail goes."""
    Maildir(home).make("INBOX")
    script = home / "file"
    script.write_text('#!/bin/sh\nexec cat >"$(mktemp "$HOME/INBOX/new/XXXXXXXX")"\n')
    script.chmod(0o700)
    return Maildir(home)


@pytest.fixture
def configure(person: Person, home: Path, authority: Path) -> Callable[..., Path]:
    """Writes a client's settings."""

    def write(text: str, **values: object) -> Path:
        settings = home / "settings"
        known = {"user": person.address, "password": person.password, "authority": authority, "home": home}
        settings.write_text(text.format(**known, mail=home / "INBOX", **values))
        settings.chmod(0o600)
        return settings

    return write


def _five(person: Person) -> None:
    person.deliver(*(f"mail {number}" for number in range(4)), DOTS)


@pytest.mark.parametrize(("protocol", "offset"), [("IMAP", 993), ("POP3", 995)])
def test_fetchmail_collects_what_is_new_and_keeps_it(
    person: Person,
    client: Run,
    collected: Maildir,
    configure: Callable[..., Path],
    protocol: str,
    offset: int,
) -> None:
    port, options = person.postroom.port(offset), "uidl" if protocol == "POP3" else ""
    settings = configure(FETCHMAIL, protocol=protocol, port=port, options=options, how="keep")

    def collect(*statuses: int) -> set[str]:
        client("fetchmail", "-f", settings, "--idfile", settings.with_name("ids"), statuses=statuses)
        return set(collected.messages())

    _five(person)
    assert collect(0) == set(person.messages())
    assert collected.octets("dots").endswith(b"\n\n.\n..\n.line\nend\n")
    before = collected.snapshot()
    collect(1)  # nothing new
    assert collected.snapshot() == before
    person.deliver("another")
    assert (
        collect(0)
        == set(person.messages())
        == {*(f"mail {number}" for number in range(4)), "dots", "another"}
    )


@pytest.mark.parametrize(("protocol", "offset"), [("IMAP", 993), ("POP3", 995)])
def test_fetchmail_collects_all_and_removes_it(
    person: Person,
    client: Run,
    collected: Maildir,
    configure: Callable[..., Path],
    protocol: str,
    offset: int,
) -> None:
    port = person.postroom.port(offset)
    settings = configure(FETCHMAIL, protocol=protocol, port=port, options="", how="nokeep fetchall")
    _five(person)
    client("fetchmail", "-f", settings)
    assert len(collected.messages()) == 5
    assert person.messages() == {}
    client("fetchmail", "-f", settings, statuses=(1,))


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize(
    ("kind", "offset"), [("SimpleIMAPSSLRetriever", 993), ("SimplePOP3SSLRetriever", 995)]
)
def test_getmail_collects_each_message_once(
    person: Person,
    client: Run,
    collected: Maildir,
    configure: Callable[..., Path],
    heard: Heard,
    home: Path,
    kind: str,
    offset: int,
    delete: bool,
) -> None:
    settings = configure(GETMAIL, kind=kind, port=person.postroom.port(offset), delete=delete, more="")
    arguments = ("getmail", "--getmaildir", home, "--rcfile", settings)
    _five(person)
    octets = person.raw("dots")
    client(*arguments)
    assert set(collected.messages()) == {*(f"mail {number}" for number in range(4)), "dots"}
    added = rb"X-getmail-retrieved-from-mailbox: \S+\n"
    assert re.sub(added, b"", collected.octets("dots")) == octets.replace(b"\r\n", b"\n")
    assert set(person.messages()) == (set() if delete else set(collected.messages()))
    before = collected.snapshot()
    with heard() as commands:
        client(*arguments)
    assert collected.snapshot() == before
    assert commands.changing == set()
    assert "retr" not in commands.names("pop3")
    person.deliver("another")
    client(*arguments)
    assert collected.snapshot().keys() > before.keys()
    assert len(collected.messages()) == 6


def test_getmail_collects_from_several_mailboxes(
    person: Person, client: Run, collected: Maildir, configure: Callable[..., Path], home: Path
) -> None:
    more = f'mailboxes = ("INBOX", "{FOLDER}")'
    port = person.postroom.port(993)
    settings = configure(GETMAIL, kind="SimpleIMAPSSLRetriever", port=port, delete=False, more=more)
    person.deliver("here", "there")
    person.make(FOLDER)
    person.move("there", FOLDER)
    client("getmail", "--getmaildir", home, "--rcfile", settings)
    assert set(collected.messages()) == {"here", "there"}


@pytest.mark.parametrize(
    ("starttls", "offset", "mechanism"),
    [("on", 110, "user"), ("off", 995, "plain")],
)
def test_mpop_collects_each_message_once(
    person: Person,
    client: Run,
    collected: Maildir,
    configure: Callable[..., Path],
    heard: Heard,
    starttls: str,
    offset: int,
    mechanism: str,
) -> None:
    port = person.postroom.port(offset)
    settings = configure(MPOP, port=port, starttls=starttls, keep="on", mechanism=mechanism)
    _five(person)
    client("mpop", "-C", settings)
    assert set(collected.messages()) == set(person.messages())
    assert len((settings.with_name("uidls")).read_text().split()) >= 5
    before = collected.snapshot()
    with heard() as commands:
        client("mpop", "-C", settings)
    assert collected.snapshot() == before
    assert not {"retr", "top", "dele"} & commands.names("pop3")
    person.deliver("another")
    client("mpop", "-C", settings)
    assert len(collected.messages()) == 6
    configure(MPOP, port=port, starttls=starttls, keep="off", mechanism=mechanism)
    client("mpop", "-C", settings)
    assert person.messages() == {}
    assert len(collected.messages()) == 6
