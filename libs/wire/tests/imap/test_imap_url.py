"""URLs of messages (RFC 5092 s11, RFC 4469 s3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.imap import codes
from postroom_wire.imap.imap_url import ImapUrlError, MessageUrl, parse_message_url
from postroom_wire.imap.mailbox_name import MailboxName
from postroom_wire.imap.section import Section, SectionText

INBOX = MailboxName("INBOX")
WHOLE = Section()
URLS = {
    b"/INBOX;UIDVALIDITY=785799047/;UID=11467": MessageUrl(INBOX, 785799047, 11467, WHOLE),
    b"/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9": MessageUrl(
        INBOX, 785799047, 113330, Section((1, 5, 9))
    ),
    b"/Drafts;UIDVALIDITY=385759045/;UID=20/;section=HEADER": MessageUrl(
        MailboxName("Drafts"), 385759045, 20, Section((), SectionText.HEADER)
    ),
    b"/Drafts;UIDVALIDITY=385759045/;UID=20/;Section=2.MIME": MessageUrl(
        MailboxName("Drafts"), 385759045, 20, Section((2,), SectionText.MIME)
    ),
    b"/Drafts/;UID=3002": MessageUrl(MailboxName("Drafts"), None, 3002, WHOLE),
    b"/a/b%2Fc%20d/;uid=1": MessageUrl(MailboxName("a/b/c d"), None, 1, WHOLE),
    b"/%C3%A4;uidvalidity=1/;uid=1": MessageUrl(MailboxName("ä"), 1, 1, WHOLE),
    b"/a/;UID=1/;SECTION=HEADER.FIELDS%20(To%20%22a%20b%22)": MessageUrl(
        MailboxName("a"), None, 1, Section((), SectionText.HEADER_FIELDS, (b"To", b"a b"))
    ),
    b";UID=7": MessageUrl(None, None, 7, WHOLE),
    b"/;UID=7/;SECTION=TEXT": MessageUrl(None, None, 7, Section((), SectionText.TEXT)),
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_names_a_message_or_a_part(url: bytes) -> None:
    assert parse_message_url(url) == URLS[url]


@pytest.mark.parametrize(
    "url",
    [
        b"",
        b"/",
        b"/INBOX",
        b"/INBOX;UID=1",
        b"/INBOX/;UID=0",
        b"/INBOX/;UID=4294967296",
        b"/INBOX/;UID=99999999999",
        b"/INBOX;UIDVALIDITY=0/;UID=1",
        b"/INBOX;UIDVALIDITY=4294967296/;UID=1",
        b"/INBOX/;UID=1/;SECTION=",
        b"/INBOX/;UID=1/;SECTION=MIME",
        b"/INBOX/;UID=1/;SECTION=1]",
        b"/INBOX/;UID=1/;SECTION=1/;PARTIAL=0.1",
        b"/INBOX/;UID=1?x",
        b"/IN%2/;UID=1",
        b"/%FF/;UID=1",
        b"/a%00b/;UID=1",
        b"imap://alice@postroom.test/INBOX/;UID=1",
        b"//postroom.test/INBOX/;UID=1",
        b"INBOX/;UID=1",
        b"http://postroom.test/",
    ],
)
def test_other_urls_name_nothing(url: bytes) -> None:
    with pytest.raises(ImapUrlError):
        parse_message_url(url)


@given(st.binary(max_size=60) | st.lists(st.sampled_from([*URLS, b";", b"/", b"%", b"UID=1"])).map(b"".join))
def test_any_octets_are_a_url_or_none(url: bytes) -> None:
    try:
        assert parse_message_url(url).uid > 0
    except ImapUrlError:
        pass


@given(st.binary(max_size=60))
def test_a_url_that_is_told_stays_within_its_code(url: bytes) -> None:
    code = codes.bad_url(url)
    assert all(0x20 <= octet <= 0x7E for octet in code)
    assert b"]" not in code


def test_a_plain_url_is_told_as_it_came() -> None:
    url = b"/INBOX;UIDVALIDITY=785799047/;UID=113330/;section=1.5.9"
    assert codes.bad_url(url) == b"BADURL " + url
    assert codes.append_uid(38505, 3955) == b"APPENDUID 38505 3955"
    assert codes.append_uid(38505, 3955, 3956, 3960) == b"APPENDUID 38505 3955:3956,3960"
