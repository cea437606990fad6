"""Virtual paths: what clients may name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import FtpPath, Limits, RemoteProtocolError
from postroom_wire.ftp import standard_replies as replies

_CWD = FtpPath(("in", "box"))
_SEGMENTS = st.lists(st.sampled_from(["..", ".", "", "a", "b c", "...", "..a", "é", "~", "-l", "C:", "\\"]))


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("", "/in/box"),
        (".", "/in/box"),
        ("..", "/in"),
        ("../../../..", "/"),
        ("/", "/"),
        ("//a///b/", "/a/b"),
        ("a", "/in/box/a"),
        ("./a/../b", "/in/box/b"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("..\\..\\a", "/in/box/..\\..\\a"),
        ("...", "/in/box/..."),
        ("%2e%2e/a", "/in/box/%2e%2e/a"),
        ("~ann", "/in/box/~ann"),
        (" a ", "/in/box/ a "),
    ],
)
def test_paths_are_seen_from_the_working_directory_and_never_leave_the_root(argument: str, path: str) -> None:
    assert str(FtpPath.resolve(argument.encode(), _CWD)) == path


@given(_SEGMENTS, _SEGMENTS, st.booleans())
def test_normalisation_never_escapes(here: list[str], there: list[str], absolute: bool) -> None:
    cwd = FtpPath.resolve("/".join(here).encode(), FtpPath.ROOT)
    path = FtpPath.resolve(("/" * absolute + "/".join(there)).encode(), cwd)
    assert not {"", ".", ".."} & set(path.segments)
    assert FtpPath.resolve(str(path).encode(), cwd) == path


@given(st.binary(max_size=600))
def test_any_octets_are_a_path_or_refused(octets: bytes) -> None:
    try:
        path = FtpPath.resolve(octets, _CWD)
    except RemoteProtocolError as error:
        refusal = error.reply
    else:
        assert not {"", ".", ".."} & set(path.segments)
        assert FtpPath.resolve(str(path).encode(), FtpPath.ROOT) == path
        return
    assert refusal.code == 501


@pytest.mark.parametrize("argument", [b"a\0b", b"a\rb", b"a\nb", b"\r\n", b"\0"])
def test_nul_and_line_ends_are_refused(argument: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        FtpPath.resolve(argument, _CWD)
    assert refused.value.reply is replies.ILLEGAL_OCTET


@pytest.mark.parametrize("argument", [b"\xff", b"caf\xe9", b"\xed\xa0\x80", b"\xc0\xae\xc0\xae/a", b"\xf2x"])
def test_what_is_not_utf8_is_refused_overlong_dots_and_surrogates_too(argument: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        FtpPath.resolve(argument, _CWD)
    assert refused.value.reply is replies.NOT_UTF8


def test_lengths_are_counted_in_octets_of_the_normalised_path() -> None:
    limits = Limits(max_name=4, max_path=12, max_depth=3)

    def resolve(argument: str) -> FtpPath:
        return FtpPath.resolve(argument.encode(), FtpPath.ROOT, limits)

    assert str(resolve("éé/x/../y")) == "/éé/y"
    assert resolve("a/b/c").segments == ("a", "b", "c")
    for argument in ("abcde", "ééx", "a/b/c/d", "abcd/abcd/ab"):
        with pytest.raises(RemoteProtocolError) as refused:
            resolve(argument)
        assert refused.value.reply is replies.PATH_TOO_LONG


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\0", "a\r", "a\n", "\ud800"])
def test_what_cannot_be_a_name_is_no_segment(name: str) -> None:
    with pytest.raises(ValueError):
        FtpPath.ROOT.child(name)


def test_the_root_is_its_own_parent_and_has_no_name() -> None:
    assert FtpPath.ROOT.parent == FtpPath.ROOT
    assert FtpPath.ROOT.is_root
    assert FtpPath.ROOT.name == ""
    assert _CWD.parent.child("box") == _CWD
    assert _CWD.name == "box"
    assert FtpPath(('a"b',)).quoted == '"/a""b"'
