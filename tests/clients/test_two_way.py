"""mbsync and offlineimap keep the same mail on both sides."""

import random
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from postroom_testing.heard_commands import HeardCommands
from postroom_testing.mail_person import Person, letter
from postroom_testing.maildir import Maildir
from postroom_wire.imap.mailbox_name import encode_modified_utf7

pytestmark = pytest.mark.timeout(240)
FLAGS = {"S": "$seen", "F": "$flagged", "R": "$answered", "D": "$draft"}
LETTERS = {name: letter for letter, name in FLAGS.items()}
FOLDER = "Projekte/Größe & Maß 100%"

MBSYNC = """IMAPStore far
Host localhost
Port {port}
User {user}
Pass "{password}"
SSLType IMAPS
SSLVersions TLSv1.2 TLSv1.3
CertificateFile {authority}
AuthMechs PLAIN LOGIN

MaildirStore near
Path {mail}/
Inbox {mail}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove None
Expunge Both
SyncState {state}/
"""

OFFLINEIMAP = """[general]
accounts = all
metadata = {state}
ui = basic
socktimeout = 30

[Account all]
localrepository = near
remoterepository = far
utf8foldernames = yes

[Repository near]
type = Maildir
localfolders = {mail}
sep = /

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = {user}
remotepass = {password}
ssl = yes
sslcacertfile = {authority}
"""


SPELLINGS: dict[str, Callable[[str], str]] = {
    # mbsync 1.4 keeps names as IMAP writes them, in modified UTF-7.
    "mbsync": lambda name: encode_modified_utf7(name).decode(),
    "offlineimap": str,
}


@dataclass
class Syncing:
    """A client, what it keeps, and whose mail it is."""

    run: Callable[[], str]
    near: Maildir
    person: Person
    heard: Callable[[], AbstractContextManager[HeardCommands]]
    spell: Callable[[str], str]
    """A mailbox's name as the client writes it on this side."""

    def agree(self) -> None:
        """Both sides hold the same messages with the same flags in the same mailboxes."""
        far = {
            self.spell(name): {
                subject: {LETTERS[each] for each in kept.flags} for subject, kept in held.items()
            }
            for name, held in self.person.everything().items()
        }
        assert {folder: self.near.messages(folder) for folder in self.near.folders()} == far

    def rests(self) -> None:
        """Another run changes nothing, and asks for no change."""
        near, far = self.near.snapshot(), self.person.everything()
        with self.heard() as heard:
            self.run()
        assert heard.changing == set()
        assert self.near.snapshot() == near
        assert self.person.everything() == far


@pytest.fixture(params=["mbsync", "offlineimap"])
def syncing(
    request: pytest.FixtureRequest,
    person: Person,
    client: Callable[..., str],
    heard: Callable[[], AbstractContextManager[HeardCommands]],
    home: Path,
    authority: Path,
) -> Syncing:
    mail, state = home / "mail", home / "state"
    mail.mkdir()
    state.mkdir()
    configuration = home / "configuration"
    text = MBSYNC if request.param == "mbsync" else OFFLINEIMAP
    configuration.write_text(
        text.format(
            port=person.postroom.port(993),
            user=person.address,
            password=person.password,
            authority=authority,
            mail=mail,
            state=state,
        )
    )
    arguments = {"mbsync": ["-c", configuration, "all"], "offlineimap": ["-o", "-c", configuration]}

    def run() -> str:
        return client(request.param, *arguments[request.param])

    return Syncing(run, Maildir(mail), person, heard, SPELLINGS[request.param])


def test_the_second_run_has_nothing_to_do(syncing: Syncing) -> None:
    person, near = syncing.person, syncing.near
    person.deliver(*(f"mail {number}" for number in range(30)), letter("large", "line\n" * 120_000))
    person.make(FOLDER)
    person.move("mail 3", FOLDER)
    person.flag("mail 4", "$seen")
    person.flag("mail 5", "$seen", "$flagged", "$answered")
    syncing.run()
    syncing.agree()
    assert _plain(near.octets("large")) == _plain(person.raw("large"))
    syncing.rests()


