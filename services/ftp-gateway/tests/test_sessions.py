"""Sessions: logins, limits, names, listings, drains."""

import asyncio
import ftplib
import socket
import ssl
import time
from typing import Any

import pytest
from pydantic import ValidationError

from ftp_gateway.settings import Settings


async def test_a_wrong_password_is_refused_and_the_third_ends_the_session(
    gateway: Any, behind: Any, client: Any
) -> None:
    user = behind.account()

    def run() -> None:
        session = gateway.plain()
        for attempt in ("530", "530", "421"):
            with pytest.raises(ftplib.Error, match=attempt):
                session.login(user, "wrong")
        session.close()

    await client(run)


async def test_a_password_in_the_clear_is_taken_from_this_machine_only(
    gateway: Any, behind: Any, client: Any
) -> None:
    user, outside = behind.account(), _outside_address()

    def run() -> None:
        session = ftplib.FTP(timeout=20)
        session.connect(outside, gateway.port)
        with pytest.raises(ftplib.error_perm, match="530 Send AUTH TLS first"):
            session.login(user, "secret")
        session.close()
        context = gateway.client_context()
        context.check_hostname = False
        with ftplib.FTP_TLS(timeout=20, context=context) as secured:
            secured.connect(outside, gateway.port)
            secured.login(user, "secret")
            with pytest.raises(ftplib.error_perm, match="521"):
                secured.nlst()
            secured.prot_p()
            assert secured.nlst() == []

    await client(run)


