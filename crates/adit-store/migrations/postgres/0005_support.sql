-- Support codes and agent releases.

CREATE TABLE support_codes (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_by UUID NOT NULL,
    machine_id UUID,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX support_codes_by_age ON support_codes (tenant_id, created_at, id);
CREATE INDEX support_codes_maker ON support_codes (tenant_id, created_by);
CREATE INDEX support_codes_machine ON support_codes (tenant_id, machine_id);

CREATE TABLE releases (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    signature BYTEA NOT NULL,
    stage BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX releases_version ON releases (tenant_id, version, os, arch) WHERE deleted_at IS NULL;
CREATE INDEX releases_by_age ON releases (tenant_id, created_at, id);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE support_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE support_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON support_codes USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE releases ENABLE ROW LEVEL SECURITY;
ALTER TABLE releases FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON releases USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
