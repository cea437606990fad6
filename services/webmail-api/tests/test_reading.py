"""Mail of strangers, shown: whatever it is, it is shown, and nothing in it acts."""

import re

import pytest

from postroom_testing.rest_client import Append, RestClient
from webmail_api.downloads import disposition, media_type_of
from webmail_api.limits import Limits
from webmail_api.safe_html import clean

ATTACKS = {
    "a script": "<script>alert(1)</script>",
    "a handler": '<img src="cid:x" onerror="alert(1)">',
    "a handler without quotes": "<body onload=alert(1)>",
    "a link that runs": '<a href="javascript:alert(1)">x</a>',
    "a link that runs, disguised": '<a href=" jAvAsCrIpT&colon;alert(1)">x</a>',
    "a link to data": '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    "a picture that runs": "<svg><script>alert(1)</script></svg>",
    "a handler of SVG": "<svg/onload=alert(1)>",
    "mathematics": '<math><mtext><mglyph><style><img src=x onerror="alert(1)"></style></mglyph></math>',
    "a frame": '<iframe src="https://evil.example/"></iframe>',
    "a document of a frame": '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
    "a form": '<form action="https://evil.example/"><input name="password"><button>x</button></form>',
    "a style": "<style>body{background:url(https://evil.example/)}</style>",
    "a style of one element": '<p style="background:url(https://evil.example/)">x</p>',
    "a background": '<table background="https://evil.example/"><tr><td>x</td></tr></table>',
    "a base": '<base href="https://evil.example/">',
    "a refresh": '<meta http-equiv="refresh" content="0;url=https://evil.example/">',
    "an object": '<object data="https://evil.example/"></object><embed src="https://evil.example/">',
    "a link to a style": '<link rel="stylesheet" href="https://evil.example/">',
    "sources": '<img srcset="https://evil.example/ 2x"><video src="https://evil.example/" poster="//evil">',
    "a comment that ends early": "<!--><img src=x onerror=alert(1)>-->",
    "a template": "<template><script>alert(1)</script></template>",
    "a title that hides": '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
}
FORBIDDEN = re.compile(
    r"<(?:script|svg|math|iframe|form|input|button|style|base|meta|object|embed|link|video|template|noscript)"
    r"|<[^>]* on[a-z]+\s*=|javascript:"
    r"|<[^>]*(?:src|srcset|background|poster|style)\s*=\s*.?\s*(?:https?:|//|data:)"
    r"|data:text|\bstyle\s*=|url\(",
    re.IGNORECASE,
)


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_in_html_acts_or_loads(name: str) -> None:
    safe = clean(ATTACKS[name] + "<p>still here</p>", {"x": "/api/v1/x"}.get)
    assert safe is not None
    assert FORBIDDEN.search(safe.html) is None, safe.html


def _no_picture(content_id: str) -> None:
    del content_id


def test_harmless_html_stays() -> None:
    html = '<h1>Hello</h1><p>a <b>bold</b> <a href="https://example.org/">link</a></p><ul><li>one</li></ul>'
    safe = clean(html, _no_picture)
    assert safe is not None
    for kept in ("<h1>Hello</h1>", "<b>bold</b>", 'href="https://example.org/"', "noopener", "<li>one</li>"):
        assert kept in safe.html


def test_pictures_from_elsewhere_come_only_when_asked_for() -> None:
    html = '<img src="https://tracker.example/a.gif" alt="a">'
    blocked, shown = clean(html, _no_picture), clean(html, _no_picture, remote_content=True)
    assert blocked is not None
    assert shown is not None
    assert blocked.blocked_remote
    assert "tracker" not in blocked.html
    assert "https://tracker.example/a.gif" in shown.html


def test_pictures_of_the_message_itself_are_linked() -> None:
    safe = clean('<img src="cid:cat@x"><img src="cid:unknown">', {"cat@x": "/api/v1/messages/m/parts/2"}.get)
    assert safe is not None
    assert 'src="/api/v1/messages/m/parts/2"' in safe.html
    assert "cid:" not in safe.html


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 5_000,
        "<div><!--</div>-->" * 20_000,
        "<p>" + "<b><i>" * 1_000 + "</p>" + "<p>x</p>" * 5_000,
        "x" * 600_000,
    ],
)
def test_html_that_would_take_too_long_is_not_cleaned(html: str) -> None:
    assert clean(html, _no_picture, limits=Limits()) is None


