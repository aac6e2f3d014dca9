-- Tenants and who acts: principals, roles, grants, credentials. Times are Unix milliseconds, UTC; ids are 16-byte UUIDs.

CREATE TABLE tenants (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    access_version INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;

INSERT INTO tenants (id, name, created_at) VALUES (x'01900000000070008000000000000001', 'default', 0);

CREATE TABLE settings (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE principals (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'service', 'machine')),
    name TEXT NOT NULL,
    email TEXT,
    active INTEGER NOT NULL DEFAULT 1 CHECK (active IN (0, 1)),
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX principals_by_age ON principals (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX principals_name ON principals (tenant_id, kind, name) WHERE deleted_at IS NULL;

CREATE TABLE roles (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX roles_name ON roles (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE role_capabilities (
    tenant_id BLOB NOT NULL,
    role_id BLOB NOT NULL,
    capability TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role_id, capability),
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE credentials (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('api_token', 'sign_in_code', 'cookie')),
    name TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    used_at INTEGER,
    revoked_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX credentials_of ON credentials (tenant_id, principal_id, kind, created_at, id);
