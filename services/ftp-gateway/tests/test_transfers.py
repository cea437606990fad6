"""Transfers: up, down, appended, restarted, in ASCII; whole or not at all."""

import ftplib
import hashlib
import io
import socket
import struct
from typing import Any

import pytest

MIB = 1 << 20


@pytest.fixture(params=["plain", "secure"])
def connect(request: pytest.FixtureRequest, gateway: Any, behind: Any) -> Any:
    """Connects as one account, without and with TLS."""
    user = behind.account()
    return lambda: getattr(gateway, request.param)(user)


async def test_what_goes_up_comes_down_again(connect: Any, client: Any, ftp: Any) -> None:
    files = {"empty": b"", "small": b"abc", "part": b"x" * (5 * MIB), "parts": b"y" * (11 * MIB + 1)}

    def run() -> dict[str, bytes]:
        with connect() as session:
            for name, octets in files.items():
                assert ftp.store(session, name, octets).startswith("226")
            assert session.size("parts") == 11 * MIB + 1
            return {name: ftp.fetch(session, name) for name in files}

    assert await client(run) == files


async def test_a_file_is_replaced_whole(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session, connect() as other:
            ftp.store(session, "f", b"old")
            data = session.transfercmd("STOR f")
            data.sendall(b"new")
            assert ftp.fetch(other, "f") == b"old"
            if hasattr(data, "unwrap"):
                data = data.unwrap()
            data.close()
            assert session.voidresp().startswith("226")
            assert ftp.fetch(other, "f") == b"new"

    await client(run)


async def test_a_file_is_appended_to(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> bytes:
        with connect() as session:
            ftp.store(session, "f", b"one ", "APPE")
            ftp.store(session, "f", b"two ", "APPE")
            ftp.store(session, "f", b"three", "APPE")
            return ftp.fetch(session, "f")

    assert await client(run) == b"one two three"


async def test_a_long_file_is_appended_to_inside_the_store(connect: Any, client: Any, ftp: Any) -> None:
    first, second = bytes(range(256)) * (6 * MIB // 256), b"z" * (5 * MIB)

    def run() -> str:
        with connect() as session:
            ftp.store(session, "f", first)
            ftp.store(session, "f", second, "APPE")
            return hashlib.sha256(ftp.fetch(session, "f")).hexdigest()

    assert await client(run) == hashlib.sha256(first + second).hexdigest()


async def test_transfers_start_again_where_the_client_says(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session:
            ftp.store(session, "f", b"0123456789")
            assert ftp.fetch(session, "f", rest=7) == b"789"
            assert ftp.fetch(session, "f", rest=10) == b""
            session.storbinary("STOR f", io.BytesIO(b"abc"), rest=4)
            assert ftp.fetch(session, "f") == b"0123abc"
            for command in ("RETR f", "STOR f", "STOR new"):
                with pytest.raises(ftplib.error_perm, match="554"):
                    session.transfercmd(command, rest=8)

    await client(run)


async def test_text_has_its_line_ends_converted(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session:
            session.storlines("STOR t", io.BytesIO(b"one\ntwo\n"))
            session.voidcmd("TYPE I")
            assert ftp.fetch(session, "t") == b"one\ntwo\n"
            lines: list[str] = []
            session.retrlines("RETR t", lines.append)
            assert lines == ["one", "two"]
            session.voidcmd("TYPE A")
            raw = session.transfercmd("RETR t")
            octets = b"".join(iter(lambda: raw.recv(100), b""))
            raw.close()
            session.voidresp()
            assert octets == b"one\r\ntwo\r\n"

    await client(run)


@pytest.mark.parametrize("passive", [True, False])
async def test_data_connections_go_both_ways(connect: Any, client: Any, ftp: Any, passive: bool) -> None:
    def run() -> None:
        with connect() as session:
            session.set_pasv(passive)
            ftp.store(session, "f", b"octets")
            assert ftp.fetch(session, "f") == b"octets"
            assert session.nlst() == ["f"]

    await client(run)


async def test_data_connections_work_over_ipv6(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with ftplib.FTP(timeout=20) as session:
            session.connect("::1", gateway.port)
            session.login(behind.account(), "secret")
            for passive in (True, False):
                session.set_pasv(passive)
                ftp.store(session, "f", b"octets")
                assert ftp.fetch(session, "f") == b"octets"

    await client(run)


async def test_a_reset_in_the_middle_leaves_the_old_file(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session:
            ftp.store(session, "f", b"old")
            for name in ("f", "g"):
                data = session.transfercmd(f"STOR {name}")
                data.sendall(b"x" * 100_000)
                plain = socket.socket(fileno=data.detach())
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                plain.close()
                with pytest.raises(ftplib.error_temp, match="426"):
                    session.voidresp()
            assert ftp.fetch(session, "f") == b"old"
            assert session.nlst() == ["f"]

    await client(run)


async def test_under_tls_an_end_that_was_not_said_is_none(
    gateway: Any, behind: Any, client: Any, ftp: Any
) -> None:
    def run() -> None:
        with gateway.secure(behind.account()) as session:
            data = session.transfercmd("STOR f")
            data.sendall(b"half")
            plain = socket.socket(fileno=data.detach())
            plain.shutdown(socket.SHUT_WR)
            with pytest.raises(ftplib.error_temp, match="426"):
                session.voidresp()
            plain.close()
            assert session.nlst() == []

    await client(run)


async def test_a_client_that_is_gone_in_the_middle_leaves_the_old_file(
    connect: Any, client: Any, ftp: Any
) -> None:
    def run() -> None:
        session = connect()
        ftp.store(session, "f", b"old")
        data = session.transfercmd("STOR f")
        data.sendall(b"x" * 100_000)
        session.sock.close()
        session.file.close()
        session.sock = session.file = None
        with pytest.raises(OSError, match=r"reset|EOF|Broken|closed"):
            data.sendall(b"x" * (64 * MIB))
        data.close()
        with connect() as other:
            assert ftp.fetch(other, "f") == b"old"
            assert other.nlst() == ["f"]

    await client(run)


async def test_an_upload_is_interrupted_by_abor(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session:
            ftp.store(session, "f", b"old")
            data = session.transfercmd("STOR f")
            data.sendall(b"half")
            if isinstance(session, ftplib.FTP_TLS):
                session.putcmd("ABOR")
            else:
                session.sock.sendall(b"ABOR\r\n", socket.MSG_OOB)
            assert session.getmultiline().startswith("426")
            assert session.getresp().startswith("226")
            data.close()
            assert ftp.fetch(session, "f") == b"old"
            assert session.voidcmd("ABOR").startswith("226")

    await client(run)


async def test_a_download_is_interrupted_by_abor(connect: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with connect() as session:
            ftp.store(session, "f", b"x" * (12 * MIB))
            session.voidcmd("TYPE I")
            data = session.transfercmd("RETR f")
            data.recv(10)
            session.putcmd("ABOR")
            assert session.getmultiline().startswith("426")
            assert session.getresp().startswith("226")
            data.close()
            assert session.size("f") == 12 * MIB

    await client(run)


async def test_a_transfer_answers_questions_meanwhile(connect: Any, client: Any) -> None:
    def run() -> None:
        with connect() as session:
            data = session.transfercmd("STOR f")
            assert session.sendcmd("NOOP").startswith("200")
            assert "STOR" in session.sendcmd("STAT")
            session.putcmd("MDTM f")  # waits for its turn
            if hasattr(data, "unwrap"):
                data = data.unwrap()
            data.close()
            assert session.getresp().startswith("226")
            assert session.getresp().startswith("213 2")

    await client(run)


async def test_without_a_data_connection_there_is_no_transfer(start: Any, behind: Any, client: Any) -> None:
    gateway = await start(data_connect_seconds=0.3)

    def run() -> None:
        with gateway.plain(behind.account()) as session:
            assert session.sendcmd("EPSV").startswith("229")
            session.putcmd("LIST")
            assert session.getresp().startswith("150")
            with pytest.raises(ftplib.error_temp, match="425"):
                session.getresp()
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
            session.sendport("127.0.0.1", port)
            session.putcmd("LIST")
            assert session.getresp().startswith("150")
            with pytest.raises(ftplib.error_temp, match="425"):
                session.getresp()

    await client(run)


async def test_a_silent_data_connection_times_out(start: Any, behind: Any, client: Any) -> None:
    gateway = await start(data_idle_seconds=0.3)

    def run() -> None:
        with gateway.plain(behind.account()) as session:
            data = session.transfercmd("STOR f")
            with pytest.raises(ftplib.error_temp, match="426"):
                session.voidresp()
            data.close()
            assert session.nlst() == []

    await client(run)


async def test_a_data_connection_is_the_clients_own(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    def run() -> None:
        with gateway.plain(behind.account()) as session:
            ftp.store(session, "f", b"secret")
            session.voidcmd("TYPE I")
            port = int(session.sendcmd("EPSV").split("|")[3])
            thief = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0), timeout=5)
            session.putcmd("RETR f")
            assert session.getresp().startswith("150")
            assert thief.recv(100) == b""
            with socket.create_connection(("127.0.0.1", port), timeout=5) as data:
                assert data.recv(100) == b"secret"
            assert session.voidresp().startswith("226")
            thief.close()

    await client(run)


async def test_a_port_that_is_not_the_clients_is_refused(gateway: Any, behind: Any, client: Any) -> None:
    def run() -> None:
        with gateway.plain(behind.account()) as session:
            for command in ("PORT 10,0,0,1,100,1", "EPRT |1|10.0.0.1|25601|"):
                with pytest.raises(ftplib.error_perm, match="501"):
                    session.sendcmd(command)
            with pytest.raises(ftplib.error_perm, match="504"):
                session.sendcmd("PORT 127,0,0,1,0,25")
            with pytest.raises(ftplib.error_temp, match="425"):
                session.sendcmd("LIST")

    await client(run)


async def test_each_client_gets_a_passive_port_of_its_own_until_there_are_none(
    gateway: Any, behind: Any, client: Any
) -> None:
    def run() -> None:
        user = behind.account()
        sessions = [gateway.plain(user) for _ in range(5)]
        ports = {session.sendcmd("EPSV") for session in sessions[:4]}
        assert len(ports) == 4
        with pytest.raises(ftplib.error_temp, match="425"):
            sessions[4].sendcmd("EPSV")
        sessions[0].quit()
        assert sessions[4].sendcmd("EPSV") in ports
        for session in sessions[1:]:
            session.close()

    await client(run)
