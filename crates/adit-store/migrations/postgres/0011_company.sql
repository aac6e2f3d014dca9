-- Sign-in with a company's account: accounts that an issuer vouches for, sign-ins that are on their way, and what an issuer ended.

CREATE TABLE external_identities (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    provider TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    email TEXT,
    refresh BYTEA,
    asked_at BIGINT NOT NULL,
    last_used_at BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, provider, subject),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX external_identities_of ON external_identities (tenant_id, principal_id, created_at, id);
CREATE INDEX external_identities_to_ask ON external_identities (tenant_id, provider, asked_at) WHERE refresh IS NOT NULL;

-- Which sign-in of the console came by which account, and in which session of the issuer.
CREATE TABLE company_sessions (
    tenant_id UUID NOT NULL,
    credential_id UUID NOT NULL,
    identity_id UUID NOT NULL,
    sid TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, credential_id),
    FOREIGN KEY (credential_id) REFERENCES credentials (id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, identity_id) REFERENCES external_identities (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX company_sessions_credential ON company_sessions (credential_id);
CREATE INDEX company_sessions_of ON company_sessions (tenant_id, identity_id);

CREATE TABLE company_sign_ins (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    state BYTEA NOT NULL CHECK (length(state) = 32),
    provider TEXT NOT NULL,
    browser BYTEA NOT NULL CHECK (length(browser) = 32),
    nonce BYTEA NOT NULL CHECK (length(nonce) = 32),
    verifier BYTEA NOT NULL,
    link_principal UUID,
    link_credential UUID,
    back TEXT,
    client TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, state)
);
CREATE INDEX company_sign_ins_client ON company_sign_ins (tenant_id, client);
CREATE INDEX company_sign_ins_end ON company_sign_ins (tenant_id, expires_at);

CREATE TABLE company_logouts (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, hash)
);
CREATE INDEX company_logouts_end ON company_logouts (tenant_id, expires_at);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE external_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE external_identities FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON external_identities USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE company_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON company_sessions USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE company_sign_ins ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_sign_ins FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON company_sign_ins USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE company_logouts ENABLE ROW LEVEL SECURITY;
ALTER TABLE company_logouts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON company_logouts USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
