"""The page at `/`: what runs where. It loads nothing, and runs nothing."""

import base64
import hashlib
from typing import Final

from starlette.responses import HTMLResponse

_HTTP_OFFSET: Final = 80
_ROWS: Final = (
    ("SMTP", 25, "mail comes in"),
    ("Submission", 587, "mail programs send (STARTTLS)"),
    ("Submission over TLS", 465, "mail programs send"),
    ("IMAP", 143, "mail programs read (STARTTLS)"),
    ("IMAP over TLS", 993, "mail programs read"),
    ("POP3", 110, "mail programs fetch (STLS)"),
    ("POP3 over TLS", 995, "mail programs fetch"),
    ("FTP", 21, "files (AUTH TLS)"),
    ("FTP over TLS", 990, "files"),
    ("HTTP", 80, "this page, and REST for this machine"),
    ("HTTPS", 443, "REST"),
)
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1.5rem .2rem 0}"
    "code{background:#eee;padding:.1rem .3rem}"
    "@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code{background:#333}a{color:#8bf}}"
)
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Postroom</title><style>{style}</style></head><body>
<h1>Postroom</h1>
<p>Mail and files, for the clients that you already have.</p>
<table><tr><th>What</th><th>Port</th><th>For</th></tr>
{rows}
</table>
<p>REST is at <code>/api/v1</code>; <a href="/api/openapi.json">its description</a> is OpenAPI.
Log in by <code>POST /api/v1/session</code> with an address and its password.</p>
</body></html>
"""


def start_page(http_port: int) -> HTMLResponse:
    """The page; all ports of a post room keep their distance from the HTTP port."""
    base = max(http_port - _HTTP_OFFSET, 0)
    rows = "\n".join(
        f"<tr><td>{name}</td><td>{base + offset}</td><td>{purpose}</td></tr>"
        for name, offset, purpose in _ROWS
    )
    return HTMLResponse(_PAGE.format(style=_STYLE, rows=rows), headers={"Content-Security-Policy": _POLICY})
