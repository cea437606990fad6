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
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from postroom_testing.chart import CHART, Helm, Manifest
from postroom_testing.dns import DnsServer
from postroom_testing.image import ask_tree, unpacked_images
from postroom_testing.pods import HOST, Pods, pod_network, running_pods
from postroom_testing.smtp_sink import SmtpSink
from postroom_testing.stack import in_thread

pytestmark = pytest.mark.timeout(300)
PASSWORD = "correct horse battery"
_OUTSIDE = "elsewhere.test"
VALUES = {
    "defaults": {"replicas": 1},
    "services": {"mailstore": {"replicas": 2}, "directory": {"replicas": 2}, "ftp-gateway": {"replicas": 1}},
}


@dataclass
class Outside:
    """The rest of the world."""

    names: DnsServer
    sink: SmtpSink


@asynccontextmanager
async def _outside() -> AsyncGenerator[Outside]:
    async with DnsServer(HOST, 53) as names, SmtpSink(host=HOST, port=25) as sink:
        names.add(f"mx.{_OUTSIDE}", "A", HOST)
        names.add(_OUTSIDE, "MX", f"10 mx.{_OUTSIDE}.")
        yield Outside(names, sink)


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    with pod_network(), in_thread(_outside) as outside:
        yield outside


@pytest.fixture(scope="module")
def pods(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    images = {image.service: image for image in unpacked_images(Path(os.environ["POSTROOM_IMAGE_ROOTS"]))}
    helm = Helm(Path(os.environ["POSTROOM_HELM_TOOLS"]) / "helm")
    rendering = helm.template(VALUES, files=[CHART / "ci/loaded-images-values.yaml"])
    place = tmp_path_factory.mktemp("pods")
    with running_pods(rendering, images, {}, outside.names, place) as pods:
        yield pods


@pytest.fixture(scope="module")
def trust(pods: Pods) -> ssl.SSLContext:
    """Who trusts the authority that the chart has made; pods are known by their addresses only."""
    context = ssl.create_default_context(cadata=pods.rendering.secret("postroom-tls")["ca.crt"].decode())
    context.check_hostname = False
    return context


@pytest.fixture(scope="module")
def alice(pods: Pods, trust: ssl.SSLContext) -> str:
    """An account that the administrator has made, with the token from the chart's Secret."""
    token = pods.rendering.secret("postroom-admin")["token"].decode()
    with _api(pods, trust) as api:
        api.headers["Authorization"] = f"Bearer {token}"
        api.post("admin/domains", json={"name": "postroom.test"}).raise_for_status()
        account = {"address": "alice@postroom.test", "password": PASSWORD}
        api.post("admin/accounts", json=account).raise_for_status()
    return account["address"]


def _api(pods: Pods, trust: ssl.SSLContext) -> httpx.Client:
    base = f"https://{pods.address('webmail-api')}:2443/api/v1/"
    return httpx.Client(base_url=base, verify=trust, trust_env=False, timeout=20.0)


def _subjects(pods: Pods, trust: ssl.SSLContext, user: str) -> list[bytes]:
    with imaplib.IMAP4_SSL(pods.address("mail-access"), 2993, ssl_context=trust, timeout=20) as imap:
        imap.login(user, PASSWORD)
        imap.select("INBOX")
        _, found = imap.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [part[1].strip() for part in found if isinstance(part, tuple)]


def _identity(pod: Manifest) -> str:
    return str(pod["metadata"]["labels"]["postroom-identity"])


def test_a_client_in_the_cluster_is_seen_by_its_own_address(pods: Pods) -> None:
    (check,) = (deepcopy(each) for each in pods.rendering.of_kind("Pod") if _identity(each) == "client")
    (target,) = (
        each for each in check["spec"]["containers"][0]["env"] if each["name"] == "POSTROOM_CLIENT_TARGET"
    )
    target["value"] = target["value"].replace(":25", ":2025")  # no Service stands before the pods here
    pods.wait_done(pods.start(check["metadata"]["name"], check))


def test_each_pod_says_by_its_check_that_it_reaches_what_it_stands_on(pods: Pods) -> None:
    checks = [each for each in pods.rendering.of_kind("Pod") if _identity(each) != "client"]
    assert {_identity(check) for check in checks} == set(ask_tree("services"))
    for check in checks:
        pods.wait_done(pods.start(check["metadata"]["name"], check))


def test_mail_comes_in_by_smtp_and_is_read_by_imap_and_rest(
    pods: Pods, trust: ssl.SSLContext, alice: str
) -> None:
    small, large = "a line\r\n", "a longer line of a large mail\r\n" * 40_000
    with smtplib.SMTP(pods.address("smtp-inbound"), 2025, timeout=20) as smtp:
        for subject, text in (("small", small), ("large", large)):
            smtp.sendmail("you@elsewhere.test", [alice], f"Subject: {subject}\r\n\r\n{text}".encode())
    _eventually(lambda: sorted(_subjects(pods, trust, alice)) == [b"Subject: large", b"Subject: small"])
    with _api(pods, trust) as api:
        session = api.post("session", json={"address": alice, "password": PASSWORD}).raise_for_status().json()
        api.headers["Authorization"] = f"Bearer {session['token']}"
        inbox = next(each for each in api.get("mailboxes").json()["items"] if each["name"] == "INBOX")
        items = api.get(f"mailboxes/{inbox['id']}/messages").json()["items"]
        (found,) = (item["id"] for item in items if item["subject"] == "large")
        assert api.get(f"messages/{found}/raw").content.endswith(large.encode())


def test_mail_goes_out_to_the_exchanger_that_the_dns_names(
    pods: Pods, outside: Outside, trust: ssl.SSLContext, alice: str
) -> None:
    with smtplib.SMTP(pods.address("smtp-inbound"), 2587, timeout=20) as smtp:
        smtp.starttls(context=trust)
        smtp.login(alice, PASSWORD)
        smtp.sendmail(alice, [f"bob@{_OUTSIDE}"], b"Subject: out\r\n\r\nto the world\r\n")
    _eventually(lambda: len(outside.sink.messages) == 1)
    (received,) = outside.sink.messages
    assert (received.reverse_path, received.recipients) == (alice, (f"bob@{_OUTSIDE}",))
    assert received.helo == "mail.postroom.test"
    assert received.octets.endswith(b"to the world\r\n")


def test_a_file_goes_up_and_comes_down_by_ftp_over_tls(pods: Pods, trust: ssl.SSLContext, alice: str) -> None:
    octets, came = os.urandom(6 * 2**20), io.BytesIO()
    with ftplib.FTP_TLS(context=trust, timeout=20) as ftp:
        ftp.connect(pods.address("ftp-gateway"), 2021)
        ftp.login(alice, PASSWORD)
        ftp.prot_p()
        ftp.storbinary("STOR report.bin", io.BytesIO(octets))
        ftp.retrbinary("RETR report.bin", came.write)
    assert came.getvalue() == octets


def _eventually(look: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)
