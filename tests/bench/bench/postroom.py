"""Postroom as it is measured: started by its command, with mailboxes of the bench's own."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.sides import FtpSide, MailSide, Subject
from bench.visible_load import Box
from postroom_cli.api import Api
from postroom_testing.running import free_base, running_postroom

_BOXES: Final = 10
# All load comes from one address and for few accounts, which the defaults are there to prevent.
_ROOM: Final = {
    "POSTROOM_MAIL_ACCESS_MAX_CONNECTIONS_PER_ADDRESS": "6000",
    "POSTROOM_MAIL_ACCESS_MAX_SESSIONS_PER_ACCOUNT": "600",
}


@contextmanager
def measured_postroom(data: Path) -> Generator[Subject]:
    """A whole Postroom on this directory and on free ports."""
    with running_postroom(data, free_base(), **_ROOM) as running:
        password = secrets.token_urlsafe(12)
        addresses = [f"bench{number}@postroom.test" for number in range(_BOXES)]
        with Api.find(data) as api:
            for address in addresses:
                api.ask("POST", "admin/accounts", {"address": address, "password": password})
        boxes = tuple(Box(address, address, password) for address in addresses)
        roots = (running.process.pid,)
        mail = MailSide("Postroom", roots, running.port(25), running.port(143), boxes, running.port(993))
        files = FtpSide("Postroom", roots, running.port(21), addresses[0], password)
        yield Subject(mail, mail, files)
