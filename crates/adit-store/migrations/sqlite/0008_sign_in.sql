-- Passwords, second factors and passkeys.

-- How a credential came to be, and from where; the second factor that was last shown with it.
ALTER TABLE credentials ADD COLUMN method TEXT;
ALTER TABLE credentials ADD COLUMN address TEXT;
ALTER TABLE credentials ADD COLUMN agent TEXT;
ALTER TABLE credentials ADD COLUMN second_factor_at INTEGER;

CREATE TABLE passwords (
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- Secrets of authenticator apps, sealed under a key that is not in the database. A code's time step is used once.
CREATE TABLE authenticators (
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    sealed BLOB NOT NULL,
    last_step INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    confirmed_at INTEGER,
    PRIMARY KEY (tenant_id, principal_id),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE recovery_codes (
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    created_at INTEGER NOT NULL,
    used_at INTEGER,
    PRIMARY KEY (tenant_id, principal_id, hash),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE passkeys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    name TEXT NOT NULL,
    handle BLOB NOT NULL,
    credential TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    deleted_at INTEGER,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX passkeys_of ON passkeys (tenant_id, principal_id, created_at, id);
CREATE UNIQUE INDEX passkeys_handle ON passkeys (handle) WHERE deleted_at IS NULL;

-- What waits on the way to a sign-in: setup tokens, invitations, second steps, passkey ceremonies. Each for one use, by its hash.
CREATE TABLE sign_in_steps (
    hash BLOB PRIMARY KEY CHECK (length(hash) = 32),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    principal_id BLOB,
    kind TEXT NOT NULL CHECK (kind IN ('setup', 'invitation', 'second_factor', 'passkey_add', 'passkey_sign_in', 'passkey_step_up')),
    state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_steps_of ON sign_in_steps (tenant_id, principal_id);
CREATE INDEX sign_in_steps_end ON sign_in_steps (expires_at);
