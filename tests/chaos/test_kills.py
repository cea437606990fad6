"""Every process is killed in turn while mail comes in; what was acknowledged is there once."""

import imaplib
import os
import re
import signal
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from postroom_testing.running import RunningPostroom, free_base, running_postroom

pytestmark = pytest.mark.timeout(400)
_SUBJECT = re.compile(rb"Subject: (mail-\d+)\r\n")
_UNHURT_SECONDS = 0.6


class LightLoad(threading.Thread):
    """Sends one mail after the other and notes which were acknowledged; a broken connection is made anew."""

    def __init__(self, port: int) -> None:
        super().__init__(name="light-load")
        self._port = port
        self._ending = threading.Event()
        self.acknowledged: set[str] = set()
        self.tried = 0

    def run(self) -> None:
        """Send until `end`."""
        client: smtplib.SMTP | None = None
        while not self._ending.wait(0.02):
            self.tried += 1
            name = f"mail-{self.tried}"
            try:
                if client is None:
                    client = smtplib.SMTP("127.0.0.1", self._port, timeout=15)
                content = f"Subject: {name}\r\n\r\nbody of {name}\r\n"
                client.sendmail("you@example.com", ["alice@postroom.test"], content)
                self.acknowledged.add(name)
            except (OSError, smtplib.SMTPException):
                client = _closed(client)
                time.sleep(0.1)
        _closed(client)

    def end(self) -> None:
        """Send no more."""
        self._ending.set()
        self.join()


def _closed(client: smtplib.SMTP | None) -> None:
    if client is not None:
        client.close()


def _children(pid: int) -> list[int]:
    """All processes below one."""
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [each for child in children for each in (child, *_children(child))]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    except FileNotFoundError:
        return ""


def _subjects(postroom: RunningPostroom) -> Counter[str]:
    """How often each mail is in alice's INBOX."""
    with imaplib.IMAP4("127.0.0.1", postroom.port(143)) as client:
        client.login("alice@postroom.test", postroom.password("alice"))
        client.select("INBOX", readonly=True)
        _, found = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    octets = b"".join(part for item in found if isinstance(item, tuple) for part in item)
    return Counter(name.decode() for name in _SUBJECT.findall(octets))


def _settled(postroom: RunningPostroom, acknowledged: set[str], seconds: float = 60.0) -> Counter[str]:
    """What is there once all that was acknowledged is, or when patience ends."""
    end = time.monotonic() + seconds
    while True:
        try:
            subjects = _subjects(postroom)
        except (OSError, imaplib.IMAP4.error):
            subjects = Counter[str]()
        if acknowledged <= subjects.keys() or time.monotonic() > end:
            return subjects
        time.sleep(0.5)


def _check(postroom: RunningPostroom, load: LightLoad) -> None:
    subjects = _settled(postroom, load.acknowledged)
    assert load.acknowledged - subjects.keys() == set(), "acknowledged and lost"
    assert {name: count for name, count in subjects.items() if count > 1} == {}, "filed twice"


def test_killing_each_process_in_turn_loses_and_doubles_nothing(data: Path) -> None:
    with running_postroom(data, free_base()) as postroom:
        load = LightLoad(postroom.port(25))
        load.start()
        victims = [pid for pid in _children(postroom.process.pid) if _command(pid)]
        names = [_command(pid) for pid in victims]
        assert sum("-m mailstore" in name for name in names) == 2, names
        for victim in victims:
            if _command(victim):  # Postgres ends all its children when one was killed
                os.kill(victim, signal.SIGKILL)
                time.sleep(_UNHURT_SECONDS)
        before = len(load.acknowledged)
        end = time.monotonic() + 60.0
        while len(load.acknowledged) < before + 20 and time.monotonic() < end:
            time.sleep(0.1)
        assert len(load.acknowledged) >= before + 20, "it recovers without an operator"
        load.end()
        _check(postroom, load)


def test_killing_the_supervisor_leaves_nothing_and_all_mail_is_there_at_the_next_start(data: Path) -> None:
    port_base = free_base()
    with running_postroom(data, port_base) as postroom:
        load = LightLoad(postroom.port(25))
        load.start()
        time.sleep(2.0)
        children = _children(postroom.process.pid)
        commands = {pid: _command(pid) for pid in children}
        os.kill(postroom.process.pid, signal.SIGKILL)
        postroom.process.wait()
        load.end()
        end = time.monotonic() + 20.0
        while any(_command(pid) == commands[pid] != "" for pid in children) and time.monotonic() < end:
            time.sleep(0.1)
        assert [_command(pid) for pid in children if _command(pid) == commands[pid] != ""] == []
    with running_postroom(data, port_base) as again:
        assert again.password("alice") == postroom.password("alice")
        _check(again, load)


def test_mail_outlives_a_stop_and_a_start(data: Path) -> None:
    port_base = free_base()
    with running_postroom(data, port_base) as postroom:
        with smtplib.SMTP("127.0.0.1", postroom.port(25)) as client:
            client.sendmail("you@example.com", ["alice@postroom.test"], "Subject: mail-1\r\n\r\nhello\r\n")
        assert _settled(postroom, {"mail-1"}) == {"mail-1": 1}
        assert postroom.stop() == 0
    with running_postroom(data, port_base) as again:
        assert _settled(again, {"mail-1"}) == {"mail-1": 1}
