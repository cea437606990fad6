"""neomutt and imapfilter: people's and rules' ways with mailboxes."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from postroom_testing.heard_commands import HeardCommands
from postroom_testing.mail_person import Person, letter

pytestmark = pytest.mark.timeout(120)
FOLDER = "Projekte/Größe & Maß"
PLAIN = "Projekte/Größe"  # a space is a key of neomutt's when it asks for a mailbox

NEOMUTT = """set imap_user="{user}"
set imap_pass="{password}"
set folder="imaps://localhost:{port}/"
set spoolfile="+INBOX"
set record="+Sent"
set ssl_starttls=no
set ssl_force_tls=yes
set certificate_file="{authority}"
set header_cache="{home}/headers"
set message_cachedir="{home}/bodies"
set confirmappend=no
set delete=yes
set quit=yes
set wait_key=no
set charset=utf-8
set mail_check=1
set imap_keepalive=10
unset confirmcreate
unset mark_old
unset resolve
"""

IMAPFILTER = """options.timeout = 30
options.subscribe = true
options.create = true
person = IMAP {{
    server = "localhost", port = {port}, username = "{user}", password = "{password}", ssl = "auto"
}}
bills = person.INBOX:contain_subject("bill") * person.INBOX:is_unseen() * person.INBOX:is_unflagged()
bills:mark_flagged()
bills:copy_messages(person["{folder}"])
old = person.INBOX:contain_subject("old")
old:mark_seen()
old:move_messages(person["Archive/made by rule"])
person.INBOX:contain_body("plums"):delete_messages()
"""


@pytest.fixture
def configure(person: Person, home: Path, authority: Path) -> Callable[..., Path]:
    """Writes a client's settings."""

    def write(text: str, **values: object) -> Path:
        file = home / "settings"
        known = {"user": person.address, "password": person.password, "authority": authority, "home": home}
        file.write_text(text.format(**known, port=person.postroom.port(993), **values))
        file.chmod(0o600)
        return file

    return write


@pytest.fixture
def neomutt(
    home: Path, configure: Callable[..., Path], debian_tool: Callable[[str], Path]
) -> Callable[..., str]:
    """neomutt in a terminal of 100 columns, at which these keys are pressed; gives what it has shown."""

    def press(*keys: str) -> str:
        settings = configure(NEOMUTT)
        with settings.open("a") as file:
            file.write(f'push "{"".join(keys)}"\n')
        ours, its = pty.openpty()
        environment = {"HOME": str(home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        size = {"LINES": "40", "COLUMNS": "100"}
        process = subprocess.Popen(
            [debian_tool("neomutt"), "-n", "-F", settings, "-f", "+INBOX"],
            stdin=its,
            stdout=its,
            stderr=its,
            env=environment | size,
            cwd=home,
            start_new_session=True,
        )
        os.close(its)
        shown = _shown(ours, process)
        assert process.returncode == 0, shown
        return shown

    return press


def _shown(terminal: int, process: "subprocess.Popen[bytes]", seconds: float = 60.0) -> str:
    """All that comes up to the program's end; killed when it does not end."""
    shown, end = b"", time.monotonic() + seconds
    try:
        while process.poll() is None:
            if time.monotonic() > end:
                process.kill()
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 65_536)
    except OSError:  # it has closed its side
        pass
    finally:
        os.close(terminal)
    process.wait(10)
    return shown.decode(errors="replace")


def test_neomutt_reads_flags_saves_and_deletes(person: Person, neomutt: Callable[..., str]) -> None:
    person.make(PLAIN)
    person.deliver("first", "second", "third", "fourth")
    shown = neomutt(
        "<first-entry><display-message><exit>",
        "<next-entry><flag-message>",
        f"<next-entry><save-message><kill-line>+{PLAIN}<enter>",
        "<last-entry><delete-message>",
        "<sync-mailbox><quit>",
    )
    assert "second" in shown
    assert person.flags() == {"first": {"$seen"}, "second": {"$flagged"}}
    assert set(person.messages(PLAIN)) == {"third"}
    neomutt("<quit>")
    assert person.flags() == {"first": {"$seen"}, "second": {"$flagged"}}


def test_neomutt_searches_on_the_server_and_tags(person: Person, neomutt: Callable[..., str]) -> None:
    person.deliver("apples", "pears", "green apples")
    neomutt(
        "<tag-pattern>=s apples<enter>",
        "<tag-prefix><copy-message><kill-line>+Archive<enter>",
        "<sync-mailbox><quit>",
    )
    assert set(person.messages("Archive")) == {"apples", "green apples"}
    assert set(person.messages()) == {"apples", "pears", "green apples"}


@pytest.fixture
def imapfilter(home: Path, debian_tool: Callable[[str], Path]) -> str:
    """The program; one that is not installed finds its own files below our home instead of /usr/share."""
    starter = debian_tool("imapfilter")
    unpacked = starter.parents[1] / "root/usr"
    program = unpacked / "bin/imapfilter"
    if not program.exists():
        return str(starter)
    (home / "share").symlink_to(unpacked / "share")
    changed, started = home / "imapfilter.program", home / "imapfilter"
    changed.write_bytes(program.read_bytes().replace(b"/usr/share/imapfilter/", b"share/imapfilter//////"))
    started.write_text(starter.read_text().replace(str(program), str(changed)))
    for file in (changed, started):
        file.chmod(0o700)
    return str(started)


def test_imapfilter_marks_copies_moves_and_deletes_by_rules(
    person: Person,
    client: Callable[..., str],
    imapfilter: str,
    configure: Callable[..., Path],
    authority: Path,
    heard: Callable[[], AbstractContextManager[HeardCommands]],
    refusals: set[str],
) -> None:
    refusals.add("imap copy no")  # it makes a mailbox when it is told TRYCREATE
    person.make(FOLDER)
    person.deliver("a bill", "another bill", "old news", "old letter", letter("plums", "Of plums.\n"), "kept")
    person.flag("another bill", "$seen")
    rules = configure(IMAPFILTER, folder=FOLDER)
    client(imapfilter, "-c", rules, "-t", authority)
    assert person.flags() == {
        "a bill": {"$flagged"},
        "another bill": {"$seen"},
        "kept": set(),
    }
    assert set(person.messages(FOLDER)) == {"a bill"}
    assert person.flags("Archive/made by rule") == {"old news": {"$seen"}, "old letter": {"$seen"}}
    with heard() as commands:
        client(imapfilter, "-c", rules, "-t", authority)
    assert commands.changing == set()
