-- Gateways, sessions, what happened in them, and the tickets that open them.

CREATE TABLE gateways (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    fence BIGINT NOT NULL,
    recoveries BIGINT NOT NULL DEFAULT 0,
    batch BIGINT NOT NULL,
    head_seq BIGINT NOT NULL,
    head_hash BYTEA NOT NULL CHECK (length(head_hash) = 32),
    created_at BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX gateways_tenant ON gateways (tenant_id);

CREATE TABLE sessions (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    machine_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('shell', 'exec')),
    command TEXT NOT NULL,
    env TEXT NOT NULL,
    pty BOOLEAN NOT NULL,
    capabilities TEXT NOT NULL,
    grants TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'opening', 'live', 'away', 'ended')),
    recording TEXT NOT NULL CHECK (recording IN ('off', 'output', 'input')),
    strict BOOLEAN NOT NULL,
    run_as TEXT,
    client TEXT,
    gateway_id UUID,
    cols BIGINT NOT NULL DEFAULT 0,
    rows BIGINT NOT NULL DEFAULT 0,
    reserved_at BIGINT NOT NULL,
    started_at BIGINT,
    ends_at BIGINT,
    ended_at BIGINT,
    reason TEXT,
    exit_status BIGINT,
    signal TEXT,
    bytes_in BIGINT NOT NULL DEFAULT 0,
    bytes_out BIGINT NOT NULL DEFAULT 0,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL AND reason IS NOT NULL)),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX sessions_by_age ON sessions (tenant_id, started_at, id) WHERE started_at IS NOT NULL;
CREATE INDEX sessions_of ON sessions (tenant_id, principal_id, started_at, id);
CREATE INDEX sessions_on ON sessions (tenant_id, machine_id, started_at, id);
CREATE INDEX sessions_unended ON sessions (tenant_id, principal_id, started_at, id) WHERE state <> 'ended';

CREATE TABLE session_events (
    tenant_id UUID NOT NULL,
    session_id UUID NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant_id, session_id, number),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
);

CREATE TABLE tickets (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    principal_id UUID NOT NULL,
    machine_id UUID NOT NULL,
    session_id UUID NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('open', 'join')),
    capabilities TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'redeemed', 'revoked')),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX tickets_of ON tickets (tenant_id, session_id);
CREATE INDEX tickets_by ON tickets (tenant_id, principal_id);
CREATE INDEX tickets_on ON tickets (tenant_id, machine_id);
CREATE INDEX tickets_by_end ON tickets (expires_at);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE gateways ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateways FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON gateways USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON sessions USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE session_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON session_events USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON tickets USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
