"""The chart's wiring is true: its pods, made of the images, carry mail and files between them.

The release is rendered as for nodes that reach no registry, with Postgres, NATS and the object store in it,
and each pod gets exactly what its manifest says (see `postroom_testing.pods`).
"""

import ftplib
import imaplib
import io
import os
import smtplib
import ssl
import time
from collections.abc import Callable
from copy import deepcopy

import httpx
import pytest

from postroom_testing.chart import Manifest
from postroom_testing.image import ask_tree
from postroom_testing.pods import Pods
from postroom_testing.smtp_sink import Received
from postroom_testing.traffic import Account
from postroom_testing.world import ELSEWHERE, World

pytestmark = pytest.mark.timeout(300)


def _api(pods: Pods, trust: ssl.SSLContext) -> httpx.Client:
    base = f"https://{pods.address('webmail-api')}:2443/api/v1/"
    return httpx.Client(base_url=base, verify=trust, trust_env=False, timeout=20.0)


def _subjects(pods: Pods, trust: ssl.SSLContext, account: Account) -> list[bytes]:
    with imaplib.IMAP4_SSL(pods.address("mail-access"), 2993, ssl_context=trust, timeout=20) as imap:
        imap.login(account.address, account.password)
        if imap.select("INBOX")[1] == [b"0"]:
            return []
        _, found = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [part[1].strip() for part in found if isinstance(part, tuple)]


def _identity(pod: Manifest) -> str:
    return str(pod["metadata"]["labels"]["postroom-identity"])


def test_a_client_in_the_cluster_is_seen_by_its_own_address(pods: Pods) -> None:
    (check,) = (deepcopy(each) for each in pods.rendering.of_kind("Pod") if _identity(each) == "client")
    (target,) = (
        each for each in check["spec"]["containers"][0]["env"] if each["name"] == "POSTROOM_CLIENT_TARGET"
    )
    assert target["value"] == "postroom-smtp-inbound:25"
    target["value"] = f"{pods.address('smtp-inbound')}:2025"  # nobody here is the Service
    pods.wait_done(pods.start(check["metadata"]["name"], check))


def test_who_is_declared_in_values_can_log_in(pods: Pods, trust: ssl.SSLContext, declared: Account) -> None:
    with _api(pods, trust) as api:
        login = {"address": declared.address, "password": declared.password}
        assert api.post("session", json=login).raise_for_status().json()["token"]


def test_each_pod_says_by_its_check_that_it_reaches_what_it_stands_on(pods: Pods) -> None:
    checks = [each for each in pods.rendering.of_kind("Pod") if _identity(each) != "client"]
    assert {_identity(check) for check in checks} == set(ask_tree("services"))
    for check in checks:
        pods.wait_done(pods.start(check["metadata"]["name"], check))


def test_mail_comes_in_by_smtp_and_is_read_by_imap_and_rest(
    pods: Pods, trust: ssl.SSLContext, account: Account
) -> None:
    small, large = "a line\r\n", "a longer line of a large mail\r\n" * 40_000
    with smtplib.SMTP(pods.address("smtp-inbound"), 2025, timeout=20) as smtp:
        for subject, text in (("small", small), ("large", large)):
            smtp.sendmail(
                "you@elsewhere.test", [account.address], f"Subject: {subject}\r\n\r\n{text}".encode()
            )
    _eventually(lambda: sorted(_subjects(pods, trust, account)) == [b"Subject: large", b"Subject: small"])
    with _api(pods, trust) as api:
        session = (
            api.post("session", json={"address": account.address, "password": account.password})
            .raise_for_status()
            .json()
        )
        api.headers["Authorization"] = f"Bearer {session['token']}"
        inbox = next(each for each in api.get("mailboxes").json()["items"] if each["name"] == "INBOX")
        items = api.get(f"mailboxes/{inbox['id']}/messages").json()["items"]
        (found,) = (item["id"] for item in items if item["subject"] == "large")
        assert api.get(f"messages/{found}/raw").content.endswith(large.encode())


def test_mail_goes_out_to_the_exchanger_that_the_dns_names(
    pods: Pods, world: World, trust: ssl.SSLContext, account: Account
) -> None:
    with smtplib.SMTP(pods.address("smtp-inbound"), 2587, timeout=20) as smtp:
        smtp.starttls(context=trust)
        smtp.login(account.address, account.password)
        smtp.sendmail(account.address, [f"bob@{ELSEWHERE}"], b"Subject: out\r\n\r\nto the world\r\n")

    def received() -> list[Received]:
        return [each for each in world.sink.messages if each.reverse_path == account.address]

    _eventually(lambda: received() != [])
    (message,) = received()
    assert (message.recipients, message.helo) == ((f"bob@{ELSEWHERE}",), "mail.postroom.test")
    assert message.octets.endswith(b"to the world\r\n")


def test_a_file_goes_up_and_comes_down_by_ftp_over_tls(
    pods: Pods, trust: ssl.SSLContext, account: Account
) -> None:
    octets, came = os.urandom(6 * 2**20), io.BytesIO()
    with ftplib.FTP_TLS(context=trust, timeout=20) as ftp:
        ftp.connect(pods.address("ftp-gateway"), 2021)
        ftp.login(account.address, account.password)
        ftp.prot_p()
        ftp.storbinary("STOR report.bin", io.BytesIO(octets))
        ftp.retrbinary("RETR report.bin", came.write)
    assert came.getvalue() == octets


def _eventually(look: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)
