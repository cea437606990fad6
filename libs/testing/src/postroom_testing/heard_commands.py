"""What mail-access was asked, by its own counters: shows what a real client really did."""

import re
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from postroom_testing.running import RunningPostroom

_SAMPLE: Final = re.compile(
    r'^postroom_(imap|pop3)_commands_total\{command="([^"]*)",outcome="([^"]*)"\} (\S+)$', re.MULTILINE
)
_SOCKET: Final = b"POSTROOM_MAIL_ACCESS_HEALTH_ADDRESS=unix:"
_CHANGING: Final = frozenset(
    {
        *("append", "replace", "store", "expunge", "copy", "move", "dele"),
        *("create", "delete", "rename", "subscribe", "unsubscribe"),
    }
)
_SETTLED_SECONDS: Final = 0.1


@dataclass
class HeardCommands:
    """Commands by protocol, name and outcome; whole at the end of its block."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])

    def names(self, protocol: str = "imap") -> set[str]:
        """Which commands there were."""
        return {name for kind, name, _ in self.counts if kind == protocol}

    @property
    def changing(self) -> set[str]:
        """Those that change something; not CLOSE, after which clients that changed nothing leave too."""
        return {name for _, name, _ in self.counts} & _CHANGING

    @property
    def refused(self) -> dict[tuple[str, str, str], int]:
        """Those that ended with NO or BAD, or with -ERR."""
        return {each: count for each, count in self.counts.items() if each[2] not in {"ok", "answered"}}


@contextmanager
def heard_commands(postroom: RunningPostroom) -> Generator[HeardCommands]:
    """All that mail-access is asked within the block, by whomever."""
    socket = _health_socket(postroom)
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost") as client:
        before, heard = _counts(client), HeardCommands()
        yield heard
        # A command is counted just after its answer went out.
        found = _counts(client)
        while True:
            time.sleep(_SETTLED_SECONDS)
            if found == (found := _counts(client)):
                break
        heard.counts = found - before


def _counts(client: httpx.Client) -> Counter[tuple[str, str, str]]:
    text = client.get("/metrics").raise_for_status().text
    return Counter({(kind, name, outcome): int(float(n)) for kind, name, outcome, n in _SAMPLE.findall(text)})


def _health_socket(postroom: RunningPostroom) -> Path:
    """As the process was told; its directory has a name that only Postroom knows."""
    authority = f"POSTROOM_TLS_CA_FILE={postroom.data.resolve() / 'tls/ca.pem'}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            settings = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended, or is somebody else's
        if authority in settings:
            for each in settings:
                if each.startswith(_SOCKET):
                    return Path(each.removeprefix(_SOCKET).decode())
    raise AssertionError("mail-access does not run")
