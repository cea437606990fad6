"""What the README promises, with the clients that it names: one Postroom, used as a new user would."""

import ftplib
import hashlib
import imaplib
import poplib
import smtplib
import subprocess
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from postroom_testing.dns import DnsServer
from postroom_testing.otlp import OtlpReceiver, ReceivedSpan, otlp_receiver
from postroom_testing.running import RunningPostroom, free_base, running_postroom
from postroom_testing.smtp_sink import SmtpSink
from postroom_testing.stack import in_thread

Tool = Callable[[str], Path]
pytestmark = pytest.mark.timeout(180)
_ADDED = (b"return-path:", b"delivered-to:", b"received:")


@asynccontextmanager
async def _outside() -> AsyncGenerator[tuple[DnsServer, SmtpSink]]:
    """The rest of the world: a mail exchanger, and a name server that names it."""
    async with SmtpSink() as sink, DnsServer() as dns:
        dns.add("elsewhere.test", "MX", "10 mx.elsewhere.test.")
        dns.add("mx.elsewhere.test", "A", "127.0.0.1")
        yield dns, sink


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[DnsServer, SmtpSink]]:
    with in_thread(_outside) as (dns, sink):
        yield dns, sink


@pytest.fixture(scope="module")
def traces() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def postroom(
    data: Path, outside: tuple[DnsServer, SmtpSink], traces: OtlpReceiver
) -> Iterator[RunningPostroom]:
    dns, sink = outside
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": traces.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "POSTROOM_SMTP_OUTBOUND_REMOTE_PORT": str(sink.port),
        "POSTROOM_SMTP_OUTBOUND_ALLOW_LOOPBACK": "true",
        "POSTROOM_SMTP_OUTBOUND_HELO_NAME": "postroom.test",
        # A second worker would come to help a connection that is slow, on a busy machine for instance.
        "POSTROOM_SMTP_OUTBOUND_WORKERS": "1",
    }
    with running_postroom(data, free_base(), "--dns", dns.address, **environment) as running:
        yield running


def _message(number: int) -> bytes:
    lines = [f"line {line} of {number}" for line in range(50)]
    return "\r\n".join([f"Subject: First mail {number}", "From: you@example.com", "", *lines, ""]).encode()


def _sent_part(raw: bytes) -> bytes:
    """The message without the lines that Postroom put on top."""
    while raw.lower().startswith(_ADDED):
        line_end = raw.index(b"\r\n") + 2
        while raw[line_end : line_end + 1] in (b" ", b"\t"):
            line_end = raw.index(b"\r\n", line_end) + 2
        raw = raw[line_end:]
    return raw


def _run(*arguments: str | Path, seconds: float = 30.0, home: Path | None = None) -> bytes:
    environment = None if home is None else {"HOME": str(home)}
    command = [str(each) for each in arguments]
    found = subprocess.run(command, capture_output=True, timeout=seconds, env=environment, check=False)
    assert found.returncode == 0, (found.stdout + found.stderr).decode(errors="replace")
    return found.stdout


