"""Reading the messages of due deliveries: what cannot be read holds up nobody but itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import zstandard

from mailstore.blobs.reader import Blob, BlobReader
from mailstore.local_delivery.lease import DueDelivery
from mailstore.scanning import MessageFacts, message_facts
from postroom_contracts.errors import MessageNotFoundError, UnavailableError


@dataclass(frozen=True, slots=True)
class Reading:
    """Deliveries whose messages were read, with facts by accepted id; and the others, with the reason."""

    deliveries: list[DueDelivery] = field(default_factory=list[DueDelivery])
    facts: dict[UUID, MessageFacts] = field(default_factory=dict[UUID, MessageFacts])
    unread: list[tuple[DueDelivery, Exception]] = field(default_factory=list[tuple[DueDelivery, Exception]])


async def read_messages(reader: BlobReader, batch: Sequence[DueDelivery]) -> Reading:
    """Read and scan. Raises UnavailableError when the database is away, not when the object store is."""
    octets, errors = await _load(reader, {delivery.blob.id: delivery.blob for delivery in batch})
    reading = Reading()
    for delivery in batch:
        if (error := errors.get(delivery.blob.id)) is not None:
            reading.unread.append((delivery, error))
            continue
        if delivery.accepted_id not in reading.facts:
            try:
                reading.facts[delivery.accepted_id] = await message_facts(octets[delivery.blob.id])
            except Exception as failure:  # noqa: BLE001  # a scan that fails is one message's
                errors[delivery.blob.id] = failure
                reading.unread.append((delivery, failure))
                continue
        reading.deliveries.append(delivery)
    return reading


async def _load(
    reader: BlobReader, located: Mapping[UUID, Blob]
) -> tuple[dict[UUID, bytes], dict[UUID, Exception]]:
    """The octets of what can be read, and why the rest cannot."""
    staged = {blob_id for blob_id, blob in located.items() if blob.segment is not None}
    errors: dict[UUID, Exception] = {}
    octets: dict[UUID, bytes] = {}
    stored = list(located.keys() - staged)
    try:
        octets |= await reader.load(list(staged), {blob_id: located[blob_id] for blob_id in staged})
    except (zstandard.ZstdError, MessageNotFoundError):
        stored += staged  # one of them is broken or lost: one by one
    away: Exception | None = None
    for blob_id in stored:
        try:
            if away is not None:
                raise away
            octets |= await reader.load([blob_id])
        except UnavailableError as error:
            if blob_id in staged:
                raise
            errors[blob_id] = away = error
        except (zstandard.ZstdError, MessageNotFoundError) as error:
            errors[blob_id] = error
    return octets, errors
