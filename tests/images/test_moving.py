"""The bundled parts come back at other addresses, as pods do, and everybody finds them again."""

import imaplib
import smtplib
import ssl
import time

import pytest

from postroom_testing.pods import Pods
from postroom_testing.traffic import Account

pytestmark = pytest.mark.timeout(300)
_SIZES = {"small": 20, "large": 40_000}
_FOUND_SECONDS = 60.0


def _send(pods: Pods, account: Account, name: str, lines: int) -> None:
    """Once it is accepted; temporary errors are what a client has to live with."""
    end = time.monotonic() + _FOUND_SECONDS
    while True:
        try:
            with smtplib.SMTP(pods.address("smtp-inbound"), 2025, timeout=20) as smtp:
                content = f"Subject: {name}\r\n\r\n" + "a line of it\r\n" * lines
                smtp.sendmail("you@elsewhere.test", [account.address], content)
                return
        except smtplib.SMTPRecipientsRefused as refused:
            code, text = refused.recipients[account.address]
        except smtplib.SMTPResponseException as refused:
            code, text = refused.smtp_code, refused.smtp_error
        assert 400 <= code < 500, text
        assert time.monotonic() < end, text
        time.sleep(0.5)


def _read(pods: Pods, trust: ssl.SSLContext, account: Account) -> dict[str, int]:
    """The length of every message's text by its subject, as far as all can be had."""
    lengths: dict[str, int] = {}
    try:
        with imaplib.IMAP4_SSL(pods.address("mail-access"), 2993, ssl_context=trust, timeout=20) as imap:
            imap.login(account.address, account.password)
            for number in range(1, int(imap.select("INBOX")[1][0] or b"0") + 1):
                _, found = imap.fetch(str(number), "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])")
                subject, text = (bytes(part[1]) for part in found if isinstance(part, tuple))
                lengths[subject.decode().split()[1]] = text.count(b"a line of it\r\n")
    except (imaplib.IMAP4.error, ValueError):  # not yet
        return {}
    return lengths


def test_the_parts_are_found_again_with_all_that_they_held_where_they_come_back(
    pods: Pods, trust: ssl.SSLContext, account: Account
) -> None:
    for name, lines in _SIZES.items():
        _send(pods, account, name, lines)
    pods.move(*(pod for pod in pods.running if pod.component in {"postgres", "nats", "object-store"}))
    for name, lines in _SIZES.items():
        _send(pods, account, f"{name}-again", lines)
    wanted = {name + again: lines for name, lines in _SIZES.items() for again in ("", "-again")}
    end = time.monotonic() + _FOUND_SECONDS
    while (found := _read(pods, trust, account)) != wanted:
        assert time.monotonic() < end, found
        time.sleep(0.5)
