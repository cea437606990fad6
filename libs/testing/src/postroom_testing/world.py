"""The rest of the world, as pods see it: the DNS, and another domain's mail host."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from postroom_testing.dns import DnsServer
from postroom_testing.pods import HOST
from postroom_testing.smtp_sink import SmtpSink

ELSEWHERE: Final = "elsewhere.test"
"""A domain that is not ours."""


@dataclass(frozen=True, slots=True)
class World:
    """What answers outside of the cluster."""

    names: DnsServer
    sink: SmtpSink


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    """Beside a pod network, for a while."""
    async with DnsServer(HOST, 53) as names, SmtpSink(host=HOST, port=25) as sink:
        names.add(f"mx.{ELSEWHERE}", "A", HOST)
        names.add(ELSEWHERE, "MX", f"10 mx.{ELSEWHERE}.")
        yield World(names, sink)
