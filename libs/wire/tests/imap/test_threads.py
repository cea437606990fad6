"""THREAD and its algorithms (RFC 5256 s3)."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap.errors import BAD_CHARSET, SYNTAX_ERROR, Refusal, RemoteProtocolError
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_keys import All, TextContains, TextField
from postroom_wire.imap.thread_algorithms import Algorithm, Place, ThreadedMessage, thread
from postroom_wire.imap.threads import Thread, encode_threads

COMMANDS = {
    b"THREAD ORDEREDSUBJECT UTF-8 ALL": Thread(Algorithm.ORDEREDSUBJECT, All()),
    b'UID THREAD references US-ASCII TEXT "gewp"': Thread(
        Algorithm.REFERENCES, TextContains(TextField.TEXT, "gewp"), uid=True
    ),
    b"THREAD REFS utf-8 ALL": Thread(Algorithm.REFS, All()),
}
REFUSED: dict[bytes, Refusal] = {
    b"THREAD": SYNTAX_ERROR,
    b"THREAD REFERENCES ALL": BAD_CHARSET,
    b"THREAD REFERENCES UTF-8": SYNTAX_ERROR,
    b"THREAD JWZ UTF-8 ALL": SYNTAX_ERROR,
    b"THREAD RETURN () REFERENCES UTF-8 ALL": SYNTAX_ERROR,
}


@pytest.mark.parametrize("text", COMMANDS)
def test_each_form_is_a_command(text: bytes) -> None:
    assert parse_command(b"a " + text).command == COMMANDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]


def message(
    number: int,
    *references: int,
    own: int | None = None,
    subject: str = "",
    reply: bool = False,
    sent: int = -1,
) -> ThreadedMessage:
    """Message `number`, sent in that order, whose message id is the number too."""
    return ThreadedMessage(
        number,
        number if sent < 0 else sent,
        number,
        subject,
        is_reply=reply,
        own_id=number if own is None else own,
        references=references,
    )


def told(messages: Sequence[ThreadedMessage], algorithm: Algorithm = Algorithm.REFERENCES) -> str:
    line = encode_threads(thread(messages, algorithm))
    return line.removeprefix(b"* THREAD").removesuffix(b"\r\n").strip().decode()


@pytest.mark.parametrize(
    ("forest", "response"),
    [
        ([], b"* THREAD\r\n"),
        ([Place(0, 2)], b"* THREAD (2)\r\n"),
        (  # s4, the examples
            [(0, 2), (0, 3), (1, 6), (2, 4), (3, 23), (2, 44), (3, 7), (4, 96)],
            b"* THREAD (2)(3 6 (4 23)(44 7 96))\r\n",
        ),
        ([(0, 0), (1, 3), (1, 5)], b"* THREAD ((3)(5))\r\n"),
        ([(0, 196), (1, 197), (1, 198)], b"* THREAD (196 (197)(198))\r\n"),
        ([(0, 0), (1, 3)], b"* THREAD (3)\r\n"),
    ],
)
def test_threads_nest_where_they_split(forest: list[tuple[int, int]], response: bytes) -> None:
    assert encode_threads([Place(*place) for place in forest]) == response


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([], ""),
        ([message(1), message(2)], "(1)(2)"),
        ([message(1), message(2, 1), message(3, 1, 2), message(4, 1)], "(1 (2 3)(4))"),
        ([message(1), message(2, 1), message(3, 99, 1)], "(1 (2)(3))"),
        # Parents that are not there: of one child it takes the place, of two it joins them.
        ([message(1, 99)], "(1)"),
        ([message(1, 99), message(2, 99)], "((1)(2))"),
        ([message(1, 98, 99), message(2, 98)], "((1)(2))"),
        ([message(1, 98, 99), message(2, 98, 99)], "((1)(2))"),
        # A link from another's references is there, until the message tells its own parent.
        ([message(1), message(2, own=20), message(3, 1, 20)], "(1 2 3)"),
        ([message(1, 2), message(2), message(3, 1, 2)], "(2 (1)(3))"),
        ([message(3, 1, 2), message(4, own=2)], "(4 3)"),
        # No loops.
        ([message(1, 1)], "(1)"),
        ([message(1, 2), message(2, 1)], "(2 1)"),
        ([message(1, 2, 3), message(2, 3, 1), message(3, 1, 2)], None),
        # The first of two with one message id has it.
        ([message(1, own=7), message(2, own=7), message(3, 7)], "(1 3)(2)"),
        # Dates sort siblings and roots, then numbers do.
        (
            [message(1, sent=5), message(2, sent=4), message(3, 1, sent=9), message(4, 1, sent=8)],
            "(2)(1 (4)(3))",
        ),
        ([message(1, 9, sent=5), message(2, 9, sent=3), message(3, sent=4)], "((2)(1))(3)"),
        ([message(1, sent=5), message(2, sent=5)], "(1)(2)"),
    ],
)
def test_references_make_threads(messages: list[ThreadedMessage], threads: str | None) -> None:
    if threads is None:
        assert sorted(place.number for place in thread(messages, Algorithm.REFS)) == [1, 2, 3]
    else:
        assert told(messages) == threads
        assert told(messages, Algorithm.REFS).count("(") == threads.count("(")


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([message(1, subject="A"), message(2, subject="B"), message(3, subject="A", reply=True)], "(1 3)(2)"),
        ([message(1, subject="A"), message(2, subject="A")], "((1)(2))"),
        (
            [message(1, subject="A"), message(2, subject="A"), message(3, subject="A", reply=True)],
            "((1)(2)(3))",
        ),
        ([message(1, subject="A", reply=True), message(2, subject="A")], "(2 1)"),
        ([message(1), message(2)], "(1)(2)"),
        # The dummy of a thread takes others in.
        ([message(1, 9, subject="A"), message(2, 9), message(3, subject="A")], "((1)(2)(3))"),
        (
            [message(1, 8, subject="A"), message(2, 8), message(3, 9, subject="A"), message(4, 9)],
            "((1)(2)(3)(4))",
        ),
        ([message(1, subject="A"), message(2, 9, subject="A"), message(3, 9)], "((1)(2)(3))"),
    ],
)
def test_subjects_join_threads(messages: list[ThreadedMessage], threads: str) -> None:
    assert told(messages) == threads


def test_subjects_join_nothing_where_only_references_count() -> None:
    messages = [message(1, subject="A"), message(2, subject="B"), message(3, 1, subject="A")]
    assert told(messages, Algorithm.REFS) == "(2)(1 3)"  # the thread with the newest message is the last


def test_subjects_alone_make_threads_of_two_levels() -> None:
    messages = [
        message(1, subject="A", sent=5),
        message(2, subject="B", sent=2),
        message(3, subject="A", sent=9),
        message(4, subject="A", sent=7),
        message(5, subject="", sent=1),
        message(6, subject="", sent=1),
    ]
    assert told(messages, Algorithm.ORDEREDSUBJECT) == "(5 6)(2)(1 (4)(3))"


ids = st.integers(1, 9)
rows = st.lists(
    st.builds(
        ThreadedMessage,
        st.just(0),
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from(["", "A", "B"]),
        st.booleans(),
        st.none() | ids,
        st.lists(ids, max_size=4).map(tuple),
    ),
    max_size=9,
).map(lambda found: [row._replace(number=number) for number, row in enumerate(found, 1)])


@pytest.mark.parametrize("algorithm", Algorithm)
@given(messages=rows)
def test_each_message_is_in_one_place(messages: list[ThreadedMessage], algorithm: Algorithm) -> None:
    forest = thread(messages, algorithm)
    assert sorted(place.number for place in forest if place.number) == [row.number for row in messages]
    depth = -1
    for at, place in enumerate(forest):
        assert place.depth <= depth + 1
        depth = place.depth
        if not place.number:  # only at the top, above two or more
            assert place.depth == 0
            below = forest[at + 1 :]
            siblings = 0
            for one in below:
                if one.depth == 0:
                    break
                siblings += one.depth == 1
            assert siblings >= 2


def test_long_threads_are_no_work() -> None:
    chain = [message(number, number - 1) for number in range(1, 20_000)]
    assert len(thread(chain, Algorithm.REFERENCES)) == len(chain)
    backwards = [message(number, number + 1) for number in range(1, 20_000)]
    assert encode_threads(thread(backwards, Algorithm.REFS)).count(b"(") == 1
