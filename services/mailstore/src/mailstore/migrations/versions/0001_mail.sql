-- The mail store's first schema. Everything carries tenant_id and an immutable account_id, never an address as a key.

-- Octets ------------------------------------------------------------------------------------------------------------

-- Staged octets lie in plain insert-only tables segment_<number>, used in turn: dropping a whole table costs nothing,
-- while dropping a partition would block every insert behind a long reader.
CREATE TABLE segment (
    number integer PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('open', 'sealed')),
    opened_at timestamptz NOT NULL DEFAULT now(),
    sealed_at timestamptz
);
CREATE UNIQUE INDEX segment_one_open ON segment (state) WHERE state = 'open';

CREATE TABLE segment_1 (
    blob_id uuid PRIMARY KEY,
    octets bytea NOT NULL
);
ALTER TABLE segment_1 ALTER COLUMN octets SET STORAGE EXTERNAL;
INSERT INTO segment (number, state) VALUES (1, 'open');

CREATE TABLE pack (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    size bigint NOT NULL,
    blobs integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The only row that moving octets rewrites. `stored_length` octets at `start` of the segment row, the pack or the object.
CREATE TABLE blob (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    digest bytea NOT NULL,
    size bigint NOT NULL,
    codec smallint NOT NULL,            -- 0 as it is, 1 one zstd frame
    segment integer,
    pack_id uuid,
    object_id uuid,                     -- key message/<object_id>
    start bigint NOT NULL DEFAULT 0,
    stored_length bigint NOT NULL,
    CONSTRAINT blob_one_location CHECK (num_nonnulls(segment, pack_id, object_id) = 1)
) WITH (fillfactor = 70);
CREATE INDEX blob_by_segment ON blob (segment, id) WHERE segment IS NOT NULL;
CREATE INDEX blob_by_pack ON blob (pack_id) WHERE pack_id IS NOT NULL;

-- What an expunge may have left without a reference; the janitor looks.
CREATE TABLE blob_candidate (
    blob_id uuid PRIMARY KEY,
    noted_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE upload (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    account_id uuid,                    -- set for APPEND, NULL for accepted mail
    object_id uuid NOT NULL,
    multipart_id text,                  -- NULL for a single PUT
    size_hint bigint NOT NULL,
    completed_size bigint,              -- set once the object is whole
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX upload_expiry ON upload (expires_at);

-- Messages ----------------------------------------------------------------------------------------------------------

-- Immutable: what the scanner found, in the forms that readers ask for.
CREATE TABLE message (
    id uuid PRIMARY KEY,                -- the id of the Accept or of the APPEND
    tenant_id uuid NOT NULL,
    blob_id uuid NOT NULL,
    size bigint NOT NULL,
    scanner_version smallint NOT NULL,
    limited boolean NOT NULL,           -- the scanner's bounds bit
    envelope bytea NOT NULL,
    body bytea NOT NULL,
    body_structure bytea NOT NULL,
    parts bytea NOT NULL,
    header bytea NOT NULL,
    header_complete boolean NOT NULL,
    summary bytea NOT NULL,             -- JSON
    sent_at timestamptz,
    thread_id uuid,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX message_by_blob ON message (blob_id);

-- Filled behind the delivery, for searching.
CREATE TABLE message_text (
    message_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    text text NOT NULL
);

-- Mailboxes ---------------------------------------------------------------------------------------------------------

-- Locked first, in ascending account_id, by every change to an account's mailboxes.
CREATE TABLE account_state (
    account_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    modseq bigint NOT NULL DEFAULT 1,
    last_uid_validity bigint NOT NULL,
    used_octets bigint NOT NULL DEFAULT 0,
    used_messages bigint NOT NULL DEFAULT 0,
    change_floor bigint NOT NULL DEFAULT 1  -- the journal is whole above this MODSEQ
) WITH (fillfactor = 50);

CREATE TABLE mailbox (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    name text NOT NULL,
    special_use smallint NOT NULL DEFAULT 0,
    uid_validity bigint NOT NULL,
    uid_next bigint NOT NULL DEFAULT 1,
    recent_from bigint NOT NULL DEFAULT 1,  -- the first UID that no session has claimed as \Recent
    messages bigint NOT NULL DEFAULT 0,
    unseen bigint NOT NULL DEFAULT 0,
    deleted bigint NOT NULL DEFAULT 0,
    size bigint NOT NULL DEFAULT 0,
    highest_modseq bigint NOT NULL DEFAULT 1,
    deleted_at timestamptz
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX mailbox_name ON mailbox (account_id, name) WHERE deleted_at IS NULL;

-- Narrow, and no index on modseq, so that a flag change is a HOT update.
CREATE TABLE mailbox_message (
    account_id uuid NOT NULL,
    mailbox_id uuid NOT NULL,
    uid bigint NOT NULL,
    message_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    flags smallint NOT NULL,
    keywords bigint NOT NULL DEFAULT 0,
    modseq bigint NOT NULL,
    internal_date timestamptz NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT now(),
    size bigint NOT NULL,               -- with the prefix
    prefix bytea NOT NULL DEFAULT '',   -- Return-Path and Delivered-To of this copy
    PRIMARY KEY (account_id, mailbox_id, uid)
) PARTITION BY HASH (account_id);
DO $$
BEGIN
    FOR remainder IN 0..15 LOOP
        EXECUTE format(
            'CREATE TABLE mailbox_message_%s PARTITION OF mailbox_message '
            'FOR VALUES WITH (MODULUS 16, REMAINDER %s) WITH (fillfactor = 60)', remainder, remainder);
    END LOOP;
END $$;
CREATE INDEX mailbox_message_by_message ON mailbox_message (message_id);

-- Journal, tombstones and source of deltas in one. kind: 1 messages added, 2 flags, 3 expunged,
-- 4 mailbox created, 5 renamed, 6 deleted, 7 subscriptions.
CREATE TABLE change (
    account_id uuid NOT NULL,
    modseq bigint NOT NULL,
    mailbox_id uuid,
    kind smallint NOT NULL,
    uids int8multirange,
    changed_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (changed_at);
CREATE TABLE change_default PARTITION OF change DEFAULT;
CREATE INDEX change_by_account ON change (account_id, modseq);

CREATE TABLE keyword (
    account_id uuid NOT NULL,
    bit smallint NOT NULL CHECK (bit BETWEEN 0 AND 62),
    name text NOT NULL,
    PRIMARY KEY (account_id, bit)
);
CREATE UNIQUE INDEX keyword_name ON keyword (account_id, lower(name));

CREATE TABLE subscription (
    account_id uuid NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (account_id, name)
);

-- The queue ---------------------------------------------------------------------------------------------------------

-- One accepted message; it stays a while after its deliveries, so that the same id is accepted once.
CREATE TABLE accepted (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    blob_id uuid,                       -- NULL: aborted before it came
    reverse_path text NOT NULL DEFAULT '',
    sender_account_id uuid,             -- who submitted it; NULL for mail from outside
    eight_bit boolean NOT NULL DEFAULT false,
    smtp_utf8 boolean NOT NULL DEFAULT false,
    traceparent text NOT NULL DEFAULT '',
    received_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX accepted_by_blob ON accepted (blob_id);

-- One unfinished recipient of one accepted message.
CREATE TABLE delivery (
    id uuid PRIMARY KEY,
    accepted_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    recipient text NOT NULL,
    account_id uuid,                    -- set for local mail
    local_lane smallint,
    domain text,                        -- set for remote mail
    site text,
    priority smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    starts integer NOT NULL DEFAULT 0,  -- claims that began, finished or not: parks poison
    parked boolean NOT NULL DEFAULT false,
    claim_id uuid,
    last_status text NOT NULL DEFAULT '',
    last_diagnostic text NOT NULL DEFAULT '',
    last_host text NOT NULL DEFAULT '',
    CONSTRAINT delivery_local_or_remote CHECK (
        (account_id IS NOT NULL AND local_lane IS NOT NULL AND domain IS NULL AND site IS NULL)
        OR (account_id IS NULL AND local_lane IS NULL AND domain IS NOT NULL AND site IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX delivery_local ON delivery (local_lane, due_at, id) WHERE local_lane IS NOT NULL AND NOT parked;
CREATE INDEX delivery_remote ON delivery (site, tenant_id, priority, due_at, id) WHERE site IS NOT NULL AND NOT parked;
CREATE INDEX delivery_by_accepted ON delivery (accepted_id);
CREATE INDEX delivery_by_claim ON delivery (claim_id) WHERE claim_id IS NOT NULL;

CREATE TABLE delivery_history (
    delivery_id uuid NOT NULL,
    accepted_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    recipient text NOT NULL,
    outcome smallint NOT NULL,          -- 1 delivered, 2 failed, 3 expired, 4 cancelled
    status text NOT NULL,
    diagnostic text NOT NULL,
    remote_host text NOT NULL,
    attempts integer NOT NULL,
    finished_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (finished_at);
CREATE TABLE delivery_history_default PARTITION OF delivery_history DEFAULT;
CREATE INDEX delivery_history_by_accepted ON delivery_history (accepted_id);

-- A lane of local mail is a hash of the account; one worker at a time files from it. `rung` says that a bell came
-- while a worker held it.
CREATE TABLE local_lane (
    number smallint PRIMARY KEY,
    token uuid,
    worker text NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL DEFAULT '-infinity',
    rung boolean NOT NULL DEFAULT false
) WITH (fillfactor = 10);
INSERT INTO local_lane (number) SELECT generate_series(0, 7);

-- A lane of remote mail; the virtual time makes tenants share a site fairly.
CREATE TABLE remote_lane (
    site text NOT NULL,
    tenant_id uuid NOT NULL,
    priority smallint NOT NULL,
    virtual_time double precision NOT NULL DEFAULT 0,
    PRIMARY KEY (site, tenant_id, priority)
) WITH (fillfactor = 50);

CREATE TABLE site (
    name text PRIMARY KEY,
    max_claims integer NOT NULL DEFAULT 4,
    back_off_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE domain_site (
    domain text PRIMARY KEY,
    site text NOT NULL,
    reported_at timestamptz NOT NULL DEFAULT now()
);

-- A lease over some deliveries of one site, and a fence: without the live token no report is believed.
CREATE TABLE claim (
    id uuid PRIMARY KEY,
    token uuid NOT NULL,
    worker text NOT NULL,
    site text NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX claim_by_site ON claim (site);

-- A DSN that is owed to a sender of ours; its id becomes the DSN's queue id.
CREATE TABLE bounce (
    id uuid PRIMARY KEY,
    accepted_id uuid NOT NULL,
    tenant_id uuid NOT NULL,
    recipients jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
