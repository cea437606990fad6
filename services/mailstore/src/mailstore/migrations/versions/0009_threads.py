"""The conversation that a message belongs to (RFC 8474 s5.3 THREADID), known from its row on."""

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
        '^\{"message_id":(?:null|"((?:[^"\\]|\\.)*)"),'
        '"in_reply_to":\[(?:"((?:[^"\\]|\\.)*)"[^]]*)?\],'
        '"references":\[(?:"((?:[^"\\]|\\.)*)")?') AS found) AS t
$$
"""


def upgrade() -> None:
    """Add the function."""
    op.execute(_THREAD_OF)