async def test_tls_may_be_there_from_the_start(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    user = behind.account()

    def run() -> None:
        class Implicit(ftplib.FTP_TLS):
            def connect(self, *_: object) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
                raw = socket.create_connection(("127.0.0.1", gateway.ftps_port), timeout=20)
                self.sock = self.context.wrap_socket(raw, server_hostname="localhost")
                self.af = raw.family
                self.host = "localhost"
                self.file = self.sock.makefile("r", encoding=self.encoding)
                return self.getresp()

        with Implicit(timeout=20, context=gateway.client_context()) as session:
            session.connect()
            session.login(user, "secret", secure=False)
            session.prot_p()
            ftp.store(session, "f", b"octets")
            assert ftp.fetch(session, "f") == b"octets"

    await client(run)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_data_connections_resume_the_session_where_they_must(
    start: Any, behind: Any, client: Any, ftp: Any, version: ssl.TLSVersion
) -> None:
    gateway, user = await start(data_session="require"), behind.account()

    class Resuming(ftplib.FTP_TLS):
        def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
            plain, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
            control: Any = self.sock
            return self.context.wrap_socket(plain, server_hostname="localhost", session=control.session), size

    def run() -> None:
        context = gateway.client_context()
        context.maximum_version = version
        with Resuming(timeout=20, context=context) as session:
            session.connect("localhost", gateway.port)
            session.login(user, "secret")
            session.prot_p()
            for number in range(3):
                ftp.store(session, "f", b"%d" % number)
                assert ftp.fetch(session, "f") == b"%d" % number
        with gateway.secure(user) as other:
            other.transfercmd("NLST").close()
            with pytest.raises(ftplib.error_perm, match="522"):
                other.voidresp()

    await client(run)


async def test_sessions_are_bounded_for_each_address_and_account(
    start: Any, behind: Any, client: Any
) -> None:
    gateway = await start(max_sessions_per_address=3, max_sessions_per_account=2)
    ann, bob = behind.account(), behind.account()

    def run() -> None:
        first, second = gateway.plain(ann), gateway.plain(ann)
        with pytest.raises(ftplib.error_temp, match="421"):
            gateway.plain(ann)
        third = gateway.plain(bob)
        with pytest.raises(ftplib.error_temp, match="421 Too many sessions"):
            gateway.plain()
        first.quit()
        gateway.plain(ann).quit()
        second.close()
        third.close()

    await client(run)


async def test_sessions_are_bounded_in_all(start: Any, client: Any) -> None:
    gateway = await start(max_sessions=1)

    def run() -> None:
        with gateway.plain(), pytest.raises(ftplib.error_temp, match="421 Too many sessions"):
            gateway.plain()

    await client(run)


async def test_an_idle_session_ends(start: Any, behind: Any, client: Any, ftp: Any) -> None:
    gateway, user = await start(idle_seconds=0.3), behind.account()

    def run() -> None:
        with ftp.raw(gateway.port) as raw:
            octets = b"".join(iter(lambda: raw.recv(4096), b""))
            assert octets.splitlines()[-1].startswith(b"421 Idle")
        session = gateway.plain(user)
        data = session.transfercmd("STOR f")  # a transfer is not idle
        time.sleep(0.8)
        data.close()
        assert session.voidresp().startswith("226")
        session.close()

    await client(run)


async def test_who_does_not_log_in_does_not_stay(start: Any, client: Any, ftp: Any) -> None:
    gateway = await start(login_seconds=0.3)

    def run() -> None:
        with ftp.raw(gateway.port) as raw:
            raw.sendall(b"NOOP\r\n")
            octets = b"".join(iter(lambda: raw.recv(4096), b""))
            assert octets.splitlines()[-1].startswith(b"421")

    await client(run)


async def test_paths_stay_below_the_root(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    user = behind.account()

    def run() -> None:
        with gateway.plain(user) as session:
            assert session.mkd("/a") == "/a"
            session.cwd("/a/../../../..")
            assert session.pwd() == "/"
            ftp.store(session, "../../f", b"octets")
            assert sorted(session.nlst()) == ["a", "f"]
            for name in ("a\0b", "tab\there"):
                session.voidcmd("EPSV")
                session.sock.sendall(f"STOR {name}\r\n".encode())
                with pytest.raises(ftplib.error_perm, match=r"501|553"):
                    session.getresp()
            assert sorted(session.nlst()) == ["a", "f"]

    await client(run)


async def test_files_and_directories_are_managed(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    user = behind.account()

    def run() -> None:
        with gateway.plain(user) as session:
            session.mkd("a")
            session.mkd("a/b")
            ftp.store(session, "a/b/f", b"octets")
            session.rename("a", "c")
            session.cwd("c/b")
            assert session.nlst() == ["f"]
            assert session.voidcmd("MDTM f").startswith("213 20")
            listed = session.voidcmd("MLST f")
            assert "size=6;" in listed
            assert "/c/b/f" in listed
            refused = {
                "RMD /c": "550",
                "RMD f": "550",
                "DELE /c": "550",
                "DELE g": "550",
                "MKD /c": "550",
                "CWD f": "550",
                "CWD /x": "550",
                "SIZE /c": "550",
                "RNFR g": "550",
                "MDTM g": "550",
                "RMD /": "550",
            }
            session.voidcmd("TYPE I")
            for command, code in refused.items():
                with pytest.raises(ftplib.error_perm, match=f"^{code}"):
                    session.voidcmd(command)
            for command in ("RETR /c", "STOR /c", "STOR /x/f", "RETR g", "MLSD f"):
                with pytest.raises(ftplib.error_perm, match=r"550|501"):
                    session.transfercmd(command)
            session.sendcmd("RNFR /c")
            with pytest.raises(ftplib.error_perm, match="553"):
                session.sendcmd("RNTO /c/b/c")
            session.delete("f")
            session.cwd("/")
            session.rmd("c/b")
            session.rmd("c")
            assert session.nlst() == []

    await client(run)


async def test_listings_show_what_there_is(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    user = behind.account()

    def run() -> None:
        with gateway.plain(user) as session:
            session.mkd("d")
            for name in ("d/a.txt", "d/b.txt", "d/c.bin", "d/é [1].txt"):
                ftp.store(session, name, b"12345")
            assert session.nlst("d") == ["d/a.txt", "d/b.txt", "d/c.bin", "d/é [1].txt"]
            assert session.nlst("d/*.txt") == ["d/a.txt", "d/b.txt", "d/é [1].txt"]
            assert session.nlst("d/é [1].txt") == ["d/é [1].txt"]
            facts = dict(session.mlsd("d"))
            assert facts["c.bin"]["size"] == "5"
            assert facts["c.bin"]["type"] == "file"
            assert len({entry["unique"] for entry in facts.values()}) == 4
            lines: list[str] = []
            session.dir("d", lines.append)
            assert [line[0] for line in lines] == ["-"] * 4
            assert lines[0].endswith(" a.txt")
            session.dir(lines.append)
            assert lines[-1].startswith("d")
            assert "c.bin" in session.sendcmd("STAT d")
            assert "a.txt" in session.sendcmd("STAT d/a.txt")
            with pytest.raises(ftplib.error_perm, match="550"):
                session.nlst("x")

    await client(run)


async def test_a_long_listing_comes_in_pages(gateway: Any, behind: Any, client: Any, ftp: Any) -> None:
    account = behind.directory.add("many@example.org")
    await asyncio.to_thread(_fill, behind, account, gateway, 1100)

    def run() -> None:
        with gateway.plain("many@example.org") as session:
            assert session.nlst() == [f"d{number:04d}" for number in range(1100)]

    await client(run)


def _fill(behind: Any, account: Any, gateway: Any, count: int) -> None:
    with gateway.plain(account.address) as session:
        for number in range(count):
            session.putcmd(f"MKD d{number:04d}")
            if number % 50 == 49 or number == count - 1:
                for _ in range(number % 50 + 1):
                    session.getresp()


async def test_a_capability_is_renewed_in_a_long_session(
    start: Any, certificate: Any, behind: Any, client: Any, tmp_path: Any
) -> None:
    gateway, directory = await start(), behind.directory
    account = directory.add("long@example.org")
    directory.capability_seconds = 60.0  # too little to be fresh
    try:

        def run() -> None:
            session = gateway.plain(account.address)
            renewed = directory.renewals
            assert session.nlst() == []
            assert directory.renewals > renewed
            directory.away = True
            assert session.nlst() == []  # it is good for some time yet
            directory.away = False
            directory.remove(account)
            with pytest.raises(ftplib.error_temp, match="421"):
                session.nlst()
            session.close()

        await client(run)
    finally:
        directory.away, directory.capability_seconds = False, 600.0


async def test_a_drain_says_goodbye_and_lets_transfers_finish(
    start: Any, behind: Any, client: Any, ftp: Any
) -> None:
    gateway, user = await start(drain_seconds=8.0), behind.account()
    idle = await client(lambda: gateway.plain(user))
    busy = await client(lambda: gateway.plain(user))
    data = await client(lambda: busy.transfercmd("STOR f"))
    gateway.lifecycle.stop()

    def run() -> None:
        assert idle.getmultiline().startswith("421")
        data.sendall(b"octets")
        data.close()
        assert busy.voidresp().startswith("226")
        assert busy.getmultiline().startswith("421")
        idle.close()
        busy.close()

    await client(run)


async def test_a_transfer_that_outlasts_the_drain_is_cut_and_told(
    start: Any, behind: Any, client: Any
) -> None:
    gateway, user = await start(drain_seconds=1.0), behind.account()
    busy = await client(lambda: gateway.plain(user))
    data = await client(lambda: busy.transfercmd("STOR f"))
    gateway.lifecycle.stop()

    def run() -> None:
        assert busy.getmultiline().startswith("426")
        assert busy.getmultiline().startswith("421")
        data.close()
        busy.close()

    await client(run)


async def test_a_busy_client_does_not_flood_the_gateway(gateway: Any, behind: Any, client: Any) -> None:
    user = behind.account()

    def run() -> None:
        with gateway.plain(user) as session:
            data = session.transfercmd("STOR f")
            session.sock.settimeout(1.0)
            with pytest.raises(TimeoutError):
                session.sock.sendall(b"PWD\r\n" + (b"X" * 8000 + b"\r\n") * 4000)
            session.sock.settimeout(20.0)
            data.close()
            assert session.getresp().startswith("226")
            assert session.getresp().startswith("257")
            for _ in range(20):
                assert session.getmultiline().startswith("500")
            assert session.getmultiline().startswith("421")
            session.close()

    await client(run)


@pytest.mark.parametrize("ports", ["30000", "x-y", "40000-30000", "80-90", "30000-99999", "2000-30000"])
def test_a_wrong_range_of_ports_is_a_wrong_setting(ports: str) -> None:
    values = {"directory_address": "unix:/d", "filestore_address": "unix:/f"}
    with pytest.raises(ValidationError):
        Settings.model_validate(values | {"passive_ports": ports})
    taken = Settings.model_validate(values | {"passive_ports": "30000-30019"})
    assert (
        taken.passive_ports == Settings.model_validate(values).passive_ports == tuple(range(30_000, 30_020))
    )


def _outside_address() -> str:
    """An address of this machine that is not its loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has a loopback only")
        return probe.getsockname()[0]
