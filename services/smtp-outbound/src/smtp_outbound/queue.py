"""The mail store's queue as a relay sees it, over gRPC."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

import zstandard

from postroom.mailstore.v1 import queue_pb2, queue_pb2_grpc
from postroom_contracts.errors import UnavailableError
from postroom_runtime.transfer import Transfers


@dataclass(frozen=True, slots=True)
class ClaimTerms:
    """How this relay claims: its name, deliveries of one claim, seconds of a lease."""

    worker: str
    deliveries: int
    lease_seconds: float


class Queue:
    """Claims and reports. Everything raises PostroomErrors."""

    def __init__(
        self, stub: queue_pb2_grpc.QueueServiceStub, transfers: Transfers, terms: ClaimTerms
    ) -> None:
        self._stub, self._transfers, self.terms = stub, transfers, terms

    async def claim(self, site: str, except_sites: Collection[str]) -> queue_pb2.ClaimResponse:
        """Work of a site, or of any but some."""
        return await self._stub.Claim(
            queue_pb2.ClaimRequest(
                worker=self.terms.worker,
                site=site,
                max_messages=self.terms.deliveries,
                lease_seconds=self.terms.lease_seconds,
                except_sites=except_sites,
            )
        )

    async def extend(self, claim: queue_pb2.ClaimResponse) -> None:
        """Prolong a claim by a whole lease. Raises ClaimLostError."""
        await self._stub.Extend(
            queue_pb2.ExtendRequest(
                claim_id=claim.claim_id, token=claim.token, lease_seconds=self.terms.lease_seconds
            )
        )

    async def report(
        self, claim: queue_pb2.ClaimResponse, reports: Sequence[queue_pb2.DeliveryReport]
    ) -> bool:
        """Tell how deliveries ended; whether the claim is live."""
        request = queue_pb2.ReportRequest(claim_id=claim.claim_id, token=claim.token, reports=reports)
        return (await self._stub.Report(request)).live

    async def release(self, claim: queue_pb2.ClaimResponse) -> None:
        """Give back what is left."""
        await self._stub.Release(queue_pb2.ReleaseRequest(claim_id=claim.claim_id, token=claim.token))

    async def report_site(self, domain: str, site: str) -> None:
        """Tell where a domain's mail goes."""
        await self._stub.ReportSite(queue_pb2.ReportSiteRequest(domain=domain, site=site))

    async def content(
        self, claim: queue_pb2.ClaimResponse, message: queue_pb2.QueuedMessage
    ) -> AsyncIterator[bytes]:
        """The octets of a message, in pieces. Raises ClaimLostError, UnavailableError."""
        if message.zstd:
            try:
                yield zstandard.ZstdDecompressor().decompress(message.zstd, max_output_size=message.size)
            except zstandard.ZstdError as error:
                raise UnavailableError("a broken frame") from error
            return
        request = queue_pb2.ReadContentRequest(
            claim_id=claim.claim_id, token=claim.token, message_id=message.id
        )
        async for response in self._stub.ReadContent(request):
            match response.chunk.WhichOneof("chunk"):
                case "octets":
                    yield response.chunk.octets
                case "url":
                    place = response.chunk.url
                    async for octets in self._transfers.get_range(place.url, place.offset, place.length):
                        yield octets
                case _:  # the last chunk may hold nothing
                    pass
