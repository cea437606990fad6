"""A relay beside a real core, a name server and exchangers that keep what they get."""

from collections.abc import AsyncIterator

import pytest

from postroom_testing.core import Core
from postroom_testing.dns import DnsServer
from postroom_testing.relaying import House


@pytest.fixture
async def dns() -> AsyncIterator[DnsServer]:
    """A name server where mx.example.org, which is this machine, takes mail for example.org."""
    async with DnsServer() as server:
        server.add("example.org", "MX", "10 mx.example.org.")
        server.add("mx.example.org", "A", "127.0.0.1")
        yield server


@pytest.fixture
async def house(shared_core: Core, dns: DnsServer) -> AsyncIterator[House]:
    """The core that all tests share, without mail of other tests on its way."""
    yield House(shared_core, dns)
    # A report that is owed becomes a delivery to the sender, and that a message: so in this order.
    await shared_core.fetch("DELETE FROM mailstore.bounce")
    await shared_core.fetch("DELETE FROM mailstore.delivery")
    await shared_core.fetch("DELETE FROM mailstore.claim")
    await shared_core.fetch("DELETE FROM mailstore.domain_site")
    await shared_core.fetch("DELETE FROM mailstore.site")
    await shared_core.fetch("DELETE FROM mailstore.mailbox_message")
