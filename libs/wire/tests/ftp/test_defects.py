"""What other FTP servers get wrong must stay right here."""

import pytest

from postroom_wire.ftp import Answered, Policy, Reply, ServerSession, plain_address
from postroom_wire.ftp import standard_replies as replies


def conversation(*lines: bytes, peer: str = "192.0.2.1", tls: bool = True) -> list[Reply]:
    """The engine's answers to lines that need no service."""
    session = ServerSession(plain_address(peer), Policy(login_needs_tls=False), implicit_tls=tls)
    session.receive_data(b"".join(line + b"\r\n" for line in lines))
    return [event.reply for _ in lines if isinstance(event := session.next_event(), Answered)]


def logged_in(*lines: bytes, peer: str = "192.0.2.1") -> list[Reply]:
    session = ServerSession(plain_address(peer), Policy(login_needs_tls=False))
    session.receive_data(b"USER ann\r\nPASS x\r\n" + b"".join(line + b"\r\n" for line in lines))
    session.next_event()
    session.next_event()
    session.answer(replies.LOGGED_IN)
    return [event.reply for _ in lines if isinstance(event := session.next_event(), Answered)]


def test_a_session_beyond_a_limit_is_refused_with_421() -> None:
    """ftpserverlib says 500 or 530, ProFTPD 530."""
    for reply in (replies.TOO_MANY_SESSIONS, replies.SHUTTING_DOWN, replies.IDLE_TIMEOUT, replies.LINE_FLOOD):
        assert reply.code == 421
        assert reply.closes


def test_feat_has_one_line_for_mlst_none_for_mlsd_and_tells_tvfs() -> None:
    """ftpserverlib lists MLSD and MLST without facts, and no TVFS."""
    (reply,) = conversation(b"FEAT")
    lines = reply.octets.decode().split("\r\n")
    features = [line.removeprefix(" ") for line in lines[1:-2]]
    assert all(line.startswith(" ") and not line.startswith("  ") for line in lines[1:-2])
    assert "MLST type*;size*;modify*;perm*;unique*;create;" in features
    assert {"TVFS", "UTF8", "REST STREAM", "AUTH TLS", "PBSZ", "PROT", "SIZE", "MDTM"} <= set(features)
    assert not any(feature.startswith(("MLSD", "FEAT", "OPTS")) for feature in features)
    assert lines[-2] == "211 End"


@pytest.mark.parametrize("mechanism", [b"GSSAPI", b"SSL", b"KERBEROS_V4", b"x"])
def test_auth_takes_tls_only(mechanism: bytes) -> None:
    """ftpserverlib answers 234 to anything."""
    assert conversation(b"AUTH " + mechanism, tls=False) == [replies.UNKNOWN_MECHANISM]


def test_prot_takes_c_and_p_only_and_after_pbsz() -> None:
    """ftpserverlib answers 200 to S, E and garbage, leaves the data clear, and asks for no PBSZ."""
    assert [reply.code for reply in conversation(b"PROT P", b"PBSZ 0", b"PROT S", b"PROT E", b"PROT Z")] == [
        503,
        200,
        536,
        536,
        504,
    ]
    assert [reply.code for reply in conversation(b"PROT P", b"PBSZ 0", tls=False)] == [503, 503]


def test_epsv_heeds_its_argument() -> None:
    """ftpserverlib ignores 1, 2 and ALL; aioftp refuses all."""
    assert logged_in(b"EPSV 2", b"EPSV 9", b"EPSV ALL", b"PASV", b"PORT 192,0,2,1,4,1") == [
        replies.USE_PROTOCOL_1,
        replies.USE_PROTOCOL_1,
        replies.EPSV_ALL,
        replies.EPSV_ONLY,
        replies.EPSV_ONLY,
    ]


def test_pasv_over_ipv6_is_refused_and_the_session_lives() -> None:
    """ftpserverlib answers 421."""
    assert logged_in(b"PASV", b"NOOP", peer="2001:db8::1") == [replies.PASV_NEEDS_IPV4, replies.NOTHING_DONE]


def test_the_minimum_of_the_standard_is_there_and_so_is_help() -> None:
    """SFTPGo answers 502 to STRU F, HELP and REIN."""
    answers = logged_in(b"STRU F", b"MODE S", b"TYPE A N", b"HELP", b"NOOP")
    assert [reply.code for reply in answers] == [200, 200, 200, 214, 200]


def test_a_bare_no_operation_is_not_an_error_with_lower_case() -> None:
    assert conversation(b"noop", b"NoOp", b"fEaT")[0] is replies.NOTHING_DONE


def test_reading_a_directory_with_options_is_not_an_error() -> None:
    """rclone fails against pyftpdlib, which answers 501."""
    assert logged_in(b"LIST -a", b"NLST -la x") == [replies.DATA_PORT_FIRST, replies.DATA_PORT_FIRST]
