-- Support codes as tickets: one code, one machine, one consent. Nobody used the table of step 5.

DROP TABLE support_codes;
CREATE TABLE support_codes (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_by UUID NOT NULL,
    access TEXT NOT NULL,
    length_ms BIGINT NOT NULL,
    client TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    used_from TEXT,
    machine_id UUID,
    consented_at BIGINT,
    ends_at BIGINT,
    ended_at BIGINT,
    end_code TEXT,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX support_codes_by_age ON support_codes (tenant_id, created_at, id);
CREATE INDEX support_codes_maker ON support_codes (tenant_id, created_by, created_at, id);
CREATE INDEX support_codes_machine ON support_codes (tenant_id, machine_id);
CREATE INDEX support_codes_unended ON support_codes (used_at) WHERE ended_at IS NULL AND used_at IS NOT NULL;

-- Whose support a machine is here for, and what its person agreed to.
ALTER TABLE machines ADD COLUMN support_for UUID;
ALTER TABLE machines ADD COLUMN consent TEXT;
ALTER TABLE machines ADD COLUMN consent_until BIGINT;

ALTER TABLE support_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE support_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON support_codes USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
