"""One statement that makes a whole batch of messages durable.

Commits are shared, so the hot path is one round trip: data-modifying CTEs insert the accepted rows, and what
belongs to those that are new. An id that was accepted or aborted before inserts nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

from mailstore.intake.item import Inline, IntakeItem, LocalRecipient, RemoteRecipient
from mailstore.lanes import REMOTE_BELL, local_bell, local_lane
from postroom_contracts.ids import new_id

R = TypeVar("R", LocalRecipient, RemoteRecipient)

CODEC_PLAIN: Final = 0
CODEC_ZSTD: Final = 1

ACCEPT: Final = """
WITH fresh AS (
    INSERT INTO mailstore.accepted (id, tenant_id, blob_id, reverse_path, sender_account_id, eight_bit,
                                    smtp_utf8, traceparent, received_at, expires_at)
    SELECT t.*, t.received_at + make_interval(secs => $28)
    FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::bool[], $7::bool[],
                $8::text[], $9::timestamptz[])
        AS t(id, tenant_id, blob_id, reverse_path, sender_account_id, eight_bit, smtp_utf8, traceparent,
             received_at)
    ON CONFLICT (id) DO NOTHING
    RETURNING id, blob_id, tenant_id
), blobs AS (
    INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, object_id, stored_length)
    SELECT fresh.blob_id, fresh.tenant_id, t.digest, t.size, t.codec,
           CASE WHEN t.object_id IS NULL THEN $27::int END, t.object_id, t.stored_length
    FROM unnest($10::uuid[], $11::bytea[], $12::bigint[], $13::smallint[], $14::uuid[], $15::bigint[])
        AS t(blob_id, digest, size, codec, object_id, stored_length)
    JOIN fresh USING (blob_id)
), staged AS (
    INSERT INTO mailstore.{segment} (blob_id, octets)
    SELECT t.blob_id, t.octets FROM unnest($16::uuid[], $17::bytea[]) AS t(blob_id, octets)
    JOIN fresh USING (blob_id)
), remote AS (
    SELECT t.*, coalesce(domain_site.site, t.domain) AS site
    FROM unnest($18::uuid[], $19::uuid[], $20::text[], $21::text[]) AS t(id, blob_id, recipient, domain)
    LEFT JOIN mailstore.domain_site USING (domain)
), lanes AS (
    INSERT INTO mailstore.remote_lane (site, tenant_id, priority)
    SELECT DISTINCT remote.site, fresh.tenant_id, 0 FROM remote JOIN fresh USING (blob_id)
    ON CONFLICT DO NOTHING
), remote_deliveries AS (
    INSERT INTO mailstore.delivery (id, accepted_id, tenant_id, recipient, domain, site)
    SELECT remote.id, fresh.id, fresh.tenant_id, remote.recipient, remote.domain, remote.site
    FROM remote JOIN fresh USING (blob_id)
), local_deliveries AS (
    INSERT INTO mailstore.delivery (id, accepted_id, tenant_id, recipient, account_id, local_lane)
    SELECT t.id, fresh.id, fresh.tenant_id, t.recipient, t.account_id, t.local_lane
    FROM unnest($22::uuid[], $23::uuid[], $24::text[], $25::uuid[], $26::smallint[])
        AS t(id, blob_id, recipient, account_id, local_lane)
    JOIN fresh USING (blob_id)
)
SELECT id FROM fresh
"""

KNOWN: Final = "SELECT id, blob_id IS NULL AS aborted FROM mailstore.accepted WHERE id = ANY($1::uuid[])"

# The update changes nothing: it waits for an Accept of this id that is about to commit, and sees its row.
ABORT: Final = """
INSERT INTO mailstore.accepted (id, tenant_id, blob_id) VALUES ($1, $2, NULL)
ON CONFLICT (id) DO UPDATE SET id = excluded.id
RETURNING blob_id IS NOT NULL AS accepted
"""


@dataclass(frozen=True, slots=True)
class Staged:
    """An item with the blob it will have; `object_id` and `stored_length` are set for an upload."""

    item: IntakeItem
    blob_id: UUID
    object_id: UUID | None = None

    @property
    def octets(self) -> int:
        """What this item adds to the staging tables, in octets."""
        match self.item.content.source:
            case Inline(zstd):
                return len(zstd)
            case _:
                return 0


def accept_arguments(batch: Sequence[Staged], segment: int, lifetime_seconds: float) -> list[object]:
    """The arguments of ACCEPT for a batch, in order."""
    items = [staged.item for staged in batch]
    inline = [
        (staged, source.zstd) for staged in batch if isinstance(source := staged.item.content.source, Inline)
    ]
    remote = list(_deliveries(batch, RemoteRecipient))
    local = list(_deliveries(batch, LocalRecipient))
    return [
        [item.id for item in items],
        [item.tenant_id for item in items],
        [staged.blob_id for staged in batch],
        [item.reverse_path for item in items],
        [item.sender_account_id for item in items],
        [item.eight_bit for item in items],
        [item.smtp_utf8 for item in items],
        [item.traceparent for item in items],
        [item.received_at for item in items],
        [staged.blob_id for staged in batch],
        [item.content.digest for item in items],
        [item.content.size for item in items],
        [CODEC_PLAIN if staged.object_id else CODEC_ZSTD for staged in batch],
        [staged.object_id for staged in batch],
        [
            item.content.size if staged.object_id else staged.octets
            for staged, item in zip(batch, items, strict=True)
        ],
        [staged.blob_id for staged, _ in inline],
        [zstd for _, zstd in inline],
        [new_id() for _ in remote],
        [blob_id for blob_id, _ in remote],
        [recipient.address for _, recipient in remote],
        [recipient.domain for _, recipient in remote],
        [new_id() for _ in local],
        [blob_id for blob_id, _ in local],
        [recipient.address for _, recipient in local],
        [recipient.account_id for _, recipient in local],
        [local_lane(recipient.account_id) for _, recipient in local],
        segment,
        lifetime_seconds,
    ]


def bells(items: Iterable[IntakeItem]) -> set[str]:
    """The subjects to ring once these items are durable."""
    return {
        local_bell(local_lane(recipient.account_id)) if isinstance(recipient, LocalRecipient) else REMOTE_BELL
        for item in items
        for recipient in item.recipients
    }


def _deliveries(batch: Sequence[Staged], kind: type[R]) -> Iterable[tuple[UUID, R]]:
    for staged in batch:
        for recipient in staged.item.recipients:
            if isinstance(recipient, kind):
                yield staged.blob_id, recipient
