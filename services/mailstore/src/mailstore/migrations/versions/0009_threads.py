"""What names a message's content and its conversation (RFC 8474 s5 EMAILID and THREADID)."""

from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"

# Messages whose rows older code writes, or wrote, have no thread_id: readers say coalesce(thread_id,
# thread_of(id, summary)). A summary is JSON of ours that begins with message_id, in_reply_to and references;
# it is not read as JSON, since that fails for texts with NUL.
_THREAD_OF = r"""
CREATE FUNCTION mailstore.thread_of(id uuid, summary bytea) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(substr(sha256(convert_to(coalesce(found[3], found[2], found[1], id::text), 'UTF8')), 1, 16),
                  'hex')::uuid
    FROM (SELECT regexp_match(
        convert_from(summary, 'UTF8'),
        '^\{"message_id":(?:"((?:[^"\\]|\\.)*)"|null),'
        '"in_reply_to":\[(?:"((?:[^"\\]|\\.)*)"(?:,"(?:[^"\\]|\\.)*")*)?\],'
        '"references":\[(?:"((?:[^"\\]|\\.)*)")?') AS found) AS t
$$
"""

# Copies of one message may differ in their prefix, so that is part of the name.
_EMAIL_OF = """
CREATE FUNCTION mailstore.email_of(message_id uuid, prefix bytea) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT encode(substr(sha256(uuid_send(message_id) || prefix), 1, 16), 'hex')::uuid
$$
"""

# The same as before, with the conversation.
_INSERT_MESSAGES = """
CREATE OR REPLACE FUNCTION mailstore.insert_messages(
    wanted uuid[], ids uuid[], tenant_ids uuid[], blob_ids uuid[], sizes bigint[],
    scanner_versions smallint[], limited boolean[], envelopes bytea[], bodies bytea[],
    body_structures bytea[], parts bytea[], headers bytea[], headers_complete boolean[], summaries bytea[],
    sent_at timestamptz[]
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO mailstore.message (
        id, tenant_id, blob_id, size, scanner_version, limited, envelope, body, body_structure, parts, header,
        header_complete, summary, sent_at, thread_id)
    SELECT t.*, mailstore.thread_of(t.id, t.summary)
    FROM unnest(ids, tenant_ids, blob_ids, sizes, scanner_versions, insert_messages.limited,
                envelopes, bodies, body_structures, insert_messages.parts, headers,
                headers_complete, summaries, insert_messages.sent_at)
        AS t(id, tenant_id, blob_id, size, scanner_version, limited, envelope, body, body_structure, parts,
             header, header_complete, summary, sent_at)
    WHERE t.id = ANY(wanted) ORDER BY t.id
    ON CONFLICT (id) DO NOTHING;
END $$
"""


def upgrade() -> None:
    """Add the functions, and fill `thread_id` from now on."""
    for statement in (_THREAD_OF, _EMAIL_OF, _INSERT_MESSAGES):
        op.execute(statement)
