"""Functions of local delivery: a cycle of a lane is few round trips. `docs/decisions/0008` says why.

Each statement of a VOLATILE function has a snapshot of its own, so what it reads is as fresh as in a
transaction of single statements. Code of an older release may call them: never change a signature or the
meaning of an answer, add another name.
"""

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"

# Plans are kept for as long as a session lives, and the first ones are made over small tables: they must not
# scan, nor go through a whole index for its order. So rows are named by their keys beside a join, or looked
# up one by one in a LATERAL. Without generic plans, arrays of one element would be planned anew at each call.
_PLANS = "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_mergejoin = off"

_LOCK_ACCOUNTS = f"""
CREATE FUNCTION mailstore.lock_accounts(ids uuid[]) RETURNS TABLE (account_id uuid, modseq bigint)
LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH locked AS MATERIALIZED (
        SELECT s.account_id FROM (SELECT DISTINCT unnest(ids) AS id ORDER BY 1) AS t
        CROSS JOIN LATERAL (
            SELECT s.account_id FROM mailstore.account_state AS s WHERE s.account_id = t.id FOR UPDATE
        ) AS s
    )
    UPDATE mailstore.account_state AS s SET modseq = s.modseq + 1
    WHERE s.account_id = ANY(ARRAY(SELECT locked.account_id FROM locked))
    RETURNING s.account_id, s.modseq;
END $$
"""

# `wanted`: of the given messages only these. In ascending order, so that two lanes that file the same
# messages do not wait for each other in a circle.
_INSERT_MESSAGES = f"""
CREATE FUNCTION mailstore.insert_messages(
    wanted uuid[], ids uuid[], tenant_ids uuid[], blob_ids uuid[], sizes bigint[],
    scanner_versions smallint[], limited boolean[], envelopes bytea[], bodies bytea[],
    body_structures bytea[], parts bytea[], headers bytea[], headers_complete boolean[], summaries bytea[],
    sent_at timestamptz[]
) RETURNS void LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO mailstore.message (
        id, tenant_id, blob_id, size, scanner_version, limited, envelope, body, body_structure, parts, header,
        header_complete, summary, sent_at)
    SELECT t.* FROM unnest(ids, tenant_ids, blob_ids, sizes, scanner_versions, insert_messages.limited,
                           envelopes, bodies, body_structures, insert_messages.parts, headers,
                           headers_complete, summaries, insert_messages.sent_at) AS t(id)
    WHERE t.id = ANY(wanted) ORDER BY t.id
    ON CONFLICT (id) DO NOTHING;
END $$
"""

# Rows, journal and counters in one statement; none of its parts reads what another one writes. A mailbox that
# is not there gives no UID, which the row refuses.
_PLACE = f"""
CREATE FUNCTION mailstore.place(
    account_ids uuid[], mailbox_ids uuid[], message_ids uuid[], tenant_ids uuid[], flags smallint[],
    keywords bigint[], modseqs bigint[], internal_dates timestamptz[], sizes bigint[], prefixes bytea[]
) RETURNS TABLE (uid_validity bigint, uid bigint) LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT t.*, row_number() OVER (PARTITION BY t.mailbox_id ORDER BY t.nth) - 1 AS above
        FROM unnest(account_ids, mailbox_ids, message_ids, tenant_ids, place.flags, place.keywords, modseqs,
                    internal_dates, sizes, prefixes) WITH ORDINALITY
            AS t(account_id, mailbox_id, message_id, tenant_id, flags, keywords, modseq, internal_date, size,
                 prefix, nth)
    ), allotted AS (
        UPDATE mailstore.mailbox AS m
        SET uid_next = m.uid_next + t.messages, messages = m.messages + t.messages,
            unseen = m.unseen + t.unseen, deleted = m.deleted + t.deleted, size = m.size + t.size,
            highest_modseq = t.modseq
        FROM (SELECT mailbox_id, count(*) AS messages, count(*) FILTER (WHERE flags & 1 = 0) AS unseen,
                     count(*) FILTER (WHERE flags & 8 <> 0) AS deleted, sum(size)::bigint AS size,
                     max(modseq) AS modseq
              FROM given GROUP BY mailbox_id) AS t
        WHERE m.id = t.mailbox_id AND m.id = ANY(mailbox_ids)
        RETURNING m.id, m.account_id, m.uid_next - t.messages AS first, m.uid_validity, t.messages, t.size,
                  t.modseq
    ), placed AS (
        INSERT INTO mailstore.mailbox_message (
            account_id, mailbox_id, uid, message_id, tenant_id, flags, keywords, modseq, internal_date, size,
            prefix)
        SELECT g.account_id, g.mailbox_id, a.first + g.above, g.message_id, g.tenant_id, g.flags, g.keywords,
               g.modseq, g.internal_date, g.size, g.prefix
        FROM given AS g LEFT JOIN allotted AS a ON a.id = g.mailbox_id
    ), journal AS (
        INSERT INTO mailstore.change (account_id, modseq, mailbox_id, kind, uids)
        SELECT a.account_id, a.modseq, a.id, 1, int8multirange(int8range(a.first, a.first + a.messages))
        FROM allotted AS a
    ), used AS (
        UPDATE mailstore.account_state AS s
        SET used_octets = s.used_octets + t.octets, used_messages = s.used_messages + t.messages
        FROM (SELECT account_id, sum(size)::bigint AS octets, sum(messages)::bigint AS messages
              FROM allotted GROUP BY account_id) AS t
        WHERE s.account_id = t.account_id AND s.account_id = ANY(account_ids)
    )
    SELECT a.uid_validity, a.first + g.above FROM given AS g JOIN allotted AS a ON a.id = g.mailbox_id
    ORDER BY g.nth;
END $$
"""

