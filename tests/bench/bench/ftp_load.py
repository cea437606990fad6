"""One large file up and down by FTP."""

import ftplib
import os
import time
from dataclasses import dataclass
from typing import Final

from bench.processes import cpu_seconds
from bench.sides import FtpSide

_BLOCK: Final = 1 << 20
_PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Transferred:
    """Octets per second up and down, and seconds of CPU of all server processes."""

    up: float
    down: float
    cpu: float


class _Source:
    """A file of this many octets that cannot be compressed away."""

    def __init__(self, size: int) -> None:
        self._left, self._block = size, os.urandom(_BLOCK)

    def read(self, length: int = _BLOCK, /) -> bytes:
        """The next octets."""
        octets = self._block[: min(length, self._left)]
        self._left -= len(octets)
        return octets


def transfer(side: FtpSide, size: int) -> Transferred:
    """Store and retrieve a file of this many octets, each until the server says that it is done."""
    before = cpu_seconds(side.roots)
    with ftplib.FTP(timeout=_PATIENCE_SECONDS) as client:
        client.connect("127.0.0.1", side.port)
        client.login(side.user, side.password)
        if side.folder:
            client.cwd(side.folder)
        begun = time.perf_counter()
        client.storbinary("STOR large.bin", _Source(size), blocksize=_BLOCK)
        stored = time.perf_counter()
        received = 0

        def count(octets: bytes) -> None:
            nonlocal received
            received += len(octets)

        client.retrbinary("RETR large.bin", count, blocksize=_BLOCK)
        read = time.perf_counter()
        if received != size:
            raise OSError(f"{received} octets came back of {size}")
        spent = cpu_seconds(side.roots) - before  # a session's process may take its account with it
        client.delete("large.bin")
    return Transferred(size / (stored - begun), size / (read - stored), spent)
