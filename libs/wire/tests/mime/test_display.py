"""What is shown of a message: alternatives, attachments, previews (RFC 8621 s4.1.4); charsets, HTML."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom_wire.mime import decode_text, display, scan
from postroom_wire.mime.charset import codec_of
from postroom_wire.mime.html_text import html_to_text


def part(*lines: str) -> str:
    return "\r\n".join(("--b", *lines))


def mixed(subtype: str, *parts: str) -> bytes:
    head = f"Content-Type: multipart/{subtype}; boundary=b\r\n\r\n"
    return (head + "\r\n".join((*parts, "--b--", ""))).encode()


PLAIN: Final = part("Content-Type: text/plain", "", "plain")
HTML: Final = part("Content-Type: text/html", "", "<b>html</b>")
IMAGE: Final = part("Content-Type: image/png", "Content-ID: <i>", "", "x")
PDF: Final = part(
    "Content-Type: application/pdf; name=a.pdf", "Content-Transfer-Encoding: base64", "", "YWJj", "ZGVm", ""
)
RELATED: Final = "\r\n".join(
    (
        "--b",
        "Content-Type: multipart/related; boundary=c",
        "",
        HTML.replace("--b", "--c"),
        IMAGE.replace("--b", "--c"),
        "--c--",
    )
)

VIEWS: Final[dict[str, tuple[bytes, list[str], list[str], list[str]]]] = {
    "plain alone": (b"\r\nhi", ["1"], ["1"], []),
    "HTML alone": (b"Content-Type: text/html\r\n\r\nhi", ["1"], ["1"], []),
    "a picture alone": (b"Content-Type: image/png\r\n\r\nhi", ["1"], ["1"], []),
    "a file alone": (b"Content-Type: application/pdf\r\n\r\nhi", [], [], ["1"]),
    "an attachment alone": (b"Content-Disposition: attachment\r\n\r\nhi", [], [], ["1"]),
    "alternatives": (mixed("alternative", PLAIN, HTML), ["1"], ["2"], []),
    "one alternative": (mixed("alternative", HTML), ["1"], ["1"], []),
    "alternatives, one with pictures": (mixed("alternative", PLAIN, RELATED), ["1"], ["2.1"], ["2.2"]),
    "text and a file": (mixed("mixed", PLAIN, PDF), ["1"], ["1"], ["2"]),
    "text, a picture, text": (mixed("mixed", PLAIN, IMAGE, PLAIN), ["1", "2", "3"], ["1", "2", "3"], []),
    "text with a name is a file": (
        mixed("mixed", PLAIN, part("Content-Type: text/plain; name=x.txt", "", "y")),
        ["1"],
        ["1"],
        ["2"],
    ),
    "a forwarded message": (
        mixed("mixed", PLAIN, part("Content-Type: message/rfc822", "", "Subject: x", "", "inner")),
        ["1"],
        ["1"],
        ["2"],
    ),
}


@pytest.mark.parametrize("name", VIEWS)
def test_parts_are_sorted(name: str) -> None:
    octets, text, html, attachments = VIEWS[name]
    scanned = scan(octets)
    shown = display(octets, scanned.table)
    assert [one.section for one in shown.text] == text
    assert [one.section for one in shown.html] == html
    assert [one.section for one in shown.attachments] == attachments
    assert [one.section for one in scanned.attachments] == attachments


def test_texts_are_decoded() -> None:
    octets = mixed(
        "alternative",
        part(
            "Content-Type: text/plain; charset=iso-8859-1",
            "Content-Transfer-Encoding: quoted-printable",
            "",
            "caf=E9=",
            " au lait",
        ),
        part(
            "Content-Type: text/html; charset=utf-8",
            "Content-Transfer-Encoding: base64",
            "",
            "PGI+Y2Fmw6k8L2I+",
        ),
    )
    shown = display(octets, scan(octets).table)
    assert [one.content for one in shown.text] == ["café au lait"]
    assert [one.content for one in shown.html] == ["<b>café</b>"]


def test_what_is_shown_is_bounded() -> None:
    octets = mixed("mixed", PLAIN, HTML, PLAIN)
    shown = display(octets, scan(octets).table, max_octets=8)
    assert [(one.content, one.truncated) for one in shown.text] == [
        ("plain", False),
        ("<b>", True),
        ("", True),
    ]


def test_attachments_have_names_sizes_and_types() -> None:
    octets = mixed(
        "mixed",
        PLAIN,
        PDF,
        part("Content-Type: image/png", "Content-ID: <i>", "Content-Disposition: attachment", "", "x"),
    )
    pdf, image = scan(octets).attachments
    assert (pdf.name, pdf.media_type, pdf.size, pdf.inline, pdf.content_id) == (
        "a.pdf",
        "application/pdf",
        6,
        False,
        None,
    )
    assert (image.name, image.content_id, image.inline) == (None, "<i>", False)


NAMES: Final = {
    b"attachment; filename=plain.txt": "plain.txt",
    b'attachment; filename="with \\"quotes\\".txt"': 'with "quotes".txt',
    b"attachment; filename*=UTF-8''na%C3%AFve.txt": "naïve.txt",
    b"attachment; filename=\"ascii.txt\"; filename*=UTF-8''na%C3%AFve.txt": "naïve.txt",
    b"attachment; filename*0*=iso-8859-1'en'na%EFve; filename*1=\" n\"; filename*2*=%2Etxt": "naïve n.txt",
    b"attachment; filename*1=b; filename*0=a; filename*3=d": "ab",
    b"attachment; filename==?utf-8?q?na=C3=AFve?=": "naïve",
    b'attachment; filename="=?utf-8?b?bmHDr3Zl?="': "naïve",
    b'attachment; filename="na\xc3\xafve"': "naïve",
    b"attachment; filename*=na%C3%AFve": "naïve",
    b"attachment; filename*=nothing''na%C3%AFve": "naïve",
    b"attachment; filename=a.txt (a comment); x=y": "a.txt",
    b"attachment; filename": None,
    b"attachment": None,
    b";": None,
}


@pytest.mark.parametrize("value", NAMES)
def test_a_file_name_is_decoded(value: bytes) -> None:
    (part,) = scan(
        b"Content-Type: application/pdf\r\nContent-Disposition: " + value + b"\r\n\r\n"
    ).table.parts
    assert part.name == NAMES[value]


PREVIEWS: Final = {
    b"\r\n  hello\r\n\r\n  you \r\n": "hello you",
    b"\r\n" + b"word " * 100: ("word " * 40).rstrip(),
    b"Content-Type: text/html\r\n\r\n<title>t</title><style>p{}</style><p>Hello&nbsp;<b>y</b>ou &lt;b&gt;": (
        "Hello you <b>"
    ),
    b"Content-Type: text/plain; charset=utf-16le\r\n\r\nh\0i\0": "hi",
    b"Content-Type: image/png\r\n\r\nx": "",
    mixed("mixed", IMAGE, PLAIN): "plain",
    mixed("alternative", HTML, PLAIN): "plain",
    mixed("alternative", HTML): "html",
}


@pytest.mark.parametrize("octets", PREVIEWS)
def test_a_preview_is_one_line_of_the_text(octets: bytes) -> None:
    assert scan(octets).preview == PREVIEWS[octets]


CHARSETS: Final = {
    ("utf-8", b"caf\xc3\xa9"): "café",
    ("UTF8", b"caf\xc3\xa9\xff"): "café\ufffd",
    ("iso-8859-1", b"\x80caf\xe9"): "€café",
    ("us-ascii", b"caf\xc3\xa9"): "café",
    ("us-ascii", b"caf\xe9"): "café",
    ("no-such-charset", b"caf\xe9"): "café",
    ("", b"caf\xe9"): "café",
    ("gb2312", "漢".encode("gb18030")): "漢",
    ("shift_jis", "漢①".encode("cp932")): "漢①",
    ("iso-2022-jp", "漢".encode("iso2022_jp")): "漢",
    ("ks_c_5601-1987", "한".encode("cp949")): "한",
    ("koi8-r", "ж".encode("koi8_r")): "ж",
    ("windows-1251", "ж".encode("cp1251")): "ж",
    ("utf-7", b"+2AA-"): "\ufffd",
    ("idna", b"xn--a"): "xn--a",
    ("unicode_escape", b"\\ud800"): "\\ud800",
    ("rot13", b"abc"): "abc",
    ("x" * 100, b"abc"): "abc",
    ("utf-8", b"a\0b\r\nc"): "ab\r\nc",
}


@pytest.mark.parametrize(("label", "octets"), CHARSETS)
def test_octets_are_decoded_by_their_label(label: str, octets: bytes) -> None:
    assert decode_text(octets, label) == CHARSETS[label, octets]


@given(
    label=st.sampled_from(("utf-7", "utf-16", "utf-32", "hz", "iso-2022-kr", "big5", "euc-jp", "cp037", "x")),
    octets=st.binary(),
)
def test_any_octets_in_any_charset_are_storable_text(label: str, octets: bytes) -> None:
    text = decode_text(octets, label)
    text.encode()
    assert "\0" not in text


@pytest.mark.parametrize(
    "label",
    ["base64", "hex", "zlib", "bz2", "rot13", "punycode", "idna", "unicode-escape", "undefined", "uu"],
)
def test_codecs_that_are_no_charsets_are_not_used(label: str) -> None:
    assert codec_of(label) is None


HTML_TEXTS: Final = {
    "<p>one</p><p>two<br>three</p>": ["one", "two", "three"],
    "a<!-- <b>not</b> -->b": ["a", "b"],
    "a<script>if (1<2) x()</script >b": ["a", "b"],
    "<STYLE>x</style>y": ["y"],
    "a<style>never closed": ["a"],
    "a <!-- never closed": ["a"],
    "1 < 2 &amp; 3 &gt; 2": ["1", "<", "2", "&", "3", ">", "2"],
    "&lt;script&gt;": ["<script>"],
    "<a href='x'>link</a": ["link"],
    "&#99999999999999999999;": ["\ufffd"],
}


@pytest.mark.parametrize("source", HTML_TEXTS)
def test_html_becomes_text(source: str) -> None:
    assert html_to_text(source).split() == HTML_TEXTS[source]


def test_no_more_html_is_read_than_is_enough() -> None:
    assert html_to_text("<p>one</p><p>two</p><p>three</p>", 4).split() == ["one", "two"]


@given(st.text("<>!-/abcstyle&#;\"' \u0130", max_size=200))
def test_any_html_becomes_text(source: str) -> None:
    html_to_text(source)
