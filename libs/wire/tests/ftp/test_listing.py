"""LIST, NLST, MLSD and MLST."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.ftp import (
    DIRECTORY_PERM,
    FILE_PERM,
    Entry,
    FtpPath,
    RemoteProtocolError,
    file_size,
    list_line,
    mlsd_line,
    mlst_reply,
    modification_time,
    name_line,
    status_listing,
)
from postroom_wire.ftp.facts import choose_facts, mlst_feature
from postroom_wire.ftp.listing import time_value

_NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
_ALL_FACTS = ("type", "size", "modify", "perm", "unique", "create")
_NAMES = st.text(st.characters(exclude_characters="\0\r\n/", codec="utf-8"), min_size=1, max_size=40).filter(
    lambda name: name not in {".", ".."}
)
_TIMES = st.integers(-30_000_000_000, 250_000_000_000).map(
    lambda tenths: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=tenths / 10)
)
_ENTRIES = st.builds(
    Entry,
    name=_NAMES,
    is_directory=st.booleans(),
    size=st.integers(0, 2**63 - 1),
    modified=_TIMES,
    unique=st.from_regex(r"[A-Za-z0-9+.-]{1,40}", fullmatch=True),
    perm=st.sampled_from([FILE_PERM, DIRECTORY_PERM, "r", "el", ""]),
    created=st.none() | _TIMES,
)


def file(name: str = "a", modified: datetime = _NOW, perm: str = FILE_PERM, size: int = 5) -> Entry:
    return Entry(name, False, size, modified, "u1", perm)


def folder(perm: str = DIRECTORY_PERM) -> Entry:
    return Entry("d", True, 0, _NOW, "u2", perm)


def parse(line: str) -> tuple[dict[str, str], str]:
    """A client's reading of `entry = [ facts ] SP pathname`, RFC 3659 s7.2."""
    facts, space, name = line.partition(" ")
    assert space
    assert re.fullmatch(r"([!-:<-~]+=[!-:<-~]*;)*", facts)
    return dict(fact.split("=", 1) for fact in facts.split(";")[:-1]), name


