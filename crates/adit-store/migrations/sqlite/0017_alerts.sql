-- Alerts: what was out of the ordinary in the audit log. None refers to another table by key, so that no cascade reaches them.

CREATE TABLE alerts (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
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
    at INTEGER NOT NULL,
    raised_at INTEGER NOT NULL,
    delivery TEXT NOT NULL CHECK (delivery IN ('none', 'waiting', 'delivered', 'given_up')),
    tries INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    delivered_at INTEGER,
    -- What the receiver answered last.
    answer TEXT,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE INDEX alerts_by_age ON alerts (tenant_id, raised_at, id);
CREATE INDEX alerts_cause ON alerts (tenant_id, kind, actor_id, subject, at);
CREATE INDEX alerts_waiting ON alerts (next_at, id) WHERE delivery = 'waiting';

-- Which gateway watches the log for all, until when unless it says so again. The number moves with every step that it takes.
CREATE TABLE alert_watch (
    number INTEGER PRIMARY KEY CHECK (number = 1),
    tenant_id BLOB NOT NULL,
    holder BLOB,
    until_at INTEGER NOT NULL,
    step INTEGER NOT NULL
) STRICT;

-- How far each gateway's chain was looked at.
CREATE TABLE alert_cursors (
    gateway_id BLOB PRIMARY KEY,
    tenant_id BLOB NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
