"""Settings of the FTP service."""

import re
from ipaddress import IPv4Address
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from postroom_runtime.settings import DirectoryAddress, FilestoreAddress, ListeningSettings, Port, ProxyPort

_RANGE: Final = re.compile(r"(\d{1,5})-(\d{1,5})")


def _ports(value: object) -> object:
    """`30000-30019` as its ports; `0` lets the system choose some (for tests)."""
    if not isinstance(value, str):
        return value
    if value == "0":
        return (0, 0, 0, 0)
    if (found := _RANGE.fullmatch(value)) is None:
        raise ValueError("a range of ports is wanted: 30000-30019")
    first, last = int(found[1]), int(found[2])
    if not 1024 <= first <= last <= 65_535 or last - first >= 10_000:
        raise ValueError("at most 10,000 ports between 1024 and 65535 are wanted")
    return tuple(range(first, last + 1))


PortRange = Annotated[tuple[int, ...], NoDecode, BeforeValidator(_ports)]


class Settings(ListeningSettings):
    """Environment `POSTROOM_FTP_GATEWAY_<FIELD>`; sizes in octets."""

    model_config = SettingsConfigDict(env_prefix="POSTROOM_FTP_GATEWAY_")

    directory_address: DirectoryAddress
    filestore_address: FilestoreAddress
    host: str = Field(default="", description="Where to listen; empty for all addresses.")
    port: Port = 2021
    proxy_port: ProxyPort = None
    ftps_port: Port = Field(default=2990, description="TLS from the start; open only with a certificate.")
    ftps_proxy_port: ProxyPort = None
    passive_ports: PortRange = Field(
        default=tuple(range(30_000, 30_020)),
        description="30000-30019; there a trusted proxy has to send a PROXY header, and nobody else.",
    )
    passive_address: IPv4Address | None = Field(
        default=None, description="What PASV tells; by default the address that the client has reached."
    )
    data_session: Literal["prefer", "require"] = Field(
        default="prefer",
        description="Whether data connections must resume the TLS session of the control one.",
    )
    max_sessions: int = Field(default=500, ge=1)
    max_sessions_per_address: int = Field(
        default=50, ge=1, description="An IPv6 client's address is its /64."
    )
    max_sessions_per_account: int = Field(default=20, ge=1)
    idle_seconds: float = Field(default=300.0, gt=0, description="Between two commands.")
    login_seconds: float = Field(default=60.0, gt=0, description="From the connection to the login.")
    data_connect_seconds: float = Field(default=15.0, gt=0, description="Until a data connection stands.")
    data_idle_seconds: float = Field(default=60.0, gt=0, description="Without an octet on a data connection.")
    upload_budget_octets: int = Field(
        default=128 * 1024**2, ge=16 * 1024**2, description="Of all uploads: two parts of 5 MiB each."
    )
