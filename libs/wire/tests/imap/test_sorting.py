"""SORT (RFC 5256, RFC 5957, RFC 5267 s3)."""

import pytest

from postroom_wire.imap.errors import BAD_CHARSET, SYNTAX_ERROR, TOO_MANY_ITEMS, Refusal, RemoteProtocolError
from postroom_wire.imap.esearch import ALL_RESULTS, ResultOption, ReturnOptions
from postroom_wire.imap.flags import DELETED
from postroom_wire.imap.parser import parse_command
from postroom_wire.imap.search_keys import All, HasFlag, Not, TextContains, TextField
from postroom_wire.imap.sorting import Sort, SortCriterion, SortKey

COMMANDS = {
    b"SORT (SUBJECT) UTF-8 ALL": Sort((SortCriterion(SortKey.SUBJECT),), All()),
    b'UID SORT (subject reverse date) "utf-8" ALL': Sort(
        (SortCriterion(SortKey.SUBJECT), SortCriterion(SortKey.DATE, reverse=True)), All(), uid=True
    ),
    b'SORT (ARRIVAL CC FROM SIZE TO DISPLAYFROM DISPLAYTO) US-ASCII TEXT "not in mailbox"': Sort(
        tuple(
            SortCriterion(SortKey(name))
            for name in (b"ARRIVAL", b"CC", b"FROM", b"SIZE", b"TO", b"DISPLAYFROM", b"DISPLAYTO")
        ),
        TextContains(TextField.TEXT, "not in mailbox"),
    ),
    b"UID SORT RETURN () (REVERSE DATE) UTF-8 UNDELETED": Sort(
        (SortCriterion(SortKey.DATE, reverse=True),), Not(HasFlag(DELETED)), uid=True, returns=ALL_RESULTS
    ),
    b"SORT (RELEVANCY REVERSE DATE) UTF-8 FUZZY ALL": Sort(
        (SortCriterion(SortKey.RELEVANCY), SortCriterion(SortKey.DATE, reverse=True)), All()
    ),
    b"SORT RETURN (SAVE) (DATE) KOI8-R ALL": Sort(
        (SortCriterion(SortKey.DATE),),
        All(),
        returns=ReturnOptions(frozenset({ResultOption.SAVE})),
        refused=BAD_CHARSET,
    ),
}
REFUSED: dict[bytes, Refusal] = {
    b"SORT": SYNTAX_ERROR,
    b"SORT () UTF-8 ALL": SYNTAX_ERROR,
    b"SORT SUBJECT UTF-8 ALL": SYNTAX_ERROR,
    b"SORT (SUBJECT) ALL": BAD_CHARSET,
    b"SORT (SUBJECT) UTF-8": SYNTAX_ERROR,
    b"SORT (REVERSE) UTF-8 ALL": SYNTAX_ERROR,
    b"SORT (REVERSE REVERSE DATE) UTF-8 ALL": SYNTAX_ERROR,
    b"SORT (RELEVANCE) UTF-8 ALL": SYNTAX_ERROR,
    b"SORT (RELEVANCY) UTF-8 ALL": SYNTAX_ERROR,
    b"SORT (DATE) KOI8-R ALL": BAD_CHARSET,
    b"SORT (DATE) CHARSET UTF-8 ALL": BAD_CHARSET,
    b"SORT (DATE) RETURN () UTF-8 ALL": BAD_CHARSET,
    b"SORT (" + b"DATE " * 16 + b"DATE) UTF-8 ALL": TOO_MANY_ITEMS,
}


@pytest.mark.parametrize("text", COMMANDS)
def test_each_form_is_a_command(text: bytes) -> None:
    assert parse_command(b"a " + text).command == COMMANDS[text]


@pytest.mark.parametrize("text", REFUSED)
def test_other_forms_are_refused(text: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as refused:
        parse_command(b"a " + text)
    assert refused.value.refusal is REFUSED[text]