def test_new_mail_goes_both_ways(syncing: Syncing) -> None:
    person, near = syncing.person, syncing.near
    person.deliver("there before")
    syncing.run()
    person.deliver("came in")
    written = letter("Schöne Grüße", "Von hier.\n")
    near.add(written, flags="S")
    near.add(letter("sent"), "Sent", "S")
    syncing.run()
    syncing.agree()
    assert _plain(person.raw("Schöne Grüße")) == _plain(written)
    syncing.rests()


def test_flags_go_both_ways(syncing: Syncing) -> None:
    person, near = syncing.person, syncing.near
    person.deliver(*(f"mail {number}" for number in range(6)))
    person.flag("mail 3", "$seen", "$flagged")
    syncing.run()
    near.flag("mail 0", "S")
    near.flag("mail 1", "FRS")
    near.flag("mail 3", "F")
    person.flag("mail 2", "$seen")
    person.flag("mail 4", "$flagged")
    near.flag("mail 4", "S")  # on both sides at once
    syncing.run()
    syncing.agree()
    assert person.flags() == {
        "mail 0": {"$seen"},
        "mail 1": {"$seen", "$flagged", "$answered"},
        "mail 2": {"$seen"},
        "mail 3": {"$flagged"},
        "mail 4": {"$seen", "$flagged"},
        "mail 5": set(),
    }
    syncing.rests()


def test_deletions_go_both_ways(syncing: Syncing) -> None:
    person, near = syncing.person, syncing.near
    person.deliver(*(f"mail {number}" for number in range(6)))
    syncing.run()
    near.delete("mail 0")
    near.delete("mail 3")
    person.move("mail 1", "Trash")
    syncing.run()
    syncing.agree()
    assert set(person.messages()) == {"mail 2", "mail 4", "mail 5"}
    assert set(near.messages("Trash")) == {"mail 1"}
    syncing.rests()


def test_new_mailboxes_go_both_ways(syncing: Syncing) -> None:
    person, near = syncing.person, syncing.near
    person.deliver("mail")
    syncing.run()
    person.make(FOLDER)
    person.move("mail", FOLDER)
    person.make("日本語/Ελληνικά")
    here = syncing.spell("Häuser und Gärten")
    near.make(here)
    near.add(letter("from here"), here, "FS")
    near.make(syncing.spell("Tom & Jerry"))
    syncing.run()
    syncing.run()  # some take a mailbox that is new here only in the next run
    syncing.agree()
    assert {FOLDER, "日本語", "日本語/Ελληνικά", "Häuser und Gärten", "Tom & Jerry"} <= set(
        person.mailboxes()
    )
    syncing.rests()


@pytest.mark.parametrize("seed", range(2))
def test_many_rounds_of_changes_on_both_sides_lose_and_double_nothing(syncing: Syncing, seed: int) -> None:
    person, near = syncing.person, syncing.near
    chance = random.Random(seed)
    person.deliver(*(f"mail {number}" for number in range(12)))
    syncing.run()
    alive = set(person.messages())
    for turn in range(4):
        mine, theirs = _halves(chance, alive)
        deleted, moved = mine.pop(), theirs.pop()
        for subject in mine:
            near.flag(subject, "".join(chance.sample("FRS", chance.randrange(4))))
        for subject in theirs:
            person.flag(subject, *chance.sample(["$seen", "$flagged", "$answered"], chance.randrange(4)))
        near.delete(deleted)
        person.move(moved, "Archive")
        near.add(letter(f"near {turn}"))
        person.deliver(f"far {turn}")
        alive = alive - {deleted, moved} | {f"near {turn}", f"far {turn}"}
        syncing.run()
        syncing.agree()
        assert set(near.messages()) == alive
    syncing.rests()


def _halves(chance: random.Random, subjects: set[str]) -> tuple[list[str], list[str]]:
    shuffled = sorted(subjects)
    chance.shuffle(shuffled)
    return shuffled[: len(shuffled) // 2], shuffled[len(shuffled) // 2 :]


def _plain(octets: bytes) -> bytes:
    """Without mbsync's own field, by which it finds a message again that it has copied."""
    return re.sub(rb"X-TUID: \S+\n", b"", octets.replace(b"\r\n", b"\n"))
