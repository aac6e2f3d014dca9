-- The OAuth2 server: services, codes, tokens, signing keys.

-- What is known of a service beside its principal, whose id it shares; that id is its client_id.
CREATE TABLE oauth_clients (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('confidential', 'public')),
    scopes TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_clients_by_age ON oauth_clients (tenant_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE oauth_secrets (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    client_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_secrets_of ON oauth_secrets (tenant_id, client_id, created_at);

-- One authorization and everything that was issued by it. No client: the command line.
CREATE TABLE oauth_families (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    client_id UUID,
    flow TEXT NOT NULL CHECK (flow IN ('client', 'code', 'device', 'exchange')),
    scopes TEXT NOT NULL,
    subject TEXT,
    second_factor_at BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_families_of ON oauth_families (tenant_id, principal_id, created_at, id);
CREATE INDEX oauth_families_client ON oauth_families (tenant_id, client_id);
CREATE INDEX oauth_families_end ON oauth_families (created_at);

-- Access tokens, by the id that they carry, and refresh tokens, by their hash.
CREATE TABLE oauth_tokens (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    family_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
    hash BYTEA UNIQUE CHECK (length(hash) = 32),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    revoked_at BIGINT,
    CHECK ((kind = 'refresh') = (hash IS NOT NULL)),
    FOREIGN KEY (tenant_id, family_id) REFERENCES oauth_families (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_tokens_family ON oauth_tokens (tenant_id, family_id);
CREATE INDEX oauth_tokens_end ON oauth_tokens (expires_at);

CREATE TABLE oauth_codes (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    client_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    scopes TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    family_id UUID,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX oauth_codes_of ON oauth_codes (tenant_id, principal_id);
CREATE INDEX oauth_codes_client ON oauth_codes (tenant_id, client_id);
CREATE INDEX oauth_codes_end ON oauth_codes (expires_at);

-- Requests of devices. Until somebody approves one, it belongs to the client's tenant, or to the first where it has none.
CREATE TABLE oauth_devices (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    user_hash BYTEA NOT NULL UNIQUE CHECK (length(user_hash) = 32),
    client_id UUID,
    scopes TEXT NOT NULL,
    address TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
    principal_id UUID,
    polled_at BIGINT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX oauth_devices_tenant ON oauth_devices (tenant_id);
CREATE INDEX oauth_devices_end ON oauth_devices (expires_at);

-- Keys that sign access tokens. The private half is sealed with a key that is not in the database.
CREATE TABLE oauth_keys (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    public BYTEA NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX oauth_keys_by_age ON oauth_keys (tenant_id, signs_from);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE oauth_clients ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_clients FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_clients USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_secrets USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_families ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_families FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_families USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_tokens USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_codes USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_devices FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_devices USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE oauth_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE oauth_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON oauth_keys USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
