"""Dots, line ends and the end of content, in both directions."""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_testing.costs import least_seconds
from postroom_wire.smtp import ContentDefect, ContentReader, ContentWriter

Cut = Callable[[bytes, Iterable[int]], list[bytes]]

# Octets of which the interesting ones are frequent.
wire_octets = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r\n.", b"bc \xff", b"\r\n.."])).map(b"".join)
any_octets = st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\0", b"\r\n", b"\xe4"])).map(b"".join)
cuts = st.sets(st.integers(1, 60))


def read(chunks: Iterable[bytes], reader: ContentReader) -> bytes:
    """The content of chunks that end with the end of content or do not end."""
    return b"".join(reader.feed(chunk) for chunk in chunks if reader.rest is None)


def write(chunks: Iterable[bytes]) -> bytes:
    """The octets for the wire."""
    writer = ContentWriter()
    return b"".join([*(writer.write(chunk) for chunk in chunks), writer.finish()])


def normal(octets: bytes) -> bytes:
    """What the writer makes of line ends, spelled out octet by octet."""
    text = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text if not text or text.endswith(b"\n") else text + b"\n"
    return text.replace(b"\n", b"\r\n")


@given(content=wire_octets, write_cuts=cuts, read_cuts=cuts)
def test_what_is_written_is_read_again(
    content: bytes, write_cuts: set[int], read_cuts: set[int], cut: Cut
) -> None:
    wire = write(cut(content, write_cuts))
    reader = ContentReader(10_000, 1000)
    assert read(cut(wire, read_cuts), reader) == normal(content)
    assert reader.rest == b""
    assert reader.defect is None


@given(content=any_octets, write_cuts=cuts)
def test_the_writer_makes_every_line_end_crlf_and_ends_the_content_once(
    content: bytes, write_cuts: set[int], cut: Cut
) -> None:
    wire = write(cut(content, write_cuts))
    reader = ContentReader(10_000, 1000)
    back = read([wire], reader)
    assert reader.rest == b""
    if b"\0" in content:
        assert reader.defect is ContentDefect.BARE_CR_OR_LF
    else:
        assert back == normal(content)


@given(wire=any_octets, read_cuts=cuts)
def test_the_reader_does_not_depend_on_cuts(wire: bytes, read_cuts: set[int], cut: Cut) -> None:
    whole, pieces = ContentReader(40, 12), ContentReader(40, 12)
    wire += b"\r\n.\r\nQUIT"
    one = read([wire], whole)
    chunks = cut(wire, read_cuts)
    many = b""
    for at, chunk in enumerate(chunks):
        many += pieces.feed(chunk)
        if pieces.rest is not None:
            assert whole.rest == pieces.rest + b"".join(chunks[at + 1 :])
            break
    assert whole.defect == pieces.defect
    if whole.defect is None:
        assert (many, pieces.size) == (one, whole.size)


@given(wire=any_octets)
def test_the_reader_agrees_with_a_plain_model(wire: bytes) -> None:
    wire += b"\r\n.\r\n"
    reader = ContentReader(10_000, 1000)
    back = read([wire[at : at + 1] for at in range(len(wire))], reader)
    raw = (b"\r\n" + wire).partition(b"\r\n.\r\n")[0] + b"\r\n"
    lines = raw.split(b"\r\n")[1:-1]
    wrong = any(octet in line for line in lines for octet in (b"\r", b"\n", b"\0"))
    assert (reader.defect is ContentDefect.BARE_CR_OR_LF) == wrong
    if not wrong:
        assert back == b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


@pytest.mark.parametrize(
    ("wire", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b".\r\n.\r\n", b"", b".\r\n"),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b".a\r\n...\r\n.\r\nQUIT\r\n", b"a\r\n..\r\n", b"QUIT\r\n"),
    ],
)
def test_the_end_is_found_and_dots_are_undone(wire: bytes, content: bytes, rest: bytes) -> None:
    reader = ContentReader(100, 100)
    assert read([wire], reader) == content
    assert reader.rest == rest
    assert reader.size == len(content)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(("length", "fits"), [(18, True), (19, False), (40, False)])
def test_a_text_line_may_be_as_long_as_the_limit_with_its_crlf(length: int, *, fits: bool, step: int) -> None:
    wire = b"a" * 18 + b"\r\n" + b"." + b"b" * length + b"\r\nc\r\n.\r\n"
    reader = ContentReader(1000, 20)
    content = read([wire[at : at + step] for at in range(0, len(wire), step)], reader)
    assert reader.rest == b""
    assert reader.defect is (None if fits else ContentDefect.LINE_TOO_LONG)
    if fits:
        assert content == b"a" * 18 + b"\r\n" + b"b" * length + b"\r\nc\r\n"


@pytest.mark.parametrize("step", [1, 5, 100])
@pytest.mark.parametrize(("size", "fits"), [(20, True), (21, False)])
def test_the_size_counts_crlf_and_no_transparency_dots(size: int, *, fits: bool, step: int) -> None:
    wire = b"." + b"." + b"a" * (size - 3) + b"\r\n.\r\n"
    reader = ContentReader(20, 1000)
    read([wire[at : at + step] for at in range(0, len(wire), step)], reader)
    assert reader.defect is (None if fits else ContentDefect.TOO_BIG)
    assert reader.rest == b""


@pytest.mark.parametrize("line", [b"a" * 70 + b"\r\n", b"\r\n", b".\r\n." + b"\r\n", b"a" * 5000])
def test_octet_by_octet_arrival_takes_linear_time(line: bytes) -> None:
    def seconds(size: int) -> float:
        wire = (line * (size // len(line) + 1))[:size]
        octets = [wire[at : at + 1] for at in range(size)]

        def feed() -> None:
            reader = ContentReader(size, size)
            for octet in octets:
                if reader.rest is None:
                    reader.feed(octet)

        return least_seconds(feed)

    assert seconds(80_000) < seconds(5_000) * 16 * 5  # quadratic would be 256 times as much


def test_the_reader_carries_four_octets_at_most() -> None:
    reader = ContentReader(10**6, 10**6)
    wire = b"a\r\n..\r\n.b\r\n" * 50
    given_back = 0
    for at in range(len(wire)):
        given_back += len(reader.feed(wire[at : at + 1]))
        dots = wire[: at + 1].count(b"\r\n.")
        assert at + 1 - given_back <= 4 + dots
    assert reader.defect is None


def test_the_writer_sends_chunks_as_they_come() -> None:
    writer = ContentWriter()
    assert writer.write(b"a\r\n") == b"a\r\n"
    assert writer.write(b".b\r") == b"..b"
    assert writer.write(b"\n.") == b"\r\n.."
    assert writer.write(b"") == b""
    assert writer.finish() == b"\r\n.\r\n"


@pytest.mark.parametrize("content", [b"a\r", b"a\n", b"a", b"a\r\n"])
def test_the_writer_ends_the_last_line(content: bytes) -> None:
    assert write([content]) == b"a\r\n.\r\n"


def test_an_empty_content_is_a_dot() -> None:
    assert write([]) == b".\r\n"
