"""Mutual TLS between services whose certificates are renewed while they run."""

import asyncio
import ssl
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeAlias, cast

import grpc
import pytest

from postroom_contracts.errors import NotPermittedError, UnavailableError
from postroom_runtime import tls
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import channel
from postroom_runtime.grpc_server import GrpcServer, caller, serve_grpc
from postroom_runtime.lifecycle import Lifecycle
from postroom_runtime.tls import GrpcTls
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.secret_volume import SecretVolume

SERVICE = "postroom.test.v1.RenewalService"
EVERYBODY = frozenset({"smtp-inbound", "mail-access"})
POLICY = {f"/{SERVICE}/{name}": EVERYBODY for name in ("Who", "Echo")}

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


@pytest.fixture(autouse=True)
def always_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at for every connection and call."""
    monkeypatch.setattr(tls, "CHECK_SECONDS", 0.0)


@pytest.fixture
def own_authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path / "authority")


@pytest.fixture
def server_files(tmp_path: Path, own_authority: CertificateAuthority) -> SecretVolume:
    return SecretVolume(tmp_path / "server", own_authority.issue("mailstore"))


@pytest.fixture
def client_files(tmp_path: Path, own_authority: CertificateAuthority) -> SecretVolume:
    return SecretVolume(tmp_path / "client", own_authority.issue("mail-access"))


def grpc_tls(certificate: Certificate) -> GrpcTls:
    return GrpcTls(certificate.cert_file, certificate.key_file, certificate.ca_file)


async def serve(files: SecretVolume) -> GrpcServer:
    async def who(request: bytes, context: Context) -> bytes:
        return caller().encode()

    async def echo(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    def add(server: grpc.aio.Server) -> None:
        handlers: dict[str, Any] = {
            "Who": grpc.unary_unary_rpc_method_handler(cast(Any, who)),
            "Echo": grpc.stream_stream_rpc_method_handler(cast(Any, echo)),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))

    return await serve_grpc(
        "127.0.0.1:0", add, policy=POLICY, tls=grpc_tls(files.certificate), lifecycle=Lifecycle()
    )


def client_of(server: GrpcServer, files: SecretVolume) -> grpc.aio.Channel:
    return channel(f"127.0.0.1:{server.port}", "whoever", grpc_tls(files.certificate), server="mailstore")


def who_of(to: grpc.aio.Channel) -> Callable[[bytes], Any]:
    return cast(Callable[[bytes], Any], to.unary_unary(f"/{SERVICE}/Who"))


async def shown_by(server: GrpcServer, authority: CertificateAuthority, client: Certificate) -> str:
    """The names in the certificate that the server shows in a handshake of now."""
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.load_cert_chain(client.cert_file, client.key_file)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(
        "127.0.0.1", server.port, ssl=context, server_hostname="mailstore"
    )
    shown: dict[str, Any] = writer.get_extra_info("peercert")
    writer.close()
    return str(shown["subjectAltName"])


async def test_a_server_shows_its_renewed_certificate_to_new_connections(
    own_authority: CertificateAuthority, server_files: SecretVolume, client_files: SecretVolume
) -> None:
    client = client_files.certificate
    async with await serve(server_files) as server, client_of(server, client_files) as to:
        assert await who_of(to)(b"") == b"mail-access"
        assert "second" not in await shown_by(server, own_authority, client)
        server_files.renew(own_authority.issue("mailstore", "second.mail.svc"))
        assert "second" in await shown_by(server, own_authority, client)
        assert await who_of(to)(b"") == b"mail-access"  # on the connection that there is


async def test_a_server_keeps_its_certificate_while_the_new_one_is_half_written(
    own_authority: CertificateAuthority, server_files: SecretVolume, client_files: SecretVolume
) -> None:
    client, written = client_files.certificate, server_files.certificate
    async with await serve(server_files) as server:
        renewed = own_authority.issue("mailstore", "second.mail.svc")
        written.cert_file.write_bytes(renewed.cert_file.read_bytes())  # but not yet its key
        assert "second" not in await shown_by(server, own_authority, client)
        written.key_file.write_bytes(b"-----BEGIN")
        assert "second" not in await shown_by(server, own_authority, client)
        written.key_file.write_bytes(renewed.key_file.read_bytes())
        assert "second" in await shown_by(server, own_authority, client)


async def test_a_client_begins_calls_with_its_renewed_certificate_and_ends_streams_with_the_old(
    own_authority: CertificateAuthority, server_files: SecretVolume, client_files: SecretVolume
) -> None:
    async with await serve(server_files) as server, client_of(server, client_files) as to:
        who, echo = who_of(to), cast(Callable[[], Any], to.stream_stream(f"/{SERVICE}/Echo"))
        stream = echo()
        await stream.write(b"before")
        assert await stream.read() == b"before"
        assert await who(b"") == b"mail-access"
        # Never so in life, but it shows which certificate is used.
        client_files.renew(own_authority.issue("smtp-inbound"))
        assert await who(b"") == b"smtp-inbound"
        await stream.write(b"after")
        assert await stream.read() == b"after"
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_an_older_channel_is_closed_when_its_last_call_ends(
    own_authority: CertificateAuthority,
    server_files: SecretVolume,
    client_files: SecretVolume,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[grpc.aio.Channel] = []
    make = grpc.aio.secure_channel

    def secure_channel(*args: Any, **options: Any) -> grpc.aio.Channel:
        opened.append(make(*args, **options))
        return opened[-1]

    monkeypatch.setattr(grpc.aio, "secure_channel", secure_channel)
    async with await serve(server_files) as server, client_of(server, client_files) as to:
        stream = cast(Callable[[], Any], to.stream_stream(f"/{SERVICE}/Echo"))()
        await stream.write(b"x")
        assert await stream.read() == b"x"
        client_files.renew(own_authority.issue("mail-access"))
        assert await who_of(to)(b"") == b"mail-access"
        assert [one.get_state() for one in opened] == [grpc.ChannelConnectivity.READY] * 2
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        async with asyncio.timeout(5):
            while opened[0].get_state() is not grpc.ChannelConnectivity.SHUTDOWN:
                await asyncio.sleep(0.01)
        assert await who_of(to)(b"") == b"mail-access"
        assert len(opened) == 2
    assert opened[1].get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_a_client_keeps_its_certificate_while_the_new_one_is_half_written(
    own_authority: CertificateAuthority, server_files: SecretVolume, client_files: SecretVolume
) -> None:
    written = client_files.certificate
    async with await serve(server_files) as server, client_of(server, client_files) as to:
        renewed = own_authority.issue("smtp-inbound")
        written.cert_file.write_bytes(renewed.cert_file.read_bytes())
        assert await who_of(to)(b"") == b"mail-access"
        written.key_file.write_bytes(renewed.key_file.read_bytes())
        assert await who_of(to)(b"") == b"smtp-inbound"


async def test_a_new_authority_is_taken_over_on_both_sides(
    tmp_path: Path,
    own_authority: CertificateAuthority,
    server_files: SecretVolume,
    client_files: SecretVolume,
) -> None:
    other = CertificateAuthority(tmp_path / "other")
    both = tmp_path / "both.pem"
    both.write_bytes(own_authority.ca_file.read_bytes() + other.ca_file.read_bytes())
    async with await serve(server_files) as server:
        stranger = other.issue("smtp-inbound")
        stranger_files = SecretVolume(
            tmp_path / "stranger", Certificate(stranger.cert_file, stranger.key_file, both)
        )
        async with client_of(server, stranger_files) as to:
            with pytest.raises((UnavailableError, NotPermittedError)):
                await who_of(to)(b"")
            mine = own_authority.issue("mailstore")
            server_files.renew(Certificate(mine.cert_file, mine.key_file, both))
            async with asyncio.timeout(10):
                while True:
                    try:
                        assert await who_of(to)(b"") == b"smtp-inbound"
                        break
                    except UnavailableError:
                        await asyncio.sleep(0.05)


@pytest.mark.parametrize("broken", ["cert_file", "key_file", "ca_file"])
async def test_wrong_files_are_a_wrong_configuration_at_the_start(
    server_files: SecretVolume, client_files: SecretVolume, broken: str
) -> None:
    async with await serve(server_files) as server:
        file: Path = getattr(client_files.certificate, broken)
        file.write_text("nonsense")
        with pytest.raises(ConfigurationError, match=file.name):
            client_of(server, client_files)
        await to_thread(file.unlink)
        with pytest.raises(ConfigurationError, match=file.name):
            client_of(server, client_files)
