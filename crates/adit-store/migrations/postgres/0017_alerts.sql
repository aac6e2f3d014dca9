-- Alerts: what was out of the ordinary in the audit log. None refers to another table by key, so that no cascade reaches them.

CREATE TABLE alerts (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('refusals', 'new_command', 'unusual_hours', 'fan_out', 'failures')),
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    -- The template that stands out, or nothing.
    subject TEXT NOT NULL,
    -- The ids of the events that made it, JSON.
    events TEXT NOT NULL,
    sentence TEXT NOT NULL,
    -- When the last of its events happened, and when it was raised.
    at BIGINT NOT NULL,
    raised_at BIGINT NOT NULL,
    delivery TEXT NOT NULL CHECK (delivery IN ('none', 'waiting', 'delivered', 'given_up')),
    tries BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    delivered_at BIGINT,
    -- What the receiver answered last.
    answer TEXT,
    UNIQUE (tenant_id, id)
);
CREATE INDEX alerts_by_age ON alerts (tenant_id, raised_at, id);
CREATE INDEX alerts_cause ON alerts (tenant_id, kind, actor_id, subject, at);
CREATE INDEX alerts_waiting ON alerts (next_at, id) WHERE delivery = 'waiting';

-- Which gateway watches the log for all, until when unless it says so again. The number moves with every step that it takes.
CREATE TABLE alert_watch (
    number BIGINT PRIMARY KEY CHECK (number = 1),
    tenant_id UUID NOT NULL,
    holder UUID,
    until_at BIGINT NOT NULL,
    step BIGINT NOT NULL
);

-- How far each gateway's chain was looked at.
CREATE TABLE alert_cursors (
    gateway_id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    seq BIGINT NOT NULL
);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE alerts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON alerts USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE alert_watch ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_watch FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON alert_watch USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE alert_cursors ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_cursors FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON alert_cursors USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
