"""RFC 9585."""

from postroom_wire.imap.errors import Tag
from postroom_wire.imap.in_progress import in_progress


def test_what_is_not_known_is_nil() -> None:
    assert in_progress(Tag(b"A001")) == b'INPROGRESS ("A001" NIL NIL)'
    assert in_progress(Tag(b"A001"), 175) == b'INPROGRESS ("A001" 175 NIL)'
    assert in_progress(Tag(b"A001"), 175, 1000) == b'INPROGRESS ("A001" 175 1000)'
    assert in_progress(Tag(b"A001"), None, 1000) == b'INPROGRESS ("A001" NIL NIL)'


def test_progress_is_never_beyond_its_goal() -> None:
    assert in_progress(Tag(b"a"), 11, 10) == b'INPROGRESS ("a" 11 NIL)'


def test_a_goal_is_more_than_what_is_done() -> None:
    assert in_progress(Tag(b"a"), 10, 10) == b'INPROGRESS ("a" 10 NIL)'
    assert in_progress(Tag(b"a"), 0, 0) == b'INPROGRESS ("a" 0 NIL)'  # nz-number


def test_a_tag_that_would_end_the_code_is_left_out() -> None:
    assert in_progress(Tag(b"a]1"), 1, 2) == b"INPROGRESS (NIL 1 2)"


def test_tags_that_need_it_are_escaped() -> None:
    assert in_progress(Tag(b"a\\b")) == b'INPROGRESS ("a\\\\b" NIL NIL)'
