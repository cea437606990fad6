-- The file store's first schema. Octets lie in the object store under file/<object_id>, written once and never changed.

-- One for each account. Whoever changes anything in a tree locks its row first: so two moves cannot make a cycle, an
-- emptied directory stays empty until it is gone, and the counters are right.
CREATE TABLE tree (
    account_id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    root_id uuid NOT NULL,
    nodes bigint NOT NULL DEFAULT 0,        -- without the root
    octets bigint NOT NULL DEFAULT 0,       -- of all files
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE node (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    parent_id uuid REFERENCES node (id),    -- NULL for the root
    name text COLLATE "C" NOT NULL,         -- empty for the root
    directory boolean NOT NULL,
    size bigint NOT NULL DEFAULT 0 CHECK (size >= 0),
    digest bytea,                           -- SHA-256; NULL where nobody saw all octets
    object_id uuid,                         -- NULL for a directory and for no octets
    version uuid NOT NULL,                  -- changes with the content: the id of the upload
    modified_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT node_name_is_unique UNIQUE (parent_id, name),
    CONSTRAINT node_octets CHECK (CASE WHEN directory THEN object_id IS NULL AND size = 0
                                       ELSE (object_id IS NULL) = (size = 0) END)
) WITH (fillfactor = 90);
CREATE INDEX node_directories ON node (parent_id) WHERE directory;

-- The intent is there before the first octet, so that what is never finished can be swept. A row outlives its end for a
-- while: asking again answers the same, and what was aborted stays so.
CREATE TABLE upload (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL,
    account_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('open', 'published', 'aborted')),
    parent_id uuid,                         -- NULL when it was aborted before it was begun
    name text,
    object_id uuid NOT NULL,
    multipart_id text,                      -- NULL until parts are wanted
    size_hint bigint NOT NULL DEFAULT 0,
    -- APPE and REST: what is kept of which version; publishing needs that version to be there still.
    bound boolean NOT NULL DEFAULT false,
    base_version uuid,
    base_object_id uuid,
    kept bigint NOT NULL DEFAULT 0,
    copied_parts jsonb NOT NULL DEFAULT '[]',   -- [number, etag] of what was copied inside the store
    -- The answer to publishing.
    node_id uuid,
    size bigint,
    digest bytea,
    published_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX upload_expiry ON upload (expires_at);
CREATE INDEX upload_open ON upload (account_id) WHERE state = 'open';

-- Objects that no node has any more, and multipart uploads that were given up. Deleted once no URL to them is good.
CREATE TABLE garbage (
    object_id uuid PRIMARY KEY,
    multipart_id text,
    due_at timestamptz NOT NULL
);
CREATE INDEX garbage_due ON garbage (due_at);
