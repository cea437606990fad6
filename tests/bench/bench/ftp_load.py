"""One large file up and down by FTP."""

import ftplib
import os
import time
from typing import Final

_BLOCK: Final = 1 << 20
_PATIENCE_SECONDS: Final = 120.0


class _Source:
    """A file of this many octets that cannot be compressed away."""

    def __init__(self, size: int) -> None:
        self._left, self._block = size, os.urandom(_BLOCK)

    def read(self, most: int) -> bytes:
        """The next octets."""
        octets = self._block[: min(most, self._left)]
        self._left -= len(octets)
        return octets


def transfer(port: int, user: str, password: str, folder: str, size: int) -> tuple[float, float]:
    """Octets per second up and down, each until the server says that it is done."""
    with ftplib.FTP(timeout=_PATIENCE_SECONDS) as client:
        client.connect("127.0.0.1", port)
        client.login(user, password)
        if folder:
            client.cwd(folder)
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
        client.delete("large.bin")
    return size / (stored - begun), size / (read - stored)
