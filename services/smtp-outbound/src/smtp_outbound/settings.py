"""Settings of the relay."""

import os
import socket

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from postroom_runtime.settings import CommaSeparated, MailstoreAddress, NatsUrl, ServiceSettings


def _worker_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}"


class Settings(ServiceSettings):
    """Environment `POSTROOM_SMTP_OUTBOUND_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_SMTP_OUTBOUND_")

    nats_url: NatsUrl
    mailstore_address: MailstoreAddress
    dns_servers: CommaSeparated = Field(
        default=(), description="Addresses, each with :port if it is not 53; empty for the system's."
    )
    remote_port: int = Field(default=25, ge=1, le=65535, description="Of mail exchangers.")
    helo_name: str = Field(default_factory=socket.getfqdn, description="What we call ourselves.")
    smarthost: str = Field(default="", description="host[:port] that takes all mail; empty to ask the DNS.")
    allow_loopback: bool = Field(
        default=False, description="Send to exchangers that are this machine itself, by any of its addresses."
    )
    starttls: bool = Field(default=True, description="Encrypt where it is offered.")
    worker_name: str = Field(default_factory=_worker_name, description="In claims and logs.")
    workers: int = Field(default=8, ge=1, le=500, description="Connections at once.")
    claim_deliveries: int = Field(default=50, ge=1, le=200, description="Of one claim.")
    lease_seconds: float = Field(
        default=60.0, ge=0.5, le=3_600, description="Mail of a relay that died waits so long for another."
    )
    poll_seconds: float = Field(default=5.0, gt=0, le=300, description="Between two looks without a bell.")
    connect_seconds: float = Field(default=30.0, gt=0, le=300)
    kept_seconds: float = Field(default=10.0, ge=0, le=300, description="An idle connection is kept so long.")
    end_seconds: float = Field(
        default=600.0, gt=0, le=3_600, description="For the reply to a message's end (RFC 5321 s4.5.3.2.6)."
    )
    command_seconds: float = Field(default=300.0, gt=0, le=3_600, description="RFC 5321 s4.5.3.2.")
