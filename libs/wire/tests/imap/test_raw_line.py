"""Lines that are no commands: DONE, and the answers of AUTHENTICATE (RFC 2177 s3, RFC 3501 s6.2.2)."""

import pytest

from postroom_wire.imap.errors import LINE_TOO_LONG, LocalProtocolError, Tag
from postroom_wire.imap.events import NEED_DATA, CommandComplete, CommandRefused, LineReceived
from postroom_wire.imap.fragmenter import Fragmenter
from postroom_wire.imap.limits import Limits

SMALL = Limits(max_line=40)


def test_a_raw_line_has_no_literals() -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.receive_data(b"a AUTHENTICATE X\r\n{5+}\r\nb NOOP\r\n")
    assert fragmenter.next_event() == CommandComplete(b"a AUTHENTICATE X")
    fragmenter.expect_line(Tag(b"a"))
    assert fragmenter.next_event() == LineReceived(b"{5+}")
    assert fragmenter.next_event() == CommandComplete(b"b NOOP")


@pytest.mark.parametrize("step", [1, 7, 1_000])
def test_a_raw_line_beyond_the_limit_is_refused_by_its_commands_tag(step: int) -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.expect_line(Tag(b"a"))
    octets, told = (
        b"x" * 90 + b"\r\nz NOOP\r\n",
        [CommandRefused(Tag(b"a"), LINE_TOO_LONG), CommandComplete(b"z NOOP")],
    )
    found: list[object] = []
    for at in range(0, len(octets), step):
        fragmenter.receive_data(octets[at : at + step])
        while (event := fragmenter.next_event()) is not NEED_DATA:
            found.append(event)
    assert found == told


def test_a_raw_line_is_not_expected_within_a_command() -> None:
    fragmenter = Fragmenter(SMALL)
    fragmenter.receive_data(b"a X {5}\r\n")
    fragmenter.next_event()
    with pytest.raises(LocalProtocolError):
        fragmenter.expect_line(Tag(b"a"))
