"""What finds messages: their text with its words, and the keys that SORT and THREAD compare."""

from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"

_STATEMENTS = (
    # `text` is the body, `header` a line for each field, both folded (i;unicode-casemap), `sent_on` the day
    # of the Date field as it is written there. `complete` is false where something was cut.
    """
    ALTER TABLE mailstore.message_text
        ADD COLUMN header text NOT NULL DEFAULT '',
        ADD COLUMN sent_on date,
        ADD COLUMN complete boolean NOT NULL DEFAULT true,
        ADD COLUMN words tsvector,
        ADD FOREIGN KEY (message_id) REFERENCES mailstore.message ON DELETE CASCADE
    """,
    "CREATE INDEX message_text_words ON mailstore.message_text USING gin (words)",
    # Beside `message`, whose rows are wide: a sort reads as many as a mailbox has.
    """
    CREATE TABLE mailstore.message_key (
        message_id uuid PRIMARY KEY REFERENCES mailstore.message ON DELETE CASCADE,
        tenant_id uuid NOT NULL,
        sent_at timestamptz,
        subject text COLLATE "C" NOT NULL,
        is_reply boolean NOT NULL,
        from_mailbox text COLLATE "C" NOT NULL,
        to_mailbox text COLLATE "C" NOT NULL,
        cc_mailbox text COLLATE "C" NOT NULL,
        from_name text COLLATE "C" NOT NULL,
        to_name text COLLATE "C" NOT NULL,
        own_id bigint,
        reference_ids bigint[] NOT NULL
    )
    """,
    # Messages that are still to be read for both.
    """
    CREATE TABLE mailstore.finding_due (
        message_id uuid PRIMARY KEY REFERENCES mailstore.message ON DELETE CASCADE,
        due_at timestamptz NOT NULL DEFAULT now(),
        failures smallint NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX finding_due_by_time ON mailstore.finding_due (due_at)",
    """
    CREATE FUNCTION mailstore.note_finding_due() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO mailstore.finding_due (message_id) SELECT id FROM added ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER message_finding_due AFTER INSERT ON mailstore.message
        REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION mailstore.note_finding_due()
    """,
    "INSERT INTO mailstore.finding_due (message_id) SELECT id FROM mailstore.message ON CONFLICT DO NOTHING",
    # Without the extension substrings are found by reading the texts one after another. Whoever adds it later
    # calls this once more.
    """
    CREATE FUNCTION mailstore.index_texts() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE place text;
    BEGIN
        SELECT n.nspname INTO place FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_trgm';
        IF place IS NULL THEN
            RETURN;
        END IF;
        EXECUTE format('CREATE INDEX IF NOT EXISTS message_text_body ON mailstore.message_text '
                       'USING gin (text %I.gin_trgm_ops)', place);
        EXECUTE format('CREATE INDEX IF NOT EXISTS message_text_header ON mailstore.message_text '
                       'USING gin (header %I.gin_trgm_ops)', place);
    END $$
    """,
    # An owner of the database may add it, an administrator has perhaps done so before.
    """
    DO $$
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA mailstore;
    EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN
        RAISE NOTICE 'pg_trgm may not be made';
    END $$
    """,
    """
    DO $$
    BEGIN
        PERFORM mailstore.index_texts();
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE NOTICE 'pg_trgm may not be used';
    END $$
    """,
)


def upgrade() -> None:
    """Add tables, columns and the trigger that notes what is still to be read."""
    for statement in _STATEMENTS:
        op.execute(statement)
