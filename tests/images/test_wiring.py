"""The chart's wiring is true: its pods, made of the images, carry mail and files between them.

The release is rendered as for a cluster, and each pod gets exactly what its manifest says (see
`postroom_testing.pods`). Postgres, NATS and the object store are the embedded ones, as external ones.
"""

import asyncio
import contextlib
import ftplib
import imaplib
import io
import os
import smtplib
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import httpx
import pytest

from postroom_embedded.instance import Instance
from postroom_embedded.nats import NatsAddress, running_nats
from postroom_embedded.postgres import PostgresAddress, running_postgres
from postroom_embedded.seaweedfs import S3Address, running_object_store
from postroom_testing.chart import Helm
from postroom_testing.dns import DnsServer
from postroom_testing.image import unpacked_images
from postroom_testing.pods import HOST, Pods, pod_network, running_pods
from postroom_testing.smtp_sink import SmtpSink
from postroom_testing.stack import in_thread

pytestmark = pytest.mark.timeout(300)
_Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
PASSWORD = "correct horse battery"
_OUTSIDE = "elsewhere.test"
_STACK = {"postgres": 5432, "nats": 4222, "store": 8333}
VALUES = {
    "defaults": {"replicas": 1},
    "services": {"mailstore": {"replicas": 2}, "directory": {"replicas": 2}, "ftp-gateway": {"replicas": 1}},
    "postgres": {
        "mode": "external",
        "roles": {name: {"existingSecret": f"pg-{name}"} for name in ("directory", "mailstore", "filestore")},
    },
    "nats": {"mode": "external", "existingSecret": "nats-login"},
    "objectStore": {
        "mode": "external",
        "existingSecret": "s3-keys",
        "external": {"endpoint": "http://store.stack.test:8333"},
    },
}


@dataclass
class Outside:
    """What the release stands on and speaks with: as external parts, and as the rest of the world."""

    secrets: Mapping[str, Mapping[str, bytes]]
    names: DnsServer
    sink: SmtpSink


@asynccontextmanager
async def _outside(instance: Instance) -> AsyncGenerator[Outside]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        postgres = await enter(running_postgres(instance))
        nats = await enter(running_nats(instance))
        store = await enter(running_object_store(instance))
        names = await enter(DnsServer(HOST, 53))
        sink = await enter(SmtpSink(host=HOST, port=25))
        socket = f"{postgres.host}/.s.PGSQL.{postgres.port}"
        host, _, port = store.endpoint.rpartition("//")[2].rpartition(":")
        await enter(_relayed(_STACK["postgres"], lambda: asyncio.open_unix_connection(socket)))
        await enter(_relayed(_STACK["nats"], lambda: asyncio.open_connection(nats.host, nats.port)))
        await enter(_relayed(_STACK["store"], lambda: asyncio.open_connection(host, int(port))))
        for name in (*(f"{part}.stack.test" for part in _STACK), f"mx.{_OUTSIDE}"):
            names.add(name, "A", HOST)
        names.add(_OUTSIDE, "MX", f"10 mx.{_OUTSIDE}.")
        yield Outside(_secrets(postgres, nats, store), names, sink)


def _secrets(
    postgres: PostgresAddress, nats: NatsAddress, store: S3Address
) -> Mapping[str, Mapping[str, bytes]]:
    at = {part: f"{part}.stack.test:{port}" for part, port in _STACK.items()}
    roles = {
        f"pg-{role}": f"postgresql://{role}:{password}@{at['postgres']}/{postgres.database}"
        for role, password in postgres.passwords.items()
    }
    login = nats.url.removeprefix("nats://").partition("@")[0]
    return {
        **{name: {"uri": url.encode()} for name, url in roles.items()},
        "nats-login": {"url": f"nats://{login}@{at['nats']}".encode()},
        "s3-keys": {"access-key": store.access_key.encode(), "secret-key": store.secret_key.encode()},
    }


@asynccontextmanager
async def _relayed(port: int, connect: Callable[[], Awaitable[_Streams]]) -> AsyncGenerator[None]:
    """Whoever connects to the port at `HOST` speaks with what `connect` reaches."""

    async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await source.read(2**16):
                sink.write(octets)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await connect()
        await asyncio.gather(pass_on(reader, inner_writer), pass_on(inner_reader, writer))

    server = await asyncio.start_server(serve, HOST, port)
    try:
        yield
    finally:
        server.close()


@pytest.fixture(scope="module")
def outside(embedded_instance: Instance) -> Iterator[Outside]:
    with pod_network(), in_thread(lambda: _outside(embedded_instance)) as outside:
        yield outside


@pytest.fixture(scope="module")
def pods(outside: Outside, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    images = {image.service: image for image in unpacked_images(Path(os.environ["POSTROOM_IMAGE_ROOTS"]))}
    rendering = Helm(Path(os.environ["POSTROOM_HELM_TOOLS"]) / "helm").template(VALUES)
    with running_pods(
        rendering, images, outside.secrets, outside.names, tmp_path_factory.mktemp("pods")
    ) as pods:
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


def test_each_pod_says_by_its_check_that_it_reaches_what_it_stands_on(pods: Pods) -> None:
    checks = pods.rendering.of_kind("Pod")
    assert len(checks) == len(pods.images)
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