# What is due is looked for after the lane's row is locked: whatever the holder before us filed is gone, and
# whoever rings from now on waits and finds the lane taken. A lane with nothing due is left free. Nobody waits
# for the disk: a lease that a crash of Postgres takes back is a lost lane, and what a ring that it takes back
# was for is found by the timer.
_TAKE_LANE = f"""
CREATE FUNCTION mailstore.take_lane(
    lane smallint, lease_token uuid, lease_worker text, lease_seconds double precision, most integer
) RETURNS TABLE (
    abandoned boolean, id uuid, accepted_id uuid, tenant_id uuid, account_id uuid, recipient text,
    attempts integer, starts integer, reverse_path text, received_at timestamptz, traceparent text,
    blob_id uuid, size bigint, codec smallint, segment integer, pack_id uuid, object_id uuid, start bigint,
    stored_length bigint
) LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
DECLARE
    before record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT l.token, l.rung, l.token = lease_token AS ours,
           l.token IS NULL OR l.token = lease_token OR l.expires_at < now() AS free
    INTO before FROM mailstore.local_lane AS l WHERE l.number = lane FOR UPDATE;
    IF NOT before.free THEN
        IF NOT before.rung THEN
            UPDATE mailstore.local_lane SET rung = true WHERE number = lane;
        END IF;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT NOT coalesce(before.ours, true), d.id, d.accepted_id, d.tenant_id, d.account_id, d.recipient,
           d.attempts, d.starts, a.reverse_path, a.received_at, a.traceparent, b.id, b.size, b.codec,
           b.segment, b.pack_id, b.object_id, b.start, b.stored_length
    FROM (
        SELECT * FROM mailstore.delivery AS d
        WHERE d.local_lane = lane AND NOT d.parked AND d.due_at <= now()
        ORDER BY d.due_at, d.id LIMIT most
    ) AS d
    CROSS JOIN LATERAL (SELECT * FROM mailstore.accepted AS a WHERE a.id = d.accepted_id OFFSET 0) AS a
    CROSS JOIN LATERAL (SELECT * FROM mailstore.blob AS b WHERE b.id = a.blob_id OFFSET 0) AS b
    ORDER BY d.due_at, d.id;
    IF FOUND THEN
        UPDATE mailstore.local_lane
        SET token = lease_token, worker = lease_worker, rung = false,
            expires_at = now() + make_interval(secs => lease_seconds)
        WHERE number = lane;
    ELSIF before.token IS NOT NULL THEN
        UPDATE mailstore.local_lane SET token = NULL, rung = false WHERE number = lane;
    END IF;
END $$
"""

