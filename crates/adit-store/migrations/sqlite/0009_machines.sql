-- What machines show: keys that are rotated, certificates, enrolments for many.

CREATE TABLE certificates (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    serial TEXT NOT NULL,
    fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    name TEXT NOT NULL,
    machine_id BLOB,
    principal_id BLOB,
    capabilities TEXT NOT NULL,
    pem TEXT NOT NULL,
    issued_by TEXT NOT NULL,
    issuer TEXT NOT NULL,
    -- Its first use ends the other certificates of its machine.
    retires INTEGER NOT NULL CHECK (retires IN (0, 1)),
    created_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX certificates_by_age ON certificates (tenant_id, created_at, id);
CREATE INDEX certificates_named ON certificates (tenant_id, name, created_at, id);
CREATE INDEX certificates_of_machine ON certificates (tenant_id, machine_id, created_at, id);
CREATE INDEX certificates_of_principal ON certificates (tenant_id, principal_id);
CREATE INDEX certificates_revoked ON certificates (revoked_at) WHERE revoked_at IS NOT NULL;

-- The first use of a new key ends the ones before it.
ALTER TABLE machine_keys ADD COLUMN used_at INTEGER;
UPDATE machine_keys SET used_at = created_at;
CREATE INDEX machine_keys_revoked ON machine_keys (revoked_at) WHERE revoked_at IS NOT NULL;

ALTER TABLE enrolment_tokens ADD COLUMN uses INTEGER NOT NULL DEFAULT 1;
ALTER TABLE enrolment_tokens ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrolment_tokens ADD COLUMN tags TEXT NOT NULL DEFAULT '{}';
ALTER TABLE enrolment_tokens ADD COLUMN replaces INTEGER NOT NULL DEFAULT 0 CHECK (replaces IN (0, 1));
-- For an identity without a link key: the name of its certificate, and what it carries.
ALTER TABLE enrolment_tokens ADD COLUMN name TEXT;
ALTER TABLE enrolment_tokens ADD COLUMN capabilities TEXT NOT NULL DEFAULT '';
UPDATE enrolment_tokens SET used = 1 WHERE used_at IS NOT NULL;
CREATE INDEX enrolment_tokens_listed ON enrolment_tokens (tenant_id, created_at, id) WHERE deleted_at IS NULL;
