"""Submission by SCRAM and by app passwords, against a real directory."""

import base64
import hashlib
import secrets
import ssl
from collections.abc import AsyncGenerator, Iterator

import pytest

from postroom.directory.v1 import directory_pb2
from postroom_testing.certificates import CertificateAuthority
from postroom_testing.core import Core
from postroom_testing.scram import ScramClient
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import SmtpHouse, running_smtp
from postroom_testing.stack import in_thread, run_in_thread
from postroom_wire.sasl import Mechanism

APP_PASSWORD = "abcdefghij234567klmn"
BOB = "bob@postroom.test"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    """Whose certificates clients may show."""
    return CertificateAuthority(tmp_path_factory.mktemp("clients"))


@pytest.fixture(scope="module")
def house(shared_core: Core, clients: CertificateAuthority) -> Iterator[SmtpHouse]:
    """With every mechanism."""
    more = {"sasl_mechanisms": tuple(Mechanism), "client_ca_file": clients.ca_file}
    with in_thread(lambda: running_smtp(shared_core, **more)) as running:
        yield running


@pytest.fixture
def address(house: SmtpHouse) -> str:
    """Of an account that has opted in to everything."""
    (made,) = run_in_thread(lambda: house.core.add_accounts(f"sasl-{secrets.token_hex(4)}"))
    scope = directory_pb2.SCOPE_SUBMISSION
    run_in_thread(lambda: house.core.add_credentials(made, APP_PASSWORD, scope))
    return made


@pytest.fixture
async def client(house: SmtpHouse) -> AsyncGenerator[SmtpClient]:
    """Under TLS, after EHLO."""
    context = ssl.create_default_context(cafile=str(house.ca_file))
    async with SmtpClient.connected(house.submissions_port, tls=context) as connected:
        offered = await connected.say("EHLO client.example")
        assert "AUTH PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS OAUTHBEARER XOAUTH2\n" in offered
        yield connected


async def authenticate(client: SmtpClient, scram: ScramClient, mechanism: str) -> str:
    """The last reply."""
    said = await client.say(f"AUTH {mechanism} {_dressed(scram.first)}")
    if not said.startswith("334 "):
        return said
    said = await client.say(_dressed(scram.answer(base64.b64decode(said[4:]))))
    if not said.startswith("334 "):
        return said
    assert scram.trusts(base64.b64decode(said[4:]))
    return await client.say("")


def _dressed(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


async def test_a_client_that_knows_the_password_sends(client: SmtpClient, address: str) -> None:
    wrong = ScramClient(address, "wrong")
    assert (
        await authenticate(client, wrong, "SCRAM-SHA-256") == "535 5.7.8 Authentication credentials invalid"
    )
    right = ScramClient(address, "correct horse battery")
    assert await authenticate(client, right, "SCRAM-SHA-256") == "235 2.7.0 Authentication succeeded"
    assert (await client.mail(address, BOB)).startswith("250 2.0.0 Queued as ")


async def test_a_login_that_the_client_gives_up_is_none(client: SmtpClient, address: str) -> None:
    scram = ScramClient(address, "correct horse battery")
    said = await client.say(f"AUTH SCRAM-SHA-256 {_dressed(scram.first)}")
    said = await client.say(_dressed(scram.answer(base64.b64decode(said[4:]))))
    assert scram.trusts(base64.b64decode(said[4:]))
    assert (await client.say("*")).startswith("501 5.7.0")
    assert (await client.say(f"MAIL FROM:<{address}>")).startswith("530 5.7.0")


async def test_plus_is_bound_to_the_certificate_of_the_service(
    client: SmtpClient, house: SmtpHouse, address: str
) -> None:
    certificate = ssl.get_server_certificate(("127.0.0.1", house.submissions_port), ca_certs=None)
    end_point = hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest()
    for binding, code in ((b"x" * 32, "535"), (end_point, "235")):
        scram = ScramClient(
            address, "correct horse battery", header=b"p=tls-server-end-point,,", binding=binding
        )
        assert (await authenticate(client, scram, "SCRAM-SHA-256-PLUS"))[:3] == code


async def test_an_app_password_for_submission_sends(client: SmtpClient, address: str) -> None:
    login = _dressed(f"\0{address}\0{APP_PASSWORD}".encode())
    assert (await client.say(f"AUTH PLAIN {login}")).startswith("235")
    assert (await client.mail(address, BOB)).startswith("250 2.0.0 Queued as ")


async def test_without_the_directory_s_authority_a_certificate_is_no_login(
    house: SmtpHouse, clients: CertificateAuthority, address: str
) -> None:
    shown = clients.issue(address)
    context = ssl.create_default_context(cafile=str(house.ca_file))
    context.load_cert_chain(shown.cert_file, shown.key_file)
    async with SmtpClient.connected(house.submissions_port, tls=context) as client:
        assert " EXTERNAL" in await client.say("EHLO client.example")
        assert (await client.say("AUTH EXTERNAL =")).startswith("535")
    async with SmtpClient.connected(house.port) as client:  # of the MX nobody asks for one
        await client.say("EHLO client.example")
        assert (await client.start_tls(context)).startswith("220")
