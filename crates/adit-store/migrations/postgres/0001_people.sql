-- Tenants and who acts: principals, roles, grants, credentials. Times are Unix milliseconds, UTC; ids are UUIDs.

CREATE TABLE tenants (
    id UUID PRIMARY KEY,
    name TEXT NOT NULL,
    access_version BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT
);

INSERT INTO tenants (id, name, created_at) VALUES ('01900000-0000-7000-8000-000000000001', 'default', 0);

CREATE TABLE settings (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE principals (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'service', 'machine')),
    name TEXT NOT NULL,
    email TEXT,
    active BOOLEAN NOT NULL DEFAULT TRUE,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE INDEX principals_by_age ON principals (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX principals_name ON principals (tenant_id, kind, name) WHERE deleted_at IS NULL;

CREATE TABLE roles (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX roles_name ON roles (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE role_capabilities (
    tenant_id UUID NOT NULL,
    role_id UUID NOT NULL,
    capability TEXT NOT NULL,
    PRIMARY KEY (tenant_id, role_id, capability),
    FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE credentials (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('api_token', 'sign_in_code', 'cookie')),
    name TEXT NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    used_at BIGINT,
    revoked_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX credentials_of ON credentials (tenant_id, principal_id, kind, created_at, id);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON tenants USING (current_setting('adit.tenant', true) IN ('system', id::text));
ALTER TABLE settings ENABLE ROW LEVEL SECURITY;
ALTER TABLE settings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON settings USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE principals ENABLE ROW LEVEL SECURITY;
ALTER TABLE principals FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON principals USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE roles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON roles USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE role_capabilities ENABLE ROW LEVEL SECURITY;
ALTER TABLE role_capabilities FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON role_capabilities USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE credentials FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON credentials USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
