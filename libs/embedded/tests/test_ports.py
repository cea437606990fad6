"""Ports that are taken are named with the option that chooses others."""

import socket

import pytest

from postroom_embedded.errors import ForbiddenPortError, PortInUseError
from postroom_embedded.ports import check_port, free_ports
from postroom_embedded.services import SERVICES, Options, check_ports


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(8)
    assert len(set(ports)) == 8
    for port in ports:
        check_port("127.0.0.1", port, "an inner part", "--port-base")


def test_a_port_in_use_is_named_with_its_purpose_and_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            PortInUseError, match=rf"port {port} on 127\.0\.0\.1 \(IMAP\) is in use.*--port-base"
        ):
            check_ports(Options(port_base=port - 143), [SERVICES["mail-access"]])


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ForbiddenPortError, match=r"192\.0\.2\.1 .*--bind"):
        check_ports(Options(bind="192.0.2.1"), [SERVICES["smtp-inbound"]])
