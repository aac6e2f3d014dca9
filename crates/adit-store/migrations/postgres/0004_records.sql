-- What outlives everything that it tells of: recordings, audit events and their checkpoints. None refers to another table by key, so that
-- no cascade reaches them.

CREATE TABLE recordings (
    session_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    principal_kind TEXT NOT NULL,
    principal_id UUID NOT NULL,
    principal_name TEXT NOT NULL,
    machine_id UUID NOT NULL,
    machine_label TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'complete', 'incomplete')),
    bytes BIGINT NOT NULL DEFAULT 0,
    length_ms BIGINT NOT NULL DEFAULT 0,
    hash BYTEA CHECK (length(hash) = 32),
    started_at BIGINT NOT NULL,
    finished_at BIGINT,
    deleted_at BIGINT,
    deleted_by TEXT
);
CREATE INDEX recordings_by_age ON recordings (tenant_id, started_at, session_id);
CREATE INDEX recordings_of ON recordings (tenant_id, principal_id, started_at, session_id);
CREATE INDEX recordings_on ON recordings (tenant_id, machine_id, started_at, session_id);
CREATE INDEX recordings_running ON recordings (tenant_id) WHERE state = 'running';

CREATE TABLE audit_events (
    gateway_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    id UUID NOT NULL UNIQUE,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    target_kind TEXT,
    target_id TEXT,
    target_name TEXT,
    outcome TEXT NOT NULL CHECK (outcome IN ('ok', 'denied', 'failed')),
    body TEXT NOT NULL,
    prev BYTEA NOT NULL CHECK (length(prev) = 32),
    hash BYTEA NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (gateway_id, seq)
);
CREATE INDEX audit_events_by_age ON audit_events (tenant_id, at, seq, gateway_id);
CREATE INDEX audit_events_event ON audit_events (tenant_id, event, at, seq, gateway_id);
CREATE INDEX audit_events_actor ON audit_events (tenant_id, actor_name, at, seq, gateway_id);
CREATE INDEX audit_events_target ON audit_events (tenant_id, target_name, at, seq, gateway_id);

CREATE TABLE audit_checkpoints (
    id UUID PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    tenant_id UUID NOT NULL REFERENCES tenants (id),
    at BIGINT NOT NULL,
    body BYTEA NOT NULL,
    signature BYTEA NOT NULL
);
CREATE INDEX audit_checkpoints_tenant ON audit_checkpoints (tenant_id);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE recordings ENABLE ROW LEVEL SECURITY;
ALTER TABLE recordings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON recordings USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_events FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON audit_events USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE audit_checkpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_checkpoints FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON audit_checkpoints USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
