-- Machines, how they come in, and who may do what on them.

CREATE TABLE machines (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    hostname TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    version TEXT NOT NULL,
    cores BIGINT NOT NULL,
    memory_bytes BIGINT NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}',
    link_key BYTEA NOT NULL CHECK (length(link_key) = 32),
    instance UUID,
    created_at BIGINT NOT NULL,
    last_seen_at BIGINT,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE INDEX machines_by_age ON machines (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX machines_label ON machines (tenant_id, label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX machines_link_key ON machines (link_key) WHERE deleted_at IS NULL;

CREATE TABLE machine_keys (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    machine_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX machine_keys_of ON machine_keys (tenant_id, machine_id);

CREATE TABLE enrolment_tokens (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    label TEXT,
    created_by UUID,
    machine_id UUID,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX enrolment_tokens_by_age ON enrolment_tokens (tenant_id, created_at);
CREATE INDEX enrolment_tokens_maker ON enrolment_tokens (tenant_id, created_by);
CREATE INDEX enrolment_tokens_machine ON enrolment_tokens (tenant_id, machine_id);

CREATE TABLE grants (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    role TEXT NOT NULL,
    all_machines BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX grants_of ON grants (tenant_id, principal_id) WHERE deleted_at IS NULL;
CREATE INDEX grants_by_age ON grants (tenant_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE grant_machines (
    tenant_id UUID NOT NULL,
    grant_id UUID NOT NULL,
    machine_id UUID NOT NULL,
    PRIMARY KEY (tenant_id, grant_id, machine_id),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX grant_machines_of ON grant_machines (tenant_id, machine_id);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE machines ENABLE ROW LEVEL SECURITY;
ALTER TABLE machines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON machines USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE machine_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE machine_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON machine_keys USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE enrolment_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrolment_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON enrolment_tokens USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE grants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON grants USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE grant_machines ENABLE ROW LEVEL SECURITY;
ALTER TABLE grant_machines FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON grant_machines USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
