-- Support codes and agent releases.

CREATE TABLE support_codes (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_by BLOB NOT NULL,
    machine_id BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, created_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX support_codes_by_age ON support_codes (tenant_id, created_at, id);
CREATE INDEX support_codes_maker ON support_codes (tenant_id, created_by);
CREATE INDEX support_codes_machine ON support_codes (tenant_id, machine_id);

CREATE TABLE releases (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    version TEXT NOT NULL,
    os TEXT NOT NULL,
    arch TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    signature BLOB NOT NULL,
    stage INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX releases_version ON releases (tenant_id, version, os, arch) WHERE deleted_at IS NULL;
CREATE INDEX releases_by_age ON releases (tenant_id, created_at, id);
