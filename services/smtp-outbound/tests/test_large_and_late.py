"""Mail that is too large to be staged, and mail whose time runs out."""

import hashlib

from postroom.mailstore.v1 import content_pb2, delivery_pb2
from postroom.mailstore.v1.delivery_pb2_grpc import DeliveryServiceStub
from postroom_contracts.ids import DEFAULT_TENANT, new_id
from postroom_embedded.postgres import PostgresAddress
from postroom_embedded.seaweedfs import S3Address
from postroom_runtime.budget import ByteBudget
from postroom_runtime.grpc_client import channel
from postroom_runtime.transfer import Transfers
from postroom_testing.core import Core, running_core
from postroom_testing.dns import DnsServer
from postroom_testing.relaying import House
from postroom_testing.smtp_sink import Rule, SmtpSink, Stage


async def test_a_large_message_goes_out_of_the_object_store(
    core_database: PostgresAddress, object_store: S3Address, dns: DnsServer
) -> None:
    octets = b"Subject: large\r\n\r\n" + (b"." + b"x" * 77 + b"\r\n") * 12_000
    async with running_core(core_database, object_store) as core:
        house = House(core, dns)
        content = await upload(core, octets)
        async with SmtpSink() as sink, house.relay(sink.port):
            await house.submit.content(["bob@example.org"], content)
            (message,) = await sink.wait_for(1)
    assert hashlib.sha256(message.octets).digest() == content.digest


async def test_what_cannot_be_delivered_in_time_becomes_a_report_to_the_sender(
    core_database: PostgresAddress, dns: DnsServer
) -> None:
    async with running_core(core_database, retry_seconds=0.3, queue_lifetime_seconds=1.0) as core:
        house = House(core, dns)
        rule = Rule(Stage.RCPT, "451 4.2.1 Later")
        async with SmtpSink([rule]) as sink, house.relay(sink.port):
            (queue_id,) = await house.submit(["bob@example.org"])
            (ending,) = await house.endings(queue_id)
            assert (ending.outcome, ending.diagnostic) == (3, "451 4.2.1 Later")
            assert ending.attempts > 1
            assert len(await house.reports_to_sender()) == 1


async def upload(core: Core, octets: bytes) -> content_pb2.Content:
    """The content of a message that lies in the object store."""
    upload_id = new_id()
    async with channel(core.mailstore, "smtp-inbound") as way, Transfers(ByteBudget(1 << 24)) as transfers:
        request = delivery_pb2.BeginUploadRequest(
            upload_id=upload_id.bytes, tenant_id=DEFAULT_TENANT.bytes, size_hint=len(octets)
        )
        (part,) = (await DeliveryServiceStub(way).BeginUpload(request)).parts
        await transfers.put(part.url, octets)
    return content_pb2.Content(
        digest=hashlib.sha256(octets).digest(),
        size=len(octets),
        upload=content_pb2.UploadedContent(upload_id=upload_id.bytes),
    )