# The lane's row first: for the rest of the transaction nobody takes the lane or rings it. INBOX is looked up
# after the account is locked. What nobody had ended before, by a cancel for instance, is filed.
_FILE_DELIVERIES = f"""
CREATE FUNCTION mailstore.file_deliveries(
    lane smallint, lease_token uuid, give_back boolean, account_ids uuid[], delivery_ids uuid[],
    internal_dates timestamptz[], delivery_sizes bigint[], prefixes bytea[],
    ids uuid[], tenant_ids uuid[], blob_ids uuid[], sizes bigint[], scanner_versions smallint[],
    limited boolean[], envelopes bytea[], bodies bytea[], body_structures bytea[], parts bytea[],
    headers bytea[], headers_complete boolean[], summaries bytea[], sent_at timestamptz[],
    OUT given_back boolean, OUT filed uuid[], OUT accounts uuid[], OUT modseqs bigint[]
) LANGUAGE plpgsql {_PLANS} AS $$
#variable_conflict use_column
DECLARE
    live record;
BEGIN
    IF give_back THEN
        UPDATE mailstore.local_lane AS l SET token = CASE WHEN l.rung THEN l.token END
        WHERE l.number = lane AND l.token = lease_token AND l.expires_at > now()
        RETURNING l.token IS NULL INTO given_back;
    ELSE
        SELECT false INTO given_back FROM mailstore.local_lane AS l
        WHERE l.number = lane AND l.token = lease_token AND l.expires_at > now() FOR UPDATE;
    END IF;
    IF given_back IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'MS001', MESSAGE = 'the lane is not held with this token';
    END IF;

    SELECT array_agg(l.account_id), array_agg(l.modseq) INTO accounts, modseqs
    FROM mailstore.lock_accounts(account_ids) AS l;
    IF accounts IS NULL OR cardinality(accounts) < cardinality(account_ids) THEN
        RAISE EXCEPTION USING ERRCODE = 'MS002', MESSAGE = 'an account has no state yet';
    END IF;

    WITH ended AS (
        DELETE FROM mailstore.delivery AS d WHERE d.id = ANY(delivery_ids)
        RETURNING d.id, d.accepted_id, d.tenant_id, d.account_id, d.recipient, d.attempts
    ), history AS (
        INSERT INTO mailstore.delivery_history (
            delivery_id, accepted_id, tenant_id, recipient, outcome, status, diagnostic, remote_host,
            attempts)
        SELECT e.id, e.accepted_id, e.tenant_id, e.recipient, 1, '2.1.5', '', '', e.attempts + 1
        FROM ended AS e
    )
    SELECT array_agg(e.id ORDER BY t.nth) AS ids, array_agg(e.account_id ORDER BY t.nth) AS account_ids,
           array_agg((SELECT m.id FROM mailstore.mailbox AS m
                      WHERE m.account_id = e.account_id AND m.name = 'INBOX' AND m.deleted_at IS NULL)
                     ORDER BY t.nth) AS mailbox_ids,
           array_agg(e.accepted_id ORDER BY t.nth) AS message_ids,
           array_agg(e.tenant_id ORDER BY t.nth) AS tenant_ids, array_agg(0::smallint) AS flags,
           array_agg(0::bigint) AS keywords, array_agg(s.modseq ORDER BY t.nth) AS modseqs,
           array_agg(t.internal_date ORDER BY t.nth) AS internal_dates,
           array_agg(t.size ORDER BY t.nth) AS sizes, array_agg(t.prefix ORDER BY t.nth) AS prefixes
    INTO live
    FROM ended AS e
    JOIN unnest(delivery_ids, internal_dates, delivery_sizes, prefixes) WITH ORDINALITY
        AS t(id, internal_date, size, prefix, nth) ON t.id = e.id
    JOIN unnest(accounts, file_deliveries.modseqs) AS s(account_id, modseq) ON s.account_id = e.account_id;

    filed := coalesce(live.ids, '{{}}');
    IF live.ids IS NOT NULL THEN
        PERFORM mailstore.insert_messages(
            live.message_ids, ids, tenant_ids, blob_ids, sizes, scanner_versions, limited, envelopes, bodies,
            body_structures, parts, headers, headers_complete, summaries, sent_at);
        PERFORM mailstore.place(
            live.account_ids, live.mailbox_ids, live.message_ids, live.tenant_ids, live.flags, live.keywords,
            live.modseqs, live.internal_dates, live.sizes, live.prefixes);
    END IF;
END $$
"""


def upgrade() -> None:
    """Add the functions."""
    for statement in (_LOCK_ACCOUNTS, _INSERT_MESSAGES, _PLACE, _TAKE_LANE, _FILE_DELIVERIES):
        op.execute(statement)
