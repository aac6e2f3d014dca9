-- What outlives everything that it tells of: recordings, audit events and their checkpoints. None refers to another table by key, so that
-- no cascade reaches them.

CREATE TABLE recordings (
    session_id BLOB PRIMARY KEY CHECK (length(session_id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    principal_kind TEXT NOT NULL,
    principal_id BLOB NOT NULL,
    principal_name TEXT NOT NULL,
    machine_id BLOB NOT NULL,
    machine_label TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'incomplete')),
    bytes INTEGER NOT NULL DEFAULT 0,
    length_ms INTEGER NOT NULL DEFAULT 0,
    hash BLOB CHECK (length(hash) = 32),
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    deleted_at INTEGER,
    deleted_by TEXT
) STRICT;
CREATE INDEX recordings_by_age ON recordings (tenant_id, started_at, session_id);
CREATE INDEX recordings_of ON recordings (tenant_id, principal_id, started_at, session_id);
CREATE INDEX recordings_on ON recordings (tenant_id, machine_id, started_at, session_id);
CREATE INDEX recordings_running ON recordings (tenant_id) WHERE state = 'running';

CREATE TABLE audit_events (
    gateway_id BLOB NOT NULL CHECK (length(gateway_id) = 16),
    seq INTEGER NOT NULL,
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    event TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    target_kind TEXT,
    target_id TEXT,
    target_name TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('ok', 'denied', 'failed')),
    body TEXT NOT NULL,
    prev BLOB NOT NULL CHECK (length(prev) = 32),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (gateway_id, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_events_by_age ON audit_events (tenant_id, at, seq, gateway_id);
CREATE INDEX audit_events_event ON audit_events (tenant_id, event, at, seq, gateway_id);
CREATE INDEX audit_events_actor ON audit_events (tenant_id, actor_name, at, seq, gateway_id);
CREATE INDEX audit_events_target ON audit_events (tenant_id, target_name, at, seq, gateway_id);

CREATE TABLE audit_checkpoints (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    number INTEGER NOT NULL UNIQUE,
    tenant_id BLOB NOT NULL REFERENCES tenants (id),
    at INTEGER NOT NULL,
    body BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT;
CREATE INDEX audit_checkpoints_tenant ON audit_checkpoints (tenant_id);
