"""APPEND in one round trip: the whole of it but the staged octets, as far as nothing unusual happens."""

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"

# Plans are kept for as long as a session lives; see 0004.
_PLANS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off"

# Whatever it does not do ends in MS003 and changes nothing; the caller then goes the longer way, which finds
# out why: an account without its state, a mailbox that is gone or has another name, a keyword that is new,
# more than the quota allows, a message that is there already. The row of a message stays for as long as the
# message is in a mailbox or can be restored, so its absence says that nobody has placed it. The account's row
# is locked first, so that MODSEQs and UIDs ascend in the order of commits.
_APPEND_MESSAGE = f"""
CREATE FUNCTION mailstore.append_message(
    owner_id uuid, owner_tenant uuid, most_octets bigint, most_messages bigint,
    target uuid, target_name text, message uuid, message_flags smallint, keyword_names text[],
    received timestamptz,
    new_blob uuid, digest bytea, codec smallint, segment integer, object_id uuid, stored_length bigint,
    size bigint, scanner_version smallint, limited boolean, envelope bytea, body bytea, body_structure bytea,
    parts bytea, header bytea, header_complete boolean, summary bytea, sent_at timestamptz,
    OUT uid_validity bigint, OUT uid bigint, OUT modseq bigint
) LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
DECLARE
    octets bigint := append_message.size;
    used record;
    word bigint := 0;
    known integer;
BEGIN
    UPDATE mailstore.account_state AS s
    SET modseq = s.modseq + 1, used_octets = s.used_octets + octets, used_messages = s.used_messages + 1
    WHERE s.account_id = owner_id RETURNING s.modseq, s.used_octets, s.used_messages INTO used;
    IF NOT FOUND OR used.used_octets > most_octets OR used.used_messages > most_messages THEN
        RAISE EXCEPTION USING ERRCODE = 'MS003', MESSAGE = 'no state yet, or over quota';
    END IF;
    append_message.modseq := used.modseq;

    IF cardinality(keyword_names) > 0 THEN
        SELECT bit_or(1::bigint << k.bit), count(*) INTO word, known FROM mailstore.keyword AS k
        WHERE k.account_id = owner_id AND lower(k.name) = ANY(keyword_names);
        IF known < cardinality(keyword_names) THEN
            RAISE EXCEPTION USING ERRCODE = 'MS003', MESSAGE = 'a new keyword';
        END IF;
    END IF;

    UPDATE mailstore.mailbox AS m
    SET uid_next = m.uid_next + 1, messages = m.messages + 1, size = m.size + octets,
        unseen = m.unseen + CASE WHEN message_flags & 1 = 0 THEN 1 ELSE 0 END,
        deleted = m.deleted + CASE WHEN message_flags & 8 <> 0 THEN 1 ELSE 0 END, highest_modseq = used.modseq
    WHERE m.id = target AND m.account_id = owner_id AND m.deleted_at IS NULL
        AND (target_name = '' OR m.name = target_name)
    RETURNING m.uid_validity, m.uid_next - 1 INTO append_message.uid_validity, append_message.uid;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MS003', MESSAGE = 'no such mailbox';
    END IF;

    INSERT INTO mailstore.message (
        id, tenant_id, blob_id, size, scanner_version, limited, envelope, body, body_structure, parts, header,
        header_complete, summary, sent_at, thread_id)
    VALUES (
        message, owner_tenant, new_blob, octets, append_message.scanner_version, append_message.limited,
        append_message.envelope, append_message.body, append_message.body_structure, append_message.parts,
        append_message.header, append_message.header_complete, append_message.summary,
        append_message.sent_at, mailstore.thread_of(message, append_message.summary))
    ON CONFLICT (id) DO NOTHING;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'MS003', MESSAGE = 'a message of that id';
    END IF;

    INSERT INTO mailstore.blob (id, tenant_id, digest, size, codec, segment, object_id, stored_length)
    VALUES (new_blob, owner_tenant, append_message.digest, octets, append_message.codec,
            append_message.segment, append_message.object_id, append_message.stored_length);
    INSERT INTO mailstore.mailbox_message (
        account_id, mailbox_id, uid, message_id, tenant_id, flags, keywords, modseq, internal_date, size)
    VALUES (owner_id, target, append_message.uid, message, owner_tenant, message_flags, word, used.modseq,
            received, octets);
    INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
    VALUES (owner_id, used.modseq, target, 1,
            int8multirange(int8range(append_message.uid, append_message.uid + 1)));
END $$
"""


def upgrade() -> None:
    """Add the function."""
    op.execute(_APPEND_MESSAGE)
