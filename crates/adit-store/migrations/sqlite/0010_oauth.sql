-- The OAuth2 server: services, codes, tokens, signing keys.

-- What is known of a service beside its principal, whose id it shares; that id is its client_id.
CREATE TABLE oauth_clients (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('confidential', 'public')),
    scopes TEXT NOT NULL,
    redirect_uris TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_clients_by_age ON oauth_clients (tenant_id, created_at, id) WHERE deleted_at IS NULL;

CREATE TABLE oauth_secrets (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    client_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    prefix TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_secrets_of ON oauth_secrets (tenant_id, client_id, created_at);

-- One authorization and everything that was issued by it. No client: the command line.
CREATE TABLE oauth_families (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    client_id BLOB,
    flow TEXT NOT NULL CHECK (flow IN ('client', 'code', 'device', 'exchange')),
    scopes TEXT NOT NULL,
    subject TEXT,
    second_factor_at INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_families_of ON oauth_families (tenant_id, principal_id, created_at, id);
CREATE INDEX oauth_families_client ON oauth_families (tenant_id, client_id);
CREATE INDEX oauth_families_end ON oauth_families (created_at);

-- Access tokens, by the id that they carry, and refresh tokens, by their hash.
CREATE TABLE oauth_tokens (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    family_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('access', 'refresh')),
    hash BLOB UNIQUE CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    revoked_at INTEGER,
    CHECK ((kind = 'refresh') = (hash IS NOT NULL)),
    FOREIGN KEY (tenant_id, family_id) REFERENCES oauth_families (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_tokens_family ON oauth_tokens (tenant_id, family_id);
CREATE INDEX oauth_tokens_end ON oauth_tokens (expires_at);

CREATE TABLE oauth_codes (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    client_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    scopes TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    family_id BLOB,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, client_id) REFERENCES oauth_clients (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX oauth_codes_of ON oauth_codes (tenant_id, principal_id);
CREATE INDEX oauth_codes_client ON oauth_codes (tenant_id, client_id);
CREATE INDEX oauth_codes_end ON oauth_codes (expires_at);

-- Requests of devices. Until somebody approves one, it belongs to the client's tenant, or to the first where it has none.
CREATE TABLE oauth_devices (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    user_hash BLOB NOT NULL UNIQUE CHECK (length(user_hash) = 32),
    client_id BLOB,
    scopes TEXT NOT NULL,
    address TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used')),
    principal_id BLOB,
    polled_at INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX oauth_devices_tenant ON oauth_devices (tenant_id);
CREATE INDEX oauth_devices_end ON oauth_devices (expires_at);

-- Keys that sign access tokens. The private half is sealed with a key that is not in the database.
CREATE TABLE oauth_keys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    public BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    signs_from INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX oauth_keys_by_age ON oauth_keys (tenant_id, signs_from);
