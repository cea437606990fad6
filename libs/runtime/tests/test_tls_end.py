"""Under TLS the last octets and the end come together; a slow handler gets both."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Connection, ListenerSettings, serve_tcp
from postroom_runtime.tls import opportunistic_client_context, server_context
from postroom_testing.certificates import CertificateAuthority


@pytest.mark.parametrize("octets", [10, 70_000, 300_000, 2_000_000])
async def test_a_slow_handler_gets_all_octets_and_the_end(
    authority: CertificateAuthority, octets: int
) -> None:
    issued = authority.issue("localhost")
    context = server_context(issued.cert_file, issued.key_file)
    context.num_tickets = 0
    heard: asyncio.Queue[tuple[int, bool]] = asyncio.Queue()
    sent = asyncio.Event()

    async def slow(connection: Connection) -> None:
        # As much as fits is under way, the end too, before the first octet is looked at.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                await sent.wait()
        count = 0
        while data := await connection.receive():
            count += len(data)
            for _ in range(20):
                await asyncio.sleep(0)
        heard.put_nowait((count, connection.ended))

    def send(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_000_000)
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            layer = opportunistic_client_context().wrap_bio(incoming, outgoing)
            while True:
                try:
                    layer.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    plain.sendall(outgoing.read())
                    incoming.write(plain.recv(65536))
            layer.write(b"x" * octets)
            with pytest.raises(ssl.SSLWantReadError):
                layer.unwrap()  # says the end, and would wait for the other's
            plain.sendall(outgoing.read())  # the handshake's last words, the octets and the end
            plain.shutdown(socket.SHUT_WR)
            asyncio.run_coroutine_threadsafe(_set(sent), loop)
            plain.recv(10)

    loop = asyncio.get_running_loop()
    settings = ListenerSettings("test", "127.0.0.1", 0, implicit_tls=True)
    async with await serve_tcp(settings, slow, lifecycle=Lifecycle(), tls=context) as listener:
        sending = asyncio.create_task(asyncio.to_thread(send, listener.port))
        assert await asyncio.wait_for(heard.get(), 10) == (octets, True)
        await sending


async def _set(event: asyncio.Event) -> None:
    event.set()
