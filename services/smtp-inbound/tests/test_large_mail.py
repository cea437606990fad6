"""Mail that is too large to be staged goes through the object store, to its last octet."""

import asyncio
import hashlib

import pytest

from postroom_contracts.ids import parse_queue_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_testing.core import running_core
from postroom_testing.smtp_client import SmtpClient
from postroom_testing.smtp_house import running_smtp

ANN, OUTSIDER = "ann@postroom.test", "someone@example.org"
LINE = b"0123456789" * 7 + b"\r\n"
_PLACE = """
SELECT b.object_id, b.digest, b.size FROM mailstore.blob AS b
JOIN mailstore.accepted AS a ON a.blob_id = b.id WHERE a.id = $1
"""


@pytest.mark.parametrize("lines", [3_641, 4_000, 160_000], ids=["just over", "one PUT", "several parts"])
async def test_large_mail_is_kept_whole_and_filed(
    core_database: PostgresAddress, object_store: S3Address, lines: int
) -> None:
    octets = b"Subject: large\r\n\r\n" + LINE * lines
    async with (
        running_core(core_database, object_store) as core,
        running_smtp(core, message_octets=20_000_000) as smtp,
        SmtpClient.connected(smtp.port) as client,
    ):
        reply = await client.mail(OUTSIDER, ANN, octets=octets)
        assert reply.startswith("250 2.0.0 Queued as ")
        queue_id = parse_queue_id(reply.rpartition(" ")[2])
        assert await core.wait_inbox(ANN, 1) == [queue_id]
        (place,) = await core.fetch(_PLACE, queue_id)
    kept = await asyncio.to_thread(read_object, object_store, f"message/{place['object_id']}")
    assert kept.startswith(b"Received: ")
    assert kept.endswith(b"\r\n" + octets)
    assert (len(kept), hashlib.sha256(kept).digest()) == (place["size"], place["digest"])


def read_object(store: S3Address, key: str) -> bytes:
    """An object of the mail store's bucket."""
    response = store.client().get_object("postroom-mail", key)
    try:
        return response.read()
    finally:
        response.close()
        response.release_conn()
