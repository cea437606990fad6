"""A client that does not read while FETCH is under way: little waits for it, and then it is gone."""

import asyncio
import re
import socket

import pytest

from mail_access.imap import session

SIZE = 200_000
MESSAGES = 64


async def test_a_client_that_does_not_read_is_cut_off_and_fills_no_memory(
    imap_port: int, mail_account: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_WRITE_SECONDS", 0.3)
    address, password = mail_account
    reader = socket.create_connection(("127.0.0.1", imap_port))
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    loop = asyncio.get_running_loop()
    reader.setblocking(False)

    async def until(end: bytes) -> bytes:
        said = b""
        async with asyncio.timeout(20):
            while not re.search(rb"^" + end, said, re.MULTILINE):
                said += await loop.sock_recv(reader, 65_536)
        return said

    with reader:
        head = f'a LOGIN {address} "{password}"\r\nb APPEND INBOX {{{SIZE}+}}\r\n'
        await loop.sock_sendall(reader, head.encode() + b"x" * SIZE + b"\r\nc SELECT INBOX\r\n")
        await until(b"c OK")
        for tag in (b"d", b"e", b"f", b"g", b"h", b"i"):
            await loop.sock_sendall(reader, tag + b" COPY 1:* INBOX\r\n")
            await until(tag + b" OK")
        await loop.sock_sendall(reader, b"j FETCH 1:* BODY.PEEK[]\r\n")
        await asyncio.sleep(1.5)  # longer than a writer waits; there is nothing to see from here
        came = 0
        async with asyncio.timeout(20):
            while octets := await _received(loop, reader):
                came += len(octets)
    assert SIZE < came < MESSAGES * SIZE / 2


async def _received(loop: asyncio.AbstractEventLoop, reader: socket.socket) -> bytes:
    try:
        return await loop.sock_recv(reader, 262_144)
    except ConnectionResetError:
        return b""
