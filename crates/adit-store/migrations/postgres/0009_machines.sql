-- What machines show: keys that are rotated, certificates, enrolments for many.

CREATE TABLE certificates (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    serial TEXT NOT NULL,
    fingerprint BYTEA NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    name TEXT NOT NULL,
    machine_id UUID,
    principal_id UUID,
    capabilities TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued_by TEXT NOT NULL,
    issuer TEXT NOT NULL,
    -- Its first use ends the other certificates of its machine.
    retires BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX certificates_by_age ON certificates (tenant_id, created_at, id);
CREATE INDEX certificates_named ON certificates (tenant_id, name, created_at, id);
CREATE INDEX certificates_of_machine ON certificates (tenant_id, machine_id, created_at, id);
CREATE INDEX certificates_of_principal ON certificates (tenant_id, principal_id);
CREATE INDEX certificates_revoked ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;

-- The first use of a new key ends the ones before it.
ALTER TABLE machine_keys ADD COLUMN used_at BIGINT;
UPDATE machine_keys SET used_at = created_at;
CREATE INDEX machine_keys_revoked ON machine_keys (revoked_at) WHERE revoked_at IS NOT NULL;

ALTER TABLE enrolment_tokens ADD COLUMN uses BIGINT NOT NULL DEFAULT 1;
ALTER TABLE enrolment_tokens ADD COLUMN used BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enrolment_tokens ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
ALTER TABLE enrolment_tokens ADD COLUMN replaces BOOLEAN NOT NULL DEFAULT FALSE;
-- For an identity without a link key: the name of its certificate, and what it carries.
ALTER TABLE enrolment_tokens ADD COLUMN name TEXT;
ALTER TABLE enrolment_tokens ADD COLUMN capabilities TEXT NOT NULL DEFAULT '';
UPDATE enrolment_tokens SET used = 1 WHERE used_at IS NOT NULL;
CREATE INDEX enrolment_tokens_listed ON enrolment_tokens (tenant_id, created_at, id) WHERE deleted_at IS NULL;

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE certificates FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON certificates USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
