-- Gateways, sessions, what happened in them, and the tickets that open them.

CREATE TABLE gateways (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    fence INTEGER NOT NULL,
    recoveries INTEGER NOT NULL DEFAULT 0,
    batch INTEGER NOT NULL,
    head_seq INTEGER NOT NULL,
    head_hash BLOB NOT NULL CHECK (length(head_hash) = 32),
    created_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE INDEX gateways_tenant ON gateways (tenant_id);

CREATE TABLE sessions (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('shell', 'exec')),
    command TEXT NOT NULL,
    env TEXT NOT NULL,
    pty INTEGER NOT NULL CHECK (pty IN (0, 1)),
    capabilities TEXT NOT NULL,
    grants TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('reserved', 'opening', 'live', 'away', 'ended')),
    recording TEXT NOT NULL CHECK (recording IN ('off', 'output', 'input')),
    strict INTEGER NOT NULL CHECK (strict IN (0, 1)),
    run_as TEXT,
    client TEXT,
    gateway_id BLOB,
    cols INTEGER NOT NULL DEFAULT 0,
    rows INTEGER NOT NULL DEFAULT 0,
    reserved_at INTEGER NOT NULL,
    started_at INTEGER,
    ends_at INTEGER,
    ended_at INTEGER,
    reason TEXT,
    exit_status INTEGER,
    signal TEXT,
    bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id),
    CHECK ((state = 'ended') = (ended_at IS NOT NULL AND reason IS NOT NULL)),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX sessions_by_age ON sessions (tenant_id, started_at, id) WHERE started_at IS NOT NULL;
CREATE INDEX sessions_of ON sessions (tenant_id, principal_id, started_at, id);
CREATE INDEX sessions_on ON sessions (tenant_id, machine_id, started_at, id);
CREATE INDEX sessions_unended ON sessions (tenant_id, principal_id, started_at, id) WHERE state <> 'ended';

CREATE TABLE session_events (
    tenant_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (tenant_id, session_id, number),
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE tickets (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    principal_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    session_id BLOB NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('open', 'join')),
    capabilities TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'redeemed', 'revoked')),
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    redeemed_at INTEGER,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, session_id) REFERENCES sessions (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX tickets_of ON tickets (tenant_id, session_id);
CREATE INDEX tickets_by ON tickets (tenant_id, principal_id);
CREATE INDEX tickets_on ON tickets (tenant_id, machine_id);
CREATE INDEX tickets_by_end ON tickets (expires_at);
