-- Machines, how they come in, and who may do what on them.

CREATE TABLE machines (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    label TEXT NOT NULL,
    hostname TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    version TEXT NOT NULL,
    cores INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    tags TEXT NOT NULL DEFAULT '{}',
    link_key BLOB NOT NULL CHECK (length(link_key) = 32),
    instance BLOB CHECK (length(instance) = 16),
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX machines_by_age ON machines (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX machines_label ON machines (tenant_id, label) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX machines_link_key ON machines (link_key) WHERE deleted_at IS NULL;

CREATE TABLE machine_keys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    revoked_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX machine_keys_of ON machine_keys (tenant_id, machine_id);

CREATE TABLE enrolment_tokens (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    label TEXT,
    created_by BLOB,
    machine_id BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX enrolment_tokens_by_age ON enrolment_tokens (tenant_id, created_at);
CREATE INDEX enrolment_tokens_maker ON enrolment_tokens (tenant_id, created_by);
CREATE INDEX enrolment_tokens_machine ON enrolment_tokens (tenant_id, machine_id);

CREATE TABLE grants (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    role TEXT NOT NULL,
    all_machines INTEGER NOT NULL CHECK (all_machines IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX grants_of ON grants (tenant_id, principal_id) WHERE deleted_at IS NULL;
CREATE INDEX grants_by_age ON grants (tenant_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE grant_machines (
    tenant_id BLOB NOT NULL,
    grant_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    PRIMARY KEY (tenant_id, grant_id, machine_id),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX grant_machines_of ON grant_machines (tenant_id, machine_id);
