-- Sign-in with a company's account: accounts that an issuer vouches for, sign-ins that are on their way, and what an issuer ended.

CREATE TABLE external_identities (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    refresh BLOB,
    asked_at INTEGER NOT NULL,
    last_used_at INTEGER,
    created_at INTEGER NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, provider, subject),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX external_identities_of ON external_identities (tenant_id, principal_id, created_at, id);
CREATE INDEX external_identities_to_ask ON external_identities (tenant_id, provider, asked_at) WHERE refresh IS NOT NULL;

-- Which sign-in of the console came by which account, and in which session of the issuer.
CREATE TABLE company_sessions (
    tenant_id BLOB NOT NULL,
    credential_id BLOB NOT NULL,
    identity_id BLOB NOT NULL,
    sid TEXT,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (credential_id) REFERENCES credentials (id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, identity_id) REFERENCES external_identities (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX company_sessions_credential ON company_sessions (credential_id);
CREATE INDEX company_sessions_of ON company_sessions (tenant_id, identity_id);

CREATE TABLE company_sign_ins (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    state BLOB NOT NULL CHECK (length(state) = 32),
    provider TEXT NOT NULL,
    browser BLOB NOT NULL CHECK (length(browser) = 32),
    nonce BLOB NOT NULL CHECK (length(nonce) = 32),
    verifier BLOB NOT NULL,
    link_principal BLOB,
    link_credential BLOB,
    back TEXT,
    client TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX company_sign_ins_client ON company_sign_ins (tenant_id, client);
CREATE INDEX company_sign_ins_end ON company_sign_ins (tenant_id, expires_at);

CREATE TABLE company_logouts (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX company_logouts_end ON company_logouts (tenant_id, expires_at);
