"""The SMTP service over a real core, shared by the tests that do it no harm."""

import ssl
from collections.abc import Iterator

import pytest

from postroom_testing.core import Core
from postroom_testing.smtp_house import SmtpHouse, running_smtp
from postroom_testing.stack import in_thread


@pytest.fixture(scope="session")
def house(shared_core: Core) -> Iterator[SmtpHouse]:
    """MX, submission and submissions, with the object store away."""
    with in_thread(lambda: running_smtp(shared_core)) as running:
        yield running


@pytest.fixture
def trusting(house: SmtpHouse) -> ssl.SSLContext:
    """A client's context that trusts the service's certificate."""
    return ssl.create_default_context(cafile=str(house.ca_file))
