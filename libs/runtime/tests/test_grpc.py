"""Calls between services over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from postroom_contracts.errors import (
    LimitError,
    MailboxNotFoundError,
    MethodMissingError,
    NotPermittedError,
    StagingFullError,
    UnavailableError,
)
from postroom_runtime.errors import ConfigurationError
from postroom_runtime.grpc_client import channel, on_behalf_of
from postroom_runtime.grpc_server import (
    Limits,
)
from postroom_runtime.tls import GrpcTls
from postroom_runtime.traces import bind_trace, new_traceparent
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.grpc_calls import method, serve


def mutual(authority: CertificateAuthority, *names: str) -> GrpcTls:
    issued = authority.issue(*names)
    return GrpcTls(issued.cert_file, issued.key_file, issued.ca_file)


@pytest.fixture
async def local(sockets: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of smtp-inbound to a server on a unix socket."""
    async with await serve(f"unix:{sockets}/a"), channel(f"unix:{sockets}/a", "smtp-inbound") as to:
        yield to


async def test_a_unix_socket_believes_the_service_that_the_caller_names(local: grpc.aio.Channel) -> None:
    assert await method("Who", local)(b"") == b"smtp-inbound"


async def test_a_service_that_the_policy_does_not_name_is_refused(sockets: Path) -> None:
    async with await serve(f"unix:{sockets}/a"), channel(f"unix:{sockets}/a", "ftp-gateway") as to:
        with pytest.raises(NotPermittedError):
            await method("Who", to)(b"")


async def test_a_method_that_the_policy_does_not_name_is_for_nobody(local: grpc.aio.Channel) -> None:
    with pytest.raises(NotPermittedError):
        await method("Unlisted", local)(b"")


async def test_a_method_that_does_not_exist_is_no_success(local: grpc.aio.Channel) -> None:
    with pytest.raises(MethodMissingError, match="UNIMPLEMENTED"):
        await method("Nothing", local)(b"")


async def test_an_error_travels_by_its_name_and_without_its_text(local: grpc.aio.Channel) -> None:
    with pytest.raises(MailboxNotFoundError) as missing_mailbox:
        await method("Missing", local)(b"")
    with pytest.raises(StagingFullError):
        await method("Full", local)(b"")
    assert "secret" not in str(missing_mailbox.value)


async def test_an_unknown_error_shows_an_incident_and_nothing_else(local: grpc.aio.Channel) -> None:
    with pytest.raises(UnavailableError, match=r"^INTERNAL: incident [0-9a-f]{16}$"):
        await method("Bug", local)(b"")


async def test_the_trace_goes_along(local: grpc.aio.Channel) -> None:
    traceparent = new_traceparent()
    with bind_trace(traceparent):
        assert await method("Trace", local)(b"") == traceparent[3:35].encode()
    assert len(await method("Trace", local)(b"")) == 32


async def test_the_capability_goes_along(local: grpc.aio.Channel) -> None:
    assert await method("Capability", local)(b"", metadata=on_behalf_of("token")) == b"token"
    assert await method("Capability", local)(b"") == b""


async def test_a_late_answer_is_unavailable(local: grpc.aio.Channel) -> None:
    with pytest.raises(UnavailableError, match="DEADLINE_EXCEEDED"):
        await method("Slow", local)(b"", timeout=0.05)


async def test_streams_of_every_kind_pass(local: grpc.aio.Channel) -> None:
    counted = [item async for item in method("Count", local, "unary_stream")(b"3")]
    assert counted == [b"0", b"1", b"2"]

    async def numbers() -> AsyncIterator[bytes]:
        yield b"4"
        yield b"5"

    assert await method("Sum", local, "stream_unary")(numbers()) == b"9"
    both = method("Echo", local, "stream_stream")()
    await both.write(b"x")
    assert await both.read() == b"x"
    await both.done_writing()
    assert await both.read() is grpc.aio.EOF


async def test_a_stream_that_breaks_off_raises_our_error(local: grpc.aio.Channel) -> None:
    with pytest.raises(MailboxNotFoundError):
        _ = [item async for item in method("Refuse", local, "unary_stream")(b"")]


async def test_calls_over_the_bound_are_refused_for_now(sockets: Path) -> None:
    async with (
        await serve(f"unix:{sockets}/a", limits=Limits(concurrent_calls=1)),
        channel(f"unix:{sockets}/a", "smtp-inbound") as to,
    ):
        stream = method("Echo", to, "stream_stream")()
        await stream.write(b"x")
        assert await stream.read() == b"x"
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")
        stream.cancel()


async def test_a_message_over_the_bound_is_refused(local: grpc.aio.Channel) -> None:
    with pytest.raises(LimitError):
        await method("Who", local)(b"x" * (9 << 20))


async def test_over_tcp_the_certificate_says_who_calls(authority: CertificateAuthority) -> None:
    server_tls = mutual(authority, "mailstore")
    async with await serve("127.0.0.1:0", server_tls) as server:
        address = f"127.0.0.1:{server.port}"
        liar = mutual(authority, "ftp-gateway")
        async with channel(address, "smtp-inbound", liar, server="mailstore") as to:
            with pytest.raises(NotPermittedError):
                await method("Who", to)(b"")
        honest = mutual(authority, "mail-access", "mail-access.mail.svc")
        async with channel(address, "ftp-gateway", honest, server="mailstore") as to:
            assert await method("Who", to)(b"") == b"mail-access"
        both = mutual(authority, "mail-access", "smtp-inbound")
        async with channel(address, "mail-access", both, server="mailstore") as to:
            with pytest.raises(NotPermittedError):
                await method("Who", to)(b"")


async def test_over_tcp_a_foreign_authority_is_nobody(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    stranger = mutual(CertificateAuthority(tmp_path / "other"), "mail-access")
    trusting = GrpcTls(stranger.cert_file, stranger.key_file, authority.ca_file)
    async with (
        await serve("127.0.0.1:0", mutual(authority, "mailstore")) as server,
        channel(f"127.0.0.1:{server.port}", "mail-access", trusting, server="mailstore") as to,
    ):
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")


async def test_a_server_that_is_another_service_is_not_called(authority: CertificateAuthority) -> None:
    async with (
        await serve("127.0.0.1:0", mutual(authority, "filestore")) as server,
        channel(
            f"127.0.0.1:{server.port}", "mail-access", mutual(authority, "mail-access"), server="mailstore"
        ) as to,
    ):
        with pytest.raises(UnavailableError):
            await method("Who", to)(b"")


async def test_tcp_without_mutual_tls_is_a_wrong_configuration() -> None:
    with pytest.raises(ConfigurationError, match="POSTROOM_GRPC_TLS"):
        await serve("127.0.0.1:0")
    with pytest.raises(ConfigurationError, match="POSTROOM_GRPC_TLS"):
        channel("127.0.0.1:9000", "mail-access")


async def test_a_socket_directory_that_others_can_enter_is_refused(sockets: Path) -> None:
    sockets.chmod(0o755)
    with pytest.raises(ConfigurationError, match="open to others"):
        await serve(f"unix:{sockets}/a")


async def test_a_port_in_use_is_refused(authority: CertificateAuthority) -> None:
    tls = mutual(authority, "mailstore")
    async with await serve("127.0.0.1:0", tls) as server:
        with pytest.raises(ConfigurationError, match="cannot listen"):
            await serve(f"127.0.0.1:{server.port}", tls)


async def test_a_wrong_address_is_a_wrong_configuration() -> None:
    for address in ("", " , ", "unix:/a,host:1"):
        with pytest.raises(ConfigurationError):
            channel(address, "mail-access")
