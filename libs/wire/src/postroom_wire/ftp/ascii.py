"""TYPE A on the way: LF in the store, CRLF on the data connection, RFC 959 s3.1.1.1."""

from typing import final


@final
class AsciiEncoder:
    """Turns stored text into what RETR sends in TYPE A, chunk by chunk.

    Each LF becomes CRLF; a CRLF that is stored stays one, as with vsftpd and pyftpdlib, so that a text from
    Windows does not get CR CR LF. No state is left over at the end.
    """

    def __init__(self) -> None:
        self._after_cr = False

    def encode(self, chunk: bytes) -> bytes:
        """The octets to send for the next chunk of the file."""
        if not chunk:
            return b""
        split = self._after_cr and chunk.startswith(b"\n")
        self._after_cr = chunk.endswith(b"\r")
        head, tail = (b"\n", chunk[1:]) if split else (b"", chunk)
        return head + tail.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


@final
class AsciiDecoder:
    """Turns what STOR or APPE receives in TYPE A into what is stored, chunk by chunk.

    Each CRLF becomes LF; a lone CR or LF stays. A CR at the end of a chunk waits for the next one.
    """

    def __init__(self) -> None:
        self._held = b""

    def decode(self, chunk: bytes) -> bytes:
        """The octets to store for the next chunk received."""
        if not chunk:
            return b""
        whole = self._held + chunk
        self._held = b"\r" if whole.endswith(b"\r") else b""
        return whole.removesuffix(self._held).replace(b"\r\n", b"\n")

    def finish(self) -> bytes:
        """What is still held when the data connection has ended."""
        held, self._held = self._held, b""
        return held