async def test_html_mail_is_shown_clean(carol: RestClient, append: Append) -> None:
    body = "".join(ATTACKS.values()) + '<p>fine</p><img src="https://tracker.example/">'
    message = (
        "From: Eve <eve@evil.example>\r\nTo: carol@postroom.test\r\nSubject: <script>alert(1)</script>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + body
    )
    document = await carol.ask("GET", f"/messages/{await append(carol, message.encode())}")
    assert FORBIDDEN.search(document["html"]) is None
    assert "<p>fine</p>" in document["html"]
    assert document["blocked_remote_content"]
    assert "fine" in document["text"]
    assert "alert" not in document["text"]


BROKEN = {
    "no header at all": b"just a line\r\nand another\r\n",
    "nothing": b"",
    "a multipart that never ends": (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\njust a line"
    ),
    "a multipart without a boundary": b"Content-Type: multipart/mixed\r\n\r\njust a line\r\n",
    "an unknown charset": b"Content-Type: text/plain; charset=no-such\r\n\r\njust a line \xff\xfe\r\n",
    "broken base64": b"Content-Transfer-Encoding: base64\r\n\r\nanVzdCBhIGxpbmU===*\r\n",
    "octets that are no text": b"Subject: \xff\x00\xfe\r\n\r\n\x00\x01just a line\xff\r\n",
    "a thousand nested parts": b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (depth, depth)
        for depth in range(1000)
    )
    + b"\r\njust a line\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_mail_is_shown_and_kept_as_it_is(guest: RestClient, append: Append, name: str) -> None:
    identifier = await append(guest, BROKEN[name])
    assert (await guest.messages())[0]["id"] == identifier
    document = await guest.ask("GET", f"/messages/{identifier}")
    assert document["html"] is None
    if BROKEN[name] and "thousand" not in name:
        assert "just a line" in document["text"]
    assert (await guest.octets(f"/messages/{identifier}/raw")).content == BROKEN[name]


async def test_parts_are_decoded_and_never_run(carol: RestClient, append: Append) -> None:
    message = (
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\n"
        b'Content-Type: text/html; name="a/..\\\\b\xc3\xa4.html"\r\nContent-Disposition: attachment\r\n'
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n<script>alert=281)</script>\r\n--x--\r\n"
    )
    identifier = await append(carol, message)
    [attachment] = (await carol.ask("GET", f"/messages/{identifier}"))["attachments"]
    answer = await carol.octets(attachment["href"].removeprefix("/api/v1"))
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert "/" not in answer.headers["content-disposition"].replace("UTF-8''", "")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    for section in ("9", "x", "1.1.1", "%2e%2e"):
        path = f"/messages/{identifier}/parts/{section}"
        assert await carol.problem("GET", path, 404) in {"message-not-found", "not-found"}


async def test_text_beyond_what_is_shown_is_marked(carol: RestClient, append: Append) -> None:
    identifier = await append(carol, b"Subject: long\r\n\r\n" + b"a long line of text\r\n" * 12_000)
    assert not (await carol.ask("GET", f"/messages/{identifier}"))["truncated"]
    large = b"Subject: long\r\n\r\n" + b"a long line of text\r\n" * 60_000
    await carol.send(carol.address, text=large.decode(), save_to_sent=False)
    newest = (await carol.messages(count=2))[0]
    document = await carol.ask("GET", f"/messages/{newest['id']}")
    assert document["truncated"]
    assert 900_000 < len(document["text"]) <= 1024 * 1024


@pytest.mark.parametrize(
    ("claimed", "said"),
    [
        ("image/png", "image/png"),
        ("text/plain", "text/plain"),
        ("TEXT/HTML", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/javascript", "application/octet-stream"),
        ("text/plain\r\nX: y", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_only_harmless_types_are_said(claimed: str, said: str) -> None:
    assert media_type_of(claimed) == said


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        (None, 'attachment; filename="attachment"'),
        ("..", 'attachment; filename="attachment"'),
        ('a"b\r\nc/d\\e', 'attachment; filename="a_b_c_d_e"'),
        ("ä.txt", "attachment; filename=\"_.txt\"; filename*=UTF-8''%C3%A4.txt"),
    ],
)
def test_names_of_files_cannot_leave_their_header(name: str | None, header: str) -> None:
    assert disposition(name) == header


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Mon, 2 Nov 2026 17:00:00 +0100", "2026-11-02T16:00:00Z"),
        ("Fri, 31 Dec 9999 23:59:59 -1200", None),
        ("yesterday", None),
    ],
)
async def test_dates_are_in_utc(guest: RestClient, append: Append, said: str, shown: str | None) -> None:
    identifier = await append(guest, f"Date: {said}\r\n\r\n".encode())
    assert (await guest.ask("GET", f"/messages/{identifier}"))["date"] == shown
