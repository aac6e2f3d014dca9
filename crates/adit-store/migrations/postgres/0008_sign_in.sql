-- Passwords, second factors and passkeys.

-- How a credential came to be, and from where; the second factor that was last shown with it.
ALTER TABLE credentials ADD COLUMN method TEXT;
ALTER TABLE credentials ADD COLUMN address TEXT;
ALTER TABLE credentials ADD COLUMN agent TEXT;
ALTER TABLE credentials ADD COLUMN second_factor_at BIGINT;

CREATE TABLE passwords (
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    hash TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);

-- Secrets of authenticator apps, sealed under a key that is not in the database. A code's time step is used once.
CREATE TABLE authenticators (
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    sealed BYTEA NOT NULL,
    last_step BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    confirmed_at BIGINT,
    PRIMARY KEY (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE recovery_codes (
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    created_at BIGINT NOT NULL,
    used_at BIGINT,
    PRIMARY KEY (tenant_id, principal_id, hash),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE passkeys (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    name TEXT NOT NULL,
    handle BYTEA NOT NULL,
    credential TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,
    deleted_at BIGINT,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX passkeys_of ON passkeys (tenant_id, principal_id, created_at, id);
CREATE UNIQUE INDEX passkeys_handle ON passkeys (handle) WHERE deleted_at IS NULL;

-- What waits on the way to a sign-in: setup tokens, invitations, second steps, passkey ceremonies. Each for one use, by its hash.
CREATE TABLE sign_in_steps (
    hash BYTEA PRIMARY KEY CHECK (length(hash) = 32),
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    principal_id UUID,
    kind TEXT NOT NULL CHECK (kind IN ('setup', 'invitation', 'second_factor', 'passkey_add', 'passkey_sign_in', 'passkey_step_up')),
    state TEXT NOT NULL,
    tries BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sign_in_steps_of ON sign_in_steps (tenant_id, principal_id);
CREATE INDEX sign_in_steps_end ON sign_in_steps (expires_at);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE passwords ENABLE ROW LEVEL SECURITY;
ALTER TABLE passwords FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON passwords USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE authenticators ENABLE ROW LEVEL SECURITY;
ALTER TABLE authenticators FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON authenticators USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE recovery_codes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON recovery_codes USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE passkeys ENABLE ROW LEVEL SECURITY;
ALTER TABLE passkeys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON passkeys USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE sign_in_steps ENABLE ROW LEVEL SECURITY;
ALTER TABLE sign_in_steps FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON sign_in_steps USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
