import asyncio
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from postroom_runtime import tls
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tcp import Connection, ListenerSettings, connect_tcp, serve_tcp
from postroom_runtime.tls import (
    CertificateReloader,
    TlsFiles,
    opportunistic_client_context,
    server_context,
    verifying_client_context,
)
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.secret_volume import SecretVolume


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Both sides in memory; gives the client's, or raises what the client or server raised."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return theirs


def subject_of(context: ssl.SSLContext, authority: CertificateAuthority, name: str) -> str:
    return str(handshake(context, verifying_client_context(authority.ca_file), name).getpeercert())


@pytest.fixture
def issued(authority: CertificateAuthority) -> Certificate:
    return authority.issue("localhost")


def test_1_3_and_1_2_are_spoken_and_nothing_older(issued: Certificate) -> None:
    server = server_context(issued.cert_file, issued.key_file)
    assert handshake(server, opportunistic_client_context()).version() == "TLSv1.3"
    older = opportunistic_client_context()
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    connected = handshake(server, older)
    assert connected.version() == "TLSv1.2"
    cipher = connected.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    weak = opportunistic_client_context()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError):
        handshake(server, weak)


def test_a_verifying_client_checks_name_and_authority(issued: Certificate) -> None:
    server = server_context(issued.cert_file, issued.key_file)
    handshake(server, verifying_client_context(issued.ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, verifying_client_context(issued.ca_file), "another.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, verifying_client_context())
    handshake(server, opportunistic_client_context(), "another.example")


def test_wrong_files_are_a_wrong_configuration(
    authority: CertificateAuthority, issued: Certificate, tmp_path: Path
) -> None:
    other = authority.issue("other.example")
    (tmp_path / "nonsense").write_text("nonsense")
    for cert_file, key_file in (
        (tmp_path / "absent", issued.key_file),
        (issued.cert_file, other.key_file),
        (tmp_path / "nonsense", tmp_path / "nonsense"),
    ):
        with pytest.raises(ConfigurationError, match=r"pem|absent|nonsense"):
            server_context(cert_file, key_file)
    with pytest.raises(ConfigurationError, match="absent"):
        CertificateReloader(TlsFiles(tmp_path / "absent", tmp_path / "absent"))


def test_a_renewed_certificate_is_taken_over_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "CHECK_SECONDS", 0.0)
    authority = CertificateAuthority(tmp_path)
    issued = authority.issue("localhost", "first.example")
    reloader = CertificateReloader(TlsFiles(issued.cert_file, issued.key_file))
    first = reloader.context
    assert reloader.context is first
    authority.issue("localhost", "second.example")
    second = reloader.context
    assert "second.example" in subject_of(second, authority, "second.example")
    issued.cert_file.write_text("half a certificate")
    assert reloader.context is second
    issued.cert_file.unlink()
    assert reloader.context is second
    authority.issue("localhost", "third.example")
    assert "third.example" in subject_of(reloader.context, authority, "localhost")


async def test_listeners_show_a_renewed_certificate_in_the_next_handshake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a secret volume, under implicit TLS and after STARTTLS; and half a renewal changes nothing."""
    monkeypatch.setattr(tls, "CHECK_SECONDS", 0.0)
    authority = CertificateAuthority(tmp_path / "authority")
    volume = SecretVolume(tmp_path / "volume", authority.issue("localhost", "first.example"))
    files = volume.certificate
    reloader = CertificateReloader(TlsFiles(files.cert_file, files.key_file))
    client = verifying_client_context(authority.ca_file)

    async def implicit(connection: Connection) -> None:
        await connection.receive()

    async def explicit(connection: Connection) -> None:
        await connection.receive()
        await connection.start_tls(reloader.context, reply=b"220 go\r\n")
        await connection.receive()

    async def shown() -> list[str]:
        names: list[str] = []
        for listener in (secured, plain):
            connection = await connect_tcp(
                "127.0.0.1",
                listener.port,
                tls=client if listener is secured else None,
                server_hostname="localhost",
            )
            if listener is plain:
                connection.write(b"STARTTLS\r\n")
                await connection.receive()
                await connection.start_tls(client, server_hostname="localhost")
            layer = connection.ssl_object
            assert layer is not None
            names.append(str((layer.getpeercert() or {})["subjectAltName"]))
            await connection.finish()
        return [name for name in ("first", "second", "third") for found in names if name in found]

    settings = ListenerSettings("renewed", "127.0.0.1", 0)
    secured = await serve_tcp(
        replace(settings, implicit_tls=True), implicit, lifecycle=Lifecycle(), tls=reloader
    )
    plain = await serve_tcp(settings, explicit, lifecycle=Lifecycle())
    async with secured, plain, asyncio.timeout(20):
        assert await shown() == ["first", "first"]
        volume.renew(authority.issue("localhost", "second.example"))
        assert await shown() == ["second", "second"]
        third = authority.issue("localhost", "third.example")
        files.cert_file.write_bytes(third.cert_file.read_bytes())
        assert await shown() == ["second", "second"]
        files.key_file.write_bytes(third.key_file.read_bytes())
        assert await shown() == ["third", "third"]


def test_the_files_are_not_looked_at_for_every_connection(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path)
    issued = authority.issue("localhost")
    reloader = CertificateReloader(TlsFiles(issued.cert_file, issued.key_file))
    first = reloader.context
    authority.issue("localhost")
    assert reloader.context is first
    assert reloader.check()
    assert reloader.context is not first