@given(_ENTRIES)
def test_a_client_reads_from_mlsd_what_the_store_says(entry: Entry) -> None:
    line = mlsd_line(entry, _ALL_FACTS).decode()
    assert line.endswith("\r\n")
    facts, name = parse(line.removesuffix("\r\n"))
    assert name == entry.name
    assert facts.pop("type") == ("dir" if entry.is_directory else "file")
    assert facts.pop("size", None) == (None if entry.is_directory else str(entry.size))
    assert facts.pop("unique") == entry.unique
    assert facts.pop("perm", "") == entry.perm
    for key, instant in (("modify", entry.modified), ("create", entry.created)):
        told = facts.pop(key, None)
        whole = None if instant is None else instant.replace(microsecond=0)
        assert whole == (
            None if told is None else datetime.strptime(told, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        )
    assert not facts


@given(_ENTRIES, st.sets(st.sampled_from(_ALL_FACTS)))
def test_facts_that_were_not_chosen_are_not_told(entry: Entry, chosen: set[str]) -> None:
    facts, _ = parse(mlsd_line(entry, tuple(chosen)).decode())
    assert facts.keys() <= chosen


@given(_ENTRIES)
def test_mlst_has_one_line_that_begins_with_one_space(entry: Entry) -> None:
    path = FtpPath((entry.name,))
    first, line, last, rest = mlst_reply(path, entry).octets.decode().split("\r\n")
    assert (first, last, rest) == ("250-Listing", "250 End", "")
    assert line.startswith(" ")
    assert parse(line[1:])[1] == f"/{entry.name}"


def test_without_facts_two_spaces_stand_before_the_name() -> None:
    assert b"\r\n  /a\r\n" in mlst_reply(FtpPath(("a",)), file(), ()).octets
    assert mlsd_line(file(), ()) == b" a\r\n"


@pytest.mark.parametrize(
    ("argument", "facts"),
    [
        ("", ()),
        ("TYPE;Size;", ("type", "size")),
        ("size;type;", ("type", "size")),
        ("unique;size", ("size", "unique")),
        ("create;x.y;UNIX.mode;", ("create",)),
    ],
)
def test_facts_are_chosen_in_any_case_and_order(argument: str, facts: tuple[str, ...]) -> None:
    assert choose_facts(argument) == facts


@pytest.mark.parametrize("argument", ["type size", " type;", "type; ", ";", "type;;size;", "é;"])
def test_what_is_no_list_of_facts_is_refused(argument: str) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        choose_facts(argument)
    assert refused.value.reply.code == 501


def test_the_chosen_facts_have_a_star_in_feat() -> None:
    assert mlst_feature(("type", "create")) == "MLST type*;size;modify;perm;unique;create*;"


@pytest.mark.parametrize(
    ("age", "date"),
    [
        (timedelta(0), "Nov 23 12:00"),
        (timedelta(days=179), "May 28 12:00"),
        (timedelta(days=180), "May 27  2026"),
        (timedelta(days=400), "Oct 19  2025"),
        (timedelta(seconds=-1), "Nov 23  2026"),
        (timedelta(days=18), "Nov  5 12:00"),
    ],
)
def test_list_tells_the_time_of_what_is_recent_and_the_year_of_the_rest(age: timedelta, date: str) -> None:
    line = list_line(file("a b", _NOW - age), _NOW)
    assert line.decode() == f"-rw-r--r--   1 ftp      ftp                 5 {date} a b\r\n"


def test_list_and_mlsd_tell_times_in_utc() -> None:
    east = datetime(2026, 11, 23, 1, 30, tzinfo=timezone(timedelta(hours=3)))
    assert b"Nov 22 22:30" in list_line(file(modified=east), _NOW)
    assert time_value(east) == "20261122223000"
    assert modification_time(east).octets == b"213 20261122223000\r\n"
    assert file_size(2**40).octets == b"213 1099511627776\r\n"


@pytest.mark.parametrize(
    ("entry", "mode"),
    [
        (file(), b"-rw-r--r--"),
        (file(perm="r"), b"-r--r--r--"),
        (file(perm=""), b"----------"),
        (folder(), b"drwxr-xr-x"),
        (folder("el"), b"dr-xr-xr-x"),
    ],
)
def test_list_shows_what_the_user_may_do(entry: Entry, mode: bytes) -> None:
    assert list_line(entry, _NOW).startswith(mode + b" ")


@given(_ENTRIES)
def test_list_has_eight_columns_before_the_name(entry: Entry) -> None:
    line = list_line(entry, _NOW).decode()
    found = re.fullmatch(
        r"[-d][-rwx]{9} +\d+ \S+ +\S+ +(\d+) [A-Z][a-z]{2} [ \d]\d (?:\d\d:\d\d| \d{4}) (.+)\r\n",
        line,
        re.DOTALL,
    )
    assert found is not None
    assert (int(found[1]), found[2]) == (entry.size, entry.name)


def test_nlst_is_names_and_nothing_else() -> None:
    assert name_line("d/é") == "d/é\r\n".encode()


def test_stat_of_a_directory_is_a_listing_on_the_control_connection() -> None:
    reply = status_listing(FtpPath(("d",)), [list_line(file(), _NOW)], directory=True)
    assert reply.octets == (
        b"212-Status of /d:\r\n -rw-r--r--   1 ftp      ftp                 5 Nov 23 12:00 a\r\n"
        b"212 End of status\r\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a\nb"},
        {"name": "a/b"},
        {"name": ".."},
        {"size": -1},
        {"unique": "a;b"},
        {"unique": ""},
        {"perm": "x"},
        {"modified": _NOW.replace(tzinfo=None)},
        {"created": _NOW.replace(tzinfo=None)},
    ],
)
def test_what_would_break_a_listing_is_no_entry(change: dict[str, object]) -> None:
    values: dict[str, object] = {
        "name": "a",
        "is_directory": False,
        "size": 1,
        "modified": _NOW,
        "unique": "u",
        "perm": "r",
    }
    with pytest.raises(ValueError):
        Entry(**{**values, **change})  # pyright: ignore[reportArgumentType] -- the wrong values are the test
