"""The SMTP service beside a real core."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from postroom_embedded.ports import free_ports
from postroom_testing.certificates import Certificate, CertificateAuthority
from postroom_testing.core import Core, module, served


@dataclass(frozen=True, slots=True)
class SmtpHouse:
    """Where the service listens."""

    core: Core
    port: int
    submission_port: int
    submissions_port: int
    ca_file: Path


def smtp_settings(core: Core, certificate: Certificate, **more: object) -> dict[str, object]:
    """Settings of the service by name, with free ports."""
    port, submission_port, submissions_port = free_ports(3)
    return {
        "directory_address": core.directory,
        "mailstore_address": core.mailstore,
        "host": "127.0.0.1",
        "port": port,
        "submission_port": submission_port,
        "submissions_port": submissions_port,
        "hostname": "mail.postroom.test",
        "message_octets": 2_000_000,
        "tls_cert_file": certificate.cert_file,
        "tls_key_file": certificate.key_file,
        "drain_seconds": 2.0,
        **more,
    }


@asynccontextmanager
async def running_smtp(core: Core, **more: object) -> AsyncGenerator[SmtpHouse]:
    """The service in this process, over a core; `more` are settings."""
    certificate = CertificateAuthority(core.sockets / "tls").issue("localhost")
    values = smtp_settings(core, certificate, **more)
    settings = module("smtp_inbound.settings").Settings(**values)
    async with served(module("smtp_inbound.serve").serve, settings):
        yield SmtpHouse(
            core, settings.port, settings.submission_port, settings.submissions_port, certificate.ca_file
        )
