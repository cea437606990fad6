"""REST as the process that it is: HTTP, HTTPS, and an end without a dropped request."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from postroom_contracts.ids import new_id
from postroom_runtime.tls import verifying_client_context
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.rest_client import RestClient, Serve
from webmail_api import http_server
from webmail_api.limits import Limits


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Of this machine."""
    return CertificateAuthority(tmp_path_factory.mktemp("authority")).issue("localhost", "127.0.0.1")


async def _event(process: Process, name: str) -> dict[str, Any]:
    """The next event of this name that the process logs."""
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while line := await process.stdout.readline():
            event: dict[str, Any] = json.loads(line)
            if event["event"] == name:
                return event
    raise AssertionError(f"ended without {name}")


@pytest.fixture
async def process(
    house_environment: dict[str, str], certificate: Certificate, tmp_path: os.PathLike[str]
) -> AsyncIterator[Process]:
    """`python -m webmail_api serve`."""
    environment = house_environment | {
        "PATH": os.environ["PATH"],
        "POSTROOM_WEBMAIL_API_HOST": "127.0.0.1",
        "POSTROOM_WEBMAIL_API_HTTP_PORT": "0",
        "POSTROOM_WEBMAIL_API_HTTPS_PORT": "0",
        "POSTROOM_WEBMAIL_API_HEALTH_ADDRESS": f"unix:{tmp_path}/health",
        "POSTROOM_WEBMAIL_API_DRAIN_SECONDS": "5",
        "POSTROOM_TLS_CERT_FILE": str(certificate.cert_file),
        "POSTROOM_TLS_KEY_FILE": str(certificate.key_file),
    }
    command = (sys.executable, "-m", "webmail_api", "serve")
    started = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_a_process_serves_logs_and_ends_in_order(
    process: Process, certificate: Certificate, guest_token: str
) -> None:
    ready = await _event(process, "ready")
    headers = {"Authorization": f"Bearer {guest_token}"}
    context = verifying_client_context(certificate.ca_file)
    url = f"https://localhost:{ready['https']}"
    async with httpx.AsyncClient(base_url=url, verify=context, headers=headers, trust_env=False) as http:
        who = await RestClient(http).ask("GET", "/session", headers={"X-Request-Id": "abc"})
    assert who["address"] == "ann@postroom.test"
    logged = await _event(process, "request")
    assert (logged["operation"], logged["status"], logged["request_id"]) == ("getSession", 200, "abc")
    assert len(logged["trace_id"]) == 32
    assert "postroom.test" not in json.dumps(logged)

    # A file on its way when the end is announced is stored all the same.
    going = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first half, "
        going.set()
        await asyncio.sleep(0.5)
        yield b"second half"

    path = f"/late-{new_id()}"
    url = f"http://127.0.0.1:{ready['http']}"
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=20) as http:
        putting = asyncio.ensure_future(
            RestClient(http).ask("PUT", "/files/content", 201, params={"path": path}, content=pieces())
        )
        await going.wait()
        await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert (await putting)["size"] == len("first half, second half")
    async with asyncio.timeout(10):
        assert await process.wait() == 0


async def test_passwords_and_tokens_of_others_come_under_tls_only(serve: Serve, guest_token: str) -> None:
    """Loopback is let through elsewhere; this machine's other address is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = str(probe.getsockname()[0])
    ports = await serve(host=address)
    async with httpx.AsyncClient(base_url=f"http://{address}:{ports['http']}", trust_env=False) as http:
        client = RestClient(http)
        credentials = {"address": "ann@postroom.test", "password": "x"}
        assert await client.problem("POST", "/session", 403, json=credentials) == "tls-required"
        headers = {"Authorization": f"Bearer {guest_token}"}
        assert await client.problem("GET", "/session", 403, headers=headers) == "tls-required"
        assert await client.problem("GET", "/admin/accounts", 403, headers=headers) == "tls-required"
        assert (await http.get("/")).status_code == 200


async def test_a_client_that_says_nothing_is_hung_up_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "DEFAULT_LIMITS", Limits(head_seconds=0.1))
    ports = await serve()
    for begun in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", ports["http"])
        writer.write(begun)
        async with asyncio.timeout(5):
            try:
                answer = await reader.read()
            except ConnectionResetError:
                answer = b""
        assert answer.startswith(b"HTTP/1.1 200 OK") == begun.endswith(b"\r\n\r\n")
        writer.close()