def _eventually(look: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def _names(postroom: RunningPostroom, name: str, mailbox: str = "INBOX") -> list[dict[str, Any]]:
    with postroom.api(name) as api:
        mailboxes = api.get("mailboxes").json()["items"]
        (found,) = (item for item in mailboxes if item["name"] == mailbox)
        return api.get(f"mailboxes/{found['id']}/messages", params={"limit": 100}).json()["items"]


def test_three_mails_come_in_by_smtp_and_are_read_by_imap_pop3_and_rest(
    postroom: RunningPostroom, debian_tool: Tool, tmp_path: Path
) -> None:
    curl, login = debian_tool("curl"), f"alice@postroom.test:{postroom.password('alice')}"
    sent = [_message(number) for number in range(3)]
    for number, octets in enumerate(sent):
        file = tmp_path / f"{number}.eml"
        file.write_bytes(octets)
        exchange = f"smtp://127.0.0.1:{postroom.port(25)}"
        envelope = ("--mail-from", "you@example.com", "--mail-rcpt", "alice@postroom.test")
        _run(curl, "-sS", exchange, *envelope, "--upload-file", file)
    _eventually(lambda: len(_names(postroom, "alice")) == len(sent))

    imap = f"imap://127.0.0.1:{postroom.port(143)}/INBOX;UID="
    by_imap = {_sent_part(_run(curl, "-sS", f"{imap}{uid}", "-u", login)) for uid in (1, 2, 3)}
    pop3 = f"pop3://127.0.0.1:{postroom.port(110)}/"
    by_pop3 = {_sent_part(_run(curl, "-sS", f"{pop3}{number}", "-u", login)) for number in (1, 2, 3)}
    with postroom.api("alice") as api:
        raw = [api.get(f"messages/{item['id']}/raw").content for item in _names(postroom, "alice")]
    digests = {hashlib.sha256(_sent_part(octets)).hexdigest() for octets in raw}
    assert digests == {hashlib.sha256(octets).hexdigest() for octets in sent}
    assert by_imap == set(sent)
    assert by_pop3 == set(sent)


def test_mail_without_a_header_is_shown_as_its_text(postroom: RunningPostroom, debian_tool: Tool) -> None:
    text = b"Dear Bob,\r\nthis mail has no header.\r\n"
    with smtplib.SMTP("127.0.0.1", postroom.port(25)) as client:
        client.sendmail("you@example.com", ["bob@postroom.test"], text)
    _eventually(lambda: any(not each["subject"] for each in _names(postroom, "bob")))
    (listed,) = (each for each in _names(postroom, "bob") if not each["subject"])
    with postroom.api("bob") as api:
        shown = api.get(f"messages/{listed['id']}").json()["text"]
    login = f"bob@postroom.test:{postroom.password('bob')}"
    url = f"imap://127.0.0.1:{postroom.port(143)}/INBOX;UID=*;SECTION=TEXT"
    assert _run(debian_tool("curl"), "-sS", url, "-u", login) == text
    assert shown.splitlines() == text.decode().splitlines()


def test_mbsync_has_nothing_to_do_the_second_time(
    postroom: RunningPostroom, debian_tool: Tool, tmp_path: Path
) -> None:
    mbsync, maildir = debian_tool("mbsync"), tmp_path / "mail"
    maildir.mkdir()
    config = tmp_path / "mbsyncrc"
    config.write_text(
        f"""IMAPStore remote
Host 127.0.0.1
Port {postroom.port(143)}
User alice@postroom.test
Pass {postroom.password("alice")}
SSLType None
AuthMechs LOGIN PLAIN

MaildirStore local
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :remote:
Near :local:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )
    _run(mbsync, "-c", config, "all")

    def files() -> dict[str, bytes]:
        found = (file for file in maildir.rglob("*") if file.is_file() and file.parent.name in ("cur", "new"))
        return {str(file): file.read_bytes() for file in found}

    first = files()
    assert len(first) == len(_names(postroom, "alice"))
    _run(mbsync, "-c", config, "all")
    assert files() == first


def test_twenty_mails_leave_over_one_connection(
    postroom: RunningPostroom, outside: tuple[DnsServer, SmtpSink]
) -> None:
    _, sink = outside
    with smtplib.SMTP("127.0.0.1", postroom.port(587)) as client:
        client.login("bob@postroom.test", postroom.password("bob"))
        for number in range(20):
            client.sendmail("bob@postroom.test", [f"somebody{number}@elsewhere.test"], _message(number))
    _eventually(lambda: sum("somebody" in each.recipients[0] for each in sink.messages) >= 20, 30.0)
    mine = [each.recipients for each in sink.messages if each.recipients[0].startswith("somebody")]
    assert sorted(mine) == sorted((f"somebody{number}@elsewhere.test",) for number in range(20))
    assert max(sink.per_connection) >= 10, "connections are kept for many messages"


def test_the_way_of_a_mail_is_one_trace(postroom: RunningPostroom, traces: OtlpReceiver) -> None:
    with smtplib.SMTP("127.0.0.1", postroom.port(587)) as client:
        client.login("bob@postroom.test", postroom.password("bob"))
        client.mail("bob@postroom.test")
        for recipient in ("followed@elsewhere.test", "bob@postroom.test"):
            client.rcpt(recipient)
        _, said = client.data(_message(7))
    queue_id = said.split()[-1].decode()

    def of_mail(name: str) -> list[ReceivedSpan]:
        return [
            each
            for each in traces.spans
            if each.name == name and each.attributes.get("postroom.queue_id") == queue_id
        ]

    names = ("SMTP transaction", "accept", "relay")
    _eventually(lambda: all(map(of_mail, names)))
    (transaction,), (accepted,), (relayed,) = map(of_mail, names)
    assert (transaction.service, transaction.kind, transaction.parent_id) == ("smtp-inbound", "server", "")
    assert accepted.parent_id == relayed.parent_id == transaction.span_id
    assert (accepted.service, relayed.service) == ("mailstore", "smtp-outbound")
    _eventually(
        lambda: "filed" in {each.name for each in traces.spans if each.trace_id == transaction.trace_id}
    )
    assert relayed.seconds > 0
    assert not any("@" in str((each.name, each.attributes)) for each in traces.spans)
    logs = "".join(file.read_text() for file in (postroom.data / "log").glob("*.log"))
    assert f'"trace_id":"{transaction.trace_id}"' in logs


def test_commands_and_requests_have_traces_of_their_own(
    postroom: RunningPostroom, traces: OtlpReceiver
) -> None:
    with smtplib.SMTP("127.0.0.1", postroom.port(25)) as exchange:
        exchange.ehlo()
        exchange.mail("you@example.com")
        exchange.rset()
    with imaplib.IMAP4("127.0.0.1", postroom.port(143)) as client:
        client.login("bob@postroom.test", postroom.password("bob"))
    maildrop = poplib.POP3("127.0.0.1", postroom.port(110))
    maildrop.user("bob@postroom.test")
    maildrop.pass_(postroom.password("bob"))
    maildrop.quit()
    with ftplib.FTP() as files:
        files.connect("127.0.0.1", postroom.port(21))
        files.login("bob@postroom.test", postroom.password("bob"))
    with postroom.api("bob") as api:
        api.get("mailboxes")
    wanted = {
        "IMAP LOGIN": "mail-access",
        "POP3 login": "mail-access",
        "FTP session": "ftp-gateway",
        "REST listMailboxes": "webmail-api",
    }

    def calls(root: ReceivedSpan) -> int:
        below = (each.name for each in traces.spans if each.trace_id == root.trace_id)
        return sum(name.startswith("postroom.") for name in below)

    _eventually(lambda: any(each.attributes.get("error.type") == "abandoned" for each in traces.spans))
    _eventually(lambda: wanted.keys() <= {each.name for each in traces.spans})
    for name, service in wanted.items():
        root = next(each for each in traces.spans if each.name == name)
        assert (root.service, root.kind, root.parent_id) == (service, "server", "")
        _eventually(lambda root=root: calls(root) > 0)


def test_lftp_mirrors_a_folder_up_and_down(
    postroom: RunningPostroom, debian_tool: Tool, tmp_path: Path
) -> None:
    lftp = debian_tool("lftp")
    up, down = tmp_path / "up", tmp_path / "down"
    for number in range(200):
        file = up / f"folder {number % 5}" / f"file-{number}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hashlib.sha256(str(number).encode()).digest() * (number + 1))
    commands = "set ftp:ssl-allow false; set net:max-retries 2; set net:timeout 20; set cmd:fail-exit true; "
    login = f"alice@postroom.test,{postroom.password('alice')}"
    server = f"ftp://127.0.0.1:{postroom.port(21)}"
    _run(
        lftp, "-u", login, "-e", f"{commands} mirror -R {up} /mirror; bye", server, seconds=90, home=tmp_path
    )
    _run(lftp, "-u", login, "-e", f"{commands} mirror /mirror {down}; bye", server, seconds=90, home=tmp_path)

    def octets(folder: Path) -> dict[str, bytes]:
        return {
            str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()
        }

    assert octets(down) == octets(up)
    with postroom.api("alice") as api:
        folders = api.get("files", params={"path": "/mirror"}).json()["items"]
        listed = [
            f"{folder['name']}/{item['name']}"
            for folder in folders
            for item in api.get("files", params={"path": folder["path"], "limit": 100}).json()["items"]
        ]
    assert sorted(listed) == sorted(octets(up))
