-- Support codes as tickets: one code, one machine, one consent. Nobody used the table of step 5.

DROP TABLE support_codes;
CREATE TABLE support_codes (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_by BLOB NOT NULL,
    access TEXT NOT NULL,
    length_ms INTEGER NOT NULL,
    client TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    used_from TEXT,
    machine_id BLOB,
    consented_at INTEGER,
    ends_at INTEGER,
    ended_at INTEGER,
    end_code TEXT,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX support_codes_by_age ON support_codes (tenant_id, created_at, id);
CREATE INDEX support_codes_maker ON support_codes (tenant_id, created_by, created_at, id);
CREATE INDEX support_codes_machine ON support_codes (tenant_id, machine_id);
CREATE INDEX support_codes_unended ON support_codes (used_at) WHERE ended_at IS NULL AND used_at IS NOT NULL;

-- Whose support a machine is here for, and what its person agreed to.
ALTER TABLE machines ADD COLUMN support_for BLOB CHECK (length(support_for) = 16);
ALTER TABLE machines ADD COLUMN consent TEXT;
ALTER TABLE machines ADD COLUMN consent_until INTEGER;
