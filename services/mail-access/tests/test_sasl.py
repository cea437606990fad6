"""All mechanisms, by IMAP and POP3 under TLS, against a real directory."""

import base64
import hashlib
import json
import re
import secrets
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from jwt.algorithms import ECAlgorithm

from mail_access.serve import serving
from mail_access.settings import Settings
from postroom.directory.v1 import directory_pb2
from postroom_embedded.postgres import PostgresAddress
from postroom_runtime.lifecycle import Lifecycle
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.core import (
    PASSWORD,
    Core,
    bare_core,
    running_directory,
    running_mailstore,
)
from postroom_testing.scram import ScramClient
from postroom_testing.stack import drop_database, in_thread, new_database, run_in_thread
from postroom_wire.sasl import Mechanism

ISSUER = "https://id.example.com"
APP_PASSWORD = "abcdefghij234567klmn"
PROTOCOLS = ("imap", "pop3")
_SECONDS = 20.0

Respond = Callable[[bytes], bytes]


@dataclass(frozen=True)
class House:
    """What runs, and who may come in."""

    core: Core
    ports: dict[str, int]
    strict_ports: dict[str, int]
    """Where nobody comes in by a password."""
    server: Certificate
    clients: CertificateAuthority
    issuer: EllipticCurvePrivateKey

    def token(self, address: str, **claims: object) -> str:
        """An access token of the issuer."""
        said: dict[str, object] = {"iss": ISSUER, "aud": "postroom", "email": address}
        said["exp"] = datetime.now(UTC) + timedelta(minutes=5)
        return jwt.encode(said | claims, self.issuer, algorithm="ES256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def house(
    postgres_server: PostgresAddress,
    core_template: PostgresAddress,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[House]:
    """Directory, mail store and mail access with every mechanism, in a thread of their own."""
    folder = tmp_path_factory.mktemp("sasl")
    server = CertificateAuthority(folder / "server").issue("localhost")
    clients = CertificateAuthority(folder / "clients")
    issuer = generate_private_key(SECP256R1())
    jwk = {**json.loads(ECAlgorithm.to_jwk(issuer.public_key())), "kid": "one"}
    (folder / "jwks.json").write_text(json.dumps({"keys": [jwk]}))
    database = run_in_thread(lambda: new_database(postgres_server, core_template.database))

    @asynccontextmanager
    async def running() -> AsyncGenerator[House]:
        directory = {
            "oauth_issuer": ISSUER,
            "oauth_jwks": str(folder / "jwks.json"),
            "client_ca_file": clients.ca_file,
        }
        async with (
            bare_core(database) as core,
            running_directory(core, **directory),
            running_mailstore(core),
            serving(_settings(core, server, clients.ca_file), Lifecycle()) as listeners,
            serving(
                _settings(core, server, clients.ca_file, Mechanism.XOAUTH2), Lifecycle()
            ) as strict_listeners,
        ):
            ports, strict_ports = (
                {each.settings.name: each.port for each in some} for some in (listeners, strict_listeners)
            )
            yield House(core, ports, strict_ports, server, clients, issuer)
            for listener in (*listeners, *strict_listeners):
                listener.abort()
                await listener.wait_closed()

    with in_thread(running) as opened:
        yield opened
    run_in_thread(lambda: drop_database(database))


def _settings(core: Core, server: Certificate, client_ca: Path, *only: Mechanism) -> Settings:
    return Settings(
        nats_url=core.nats.url,
        directory_address=core.directory,
        mailstore_address=core.mailstore,
        host="127.0.0.1",
        imap_port=0,
        imaps_port=0,
        pop3_port=0,
        pop3s_port=0,
        max_connections_per_address=1_000,
        tls_cert_file=server.cert_file,
        tls_key_file=server.key_file,
        sasl_mechanisms=only or tuple(Mechanism),
        client_ca_file=client_ca,
    )


@pytest.fixture
def address(house: House) -> str:
    """Of an account that has opted in to everything."""
    (made,) = run_in_thread(lambda: house.core.add_accounts(f"sasl-{secrets.token_hex(4)}"))
    run_in_thread(lambda: house.core.add_credentials(made, APP_PASSWORD, directory_pb2.SCOPE_IMAP))
    return made


class Client:
    """Speaks either protocol, as far as the login goes."""

    def __init__(
        self, house: House, protocol: str, certificate: Certificate | None = None, *, tls: bool = True
    ) -> None:
        context = ssl.create_default_context(cafile=str(house.server.ca_file))
        if certificate is not None:
            context.load_cert_chain(certificate.cert_file, certificate.key_file)
        port = house.ports[protocol + ("s" if tls else "")]
        plain = socket.create_connection(("127.0.0.1", port), _SECONDS)
        self.socket = context.wrap_socket(plain, server_hostname="localhost") if tls else plain
        self._file = self.socket.makefile("rb")
        self._imap = protocol == "imap"
        self.line()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.socket.close()

    def line(self) -> bytes:
        """The next one, without its end."""
        return self._file.readline().rstrip(b"\r\n")

    def say(self, octets: bytes) -> None:
        """One line."""
        self.socket.sendall(octets + b"\r\n")

    def offered(self) -> set[str]:
        """The mechanisms."""
        if self._imap:
            self.say(b"x CAPABILITY")
            words = self.line().decode().split()
            self.line()
            return {word.removeprefix("AUTH=") for word in words if word.startswith("AUTH=")}
        self.say(b"CAPA")
        lines = list(iter(self.line, b"."))
        return {name for line in lines if line.startswith(b"SASL ") for name in line.decode().split()[1:]}

    def authenticate(self, mechanism: str, *responses: bytes | Respond, initial: bytes | None = None) -> bool:
        """Whether the server lets us in."""
        verb = f"a AUTHENTICATE {mechanism}" if self._imap else f"AUTH {mechanism}"
        dressed = b"" if initial is None else b" " + (base64.b64encode(initial) or b"=")
        self.say(verb.encode() + dressed)
        waiting = list(responses)
        while (line := self.line()).startswith(b"+ ") or line == b"+":
            response = waiting.pop(0)
            if not isinstance(response, bytes):
                response = response(base64.b64decode(line[2:]))
            self.say(base64.b64encode(response))
        assert not waiting
        return line.startswith((b"a OK", b"+OK"))

    def scram(self, client: ScramClient, mechanism: str = "SCRAM-SHA-256") -> bool:
        """By SCRAM, with an eye on the server too."""

        def trusting(server_final: bytes) -> bytes:
            assert client.trusts(server_final)
            return b""

        return self.authenticate(mechanism, client.answer, trusting, initial=client.first)

    def end_point(self) -> bytes:
        """The binding of the server's certificate, which ECDSA with SHA-256 signs."""
        assert isinstance(self.socket, ssl.SSLSocket)
        certificate = self.socket.getpeercert(binary_form=True)
        assert certificate is not None
        return hashlib.sha256(certificate).digest()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_connection_can_carry_is_offered(house: House, address: str, protocol: str) -> None:
    everything = {mechanism.value for mechanism in Mechanism}
    with Client(house, protocol) as client:
        assert client.offered() == everything - {"EXTERNAL"}
        assert not client.authenticate("EXTERNAL")
    with Client(house, protocol, house.clients.issue(address)) as client:
        assert client.offered() == everything
    with Client(house, protocol, tls=False) as client:  # over loopback
        assert client.offered() == everything - {"EXTERNAL", "SCRAM-SHA-256-PLUS"}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_passwords(house: House, address: str, protocol: str) -> None:
    name = address.encode()
    right, wrong = (b"\0" + name + b"\0" + word for word in (PASSWORD.encode(), b"wrong"))
    with Client(house, protocol) as client:
        assert not client.authenticate("PLAIN", wrong)
        assert not client.authenticate("LOGIN", name, b"wrong")
        assert client.authenticate("PLAIN", initial=right)
    with Client(house, protocol) as client:
        assert client.authenticate("LOGIN", name, PASSWORD.encode())
    with Client(house, protocol) as client:
        assert not client.authenticate("PLAIN", b"other" + right)
        app = b"\0" + name + b"\0" + APP_PASSWORD.encode()
        assert client.authenticate("PLAIN", app) is (protocol == "imap")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scram(house: House, address: str, protocol: str) -> None:
    with Client(house, protocol) as client:
        assert not client.authenticate("SCRAM-SHA-256", *_scram(ScramClient(address, "wrong")))
        assert client.scram(ScramClient(address, PASSWORD))
    with Client(house, protocol) as client:  # whoever sees no -PLUS although we offer it was deceived
        stripped = ScramClient(address, PASSWORD, header=b"y,,")
        assert not client.authenticate("SCRAM-SHA-256", initial=stripped.first)


def _scram(client: ScramClient) -> tuple[bytes, Respond]:
    return client.first, client.answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scram_bound_to_the_channel(house: House, address: str, protocol: str) -> None:
    header = b"p=tls-server-end-point,,"
    with Client(house, protocol) as client:
        other = ScramClient(address, PASSWORD, header=header, binding=b"x" * 32)
        assert not client.authenticate("SCRAM-SHA-256-PLUS", *_scram(other))
        unknown = ScramClient(address, PASSWORD, header=b"p=tls-unique,,", binding=b"x")
        assert not client.authenticate("SCRAM-SHA-256-PLUS", initial=unknown.first)
        bound = ScramClient(address, PASSWORD, header=header, binding=client.end_point())
        assert client.scram(bound, "SCRAM-SHA-256-PLUS")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tokens(house: House, address: str, protocol: str) -> None:
    def oauthbearer(token: str) -> bytes:
        return f"n,a={address},\x01host=localhost\x01port=993\x01auth=Bearer {token}\x01\x01".encode()

    def xoauth2(token: str) -> bytes:
        return f"user={address}\x01auth=Bearer {token}\x01\x01".encode()

    def told(reason: bytes) -> bytes:
        assert json.loads(reason)["status"] in {"invalid_token", "401"}
        return b"\x01"

    right, wrong = house.token(address), house.token(address, aud="other")
    with Client(house, protocol) as client:
        assert not client.authenticate("OAUTHBEARER", told, initial=oauthbearer(wrong))
        assert client.authenticate("OAUTHBEARER", initial=oauthbearer(right))
    with Client(house, protocol) as client:
        assert not client.authenticate("XOAUTH2", xoauth2(wrong), told)
        assert client.authenticate("XOAUTH2", xoauth2(right))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_certificates(house: House, address: str, protocol: str) -> None:
    with Client(house, protocol, house.clients.issue(address)) as client:
        assert not client.authenticate("EXTERNAL", b"somebody@postroom.test")
        assert client.authenticate("EXTERNAL", initial=b"")
    with Client(house, protocol, house.clients.issue(address)) as client:
        assert client.authenticate("EXTERNAL", address.encode())
    with Client(house, protocol, house.clients.issue("nobody@postroom.test")) as client:
        assert not client.authenticate("EXTERNAL", b"")
        assert client.authenticate("PLAIN", f"\0{address}\0{PASSWORD}".encode())


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "OAUTHBEARER", "XOAUTH2", "EXTERNAL"])
def test_curl_logs_in(
    house: House, address: str, protocol: str, mechanism: str, debian_tool: Callable[[str], Path]
) -> None:
    shown = house.clients.issue(address)
    proofs = {
        "EXTERNAL": [f"{address}:", "--cert", shown.cert_file, "--key", shown.key_file],
        "OAUTHBEARER": [f"{address}:", "--oauth2-bearer", house.token(address)],
        "XOAUTH2": [f"{address}:", "--oauth2-bearer", house.token(address)],
    }
    common = [debian_tool("curl"), "-sSv", "--cacert", house.server.ca_file]
    common += [
        f"{protocol}s://localhost:{house.ports[protocol + 's']}/",
        "--login-options",
        f"AUTH={mechanism}",
    ]
    for more in ([], ["--sasl-ir"]):
        user = ["--user", *proofs.get(mechanism, [f"{address}:{PASSWORD}"])]
        done = subprocess.run([*common, *more, *user], capture_output=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr.decode()
        # By IMAP curl 7.88 takes OAUTHBEARER, whichever of the two it is told.
        name = "OAUTHBEARER|XOAUTH2" if mechanism == "XOAUTH2" else mechanism
        assert re.search(rf"> (A002 AUTHENTICATE|AUTH) ({name})\b", done.stderr.decode())


def test_a_house_may_take_no_passwords(house: House, address: str) -> None:
    strict = replace(house, ports=house.strict_ports)
    with Client(strict, "imap") as client:
        assert client.offered() == {"XOAUTH2"}
        client.say(f'a LOGIN {address} "{PASSWORD}"'.encode())
        assert client.line() == b"a NO [CANNOT] LOGIN is not taken here, see the capabilities"
        assert not client.authenticate("PLAIN")
        client.say(b"x CAPABILITY")
        assert b" LOGINDISABLED" in client.line()
    with Client(strict, "pop3") as client:
        assert client.offered() == {"XOAUTH2"}
        client.say(f"USER {address}".encode())
        assert client.line() == b"-ERR Command not allowed now"


def test_a_certificate_of_others_is_refused_in_the_handshake(
    house: House, address: str, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path).issue(address)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _greeted(house, stranger)


def _greeted(house: House, certificate: Certificate) -> None:
    """In TLS 1.3 a server's refusal comes after the client's handshake."""
    with Client(house, "imap", certificate) as client:
        client.say(b"x NOOP")
        if not client.line():
            raise ConnectionError
