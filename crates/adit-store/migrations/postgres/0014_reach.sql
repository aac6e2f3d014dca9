-- Machines that reach each other: scopes and their capabilities, who holds them, what is offered to whom, tickets and sessions.

CREATE TABLE scopes (
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    strategies TEXT NOT NULL,
    preferred TEXT NOT NULL,
    port BIGINT NOT NULL,
    protocol TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

CREATE TABLE scope_actions (
    tenant_id UUID NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    place BIGINT NOT NULL,
    description TEXT NOT NULL,
    instance_scoped BOOLEAN NOT NULL,
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id, scope) REFERENCES scopes (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX scope_actions_of ON scope_actions (tenant_id, scope, place);

-- Who holds a capability: the name that its certificates give. What a scope takes with it when it goes, nobody holds any more.
CREATE TABLE holdings (
    tenant_id UUID NOT NULL,
    holder TEXT NOT NULL,
    capability TEXT NOT NULL,
    given_at BIGINT NOT NULL,
    given_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, holder, capability),
    FOREIGN KEY (tenant_id, capability) REFERENCES scope_actions (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX holdings_of ON holdings (tenant_id, capability);

CREATE TABLE instances (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    capability TEXT NOT NULL,
    owner TEXT NOT NULL,
    strategies TEXT NOT NULL,
    preferred TEXT,
    host TEXT,
    port BIGINT,
    heard_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, capability, owner),
    FOREIGN KEY (tenant_id, capability) REFERENCES scope_actions (tenant_id, name) ON DELETE CASCADE
);
CREATE INDEX instances_of ON instances (tenant_id, owner);
CREATE INDEX instances_heard ON instances (heard_at);

CREATE TABLE assignments (
    tenant_id UUID NOT NULL,
    instance_id UUID NOT NULL,
    target TEXT NOT NULL,
    assigned_at BIGINT NOT NULL,
    assigned_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, instance_id, target),
    FOREIGN KEY (tenant_id, instance_id) REFERENCES instances (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX assignments_to ON assignments (tenant_id, target);

-- No reference to the instance: a ticket counts against its source's rate for as long as the minute lasts, also when that is gone.
CREATE TABLE machine_tickets (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BYTEA NOT NULL UNIQUE CHECK (length(hash) = 32),
    capability TEXT NOT NULL,
    instance_id UUID NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'redeemed', 'revoked')),
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    redeemed_at BIGINT,
    -- The hash of what the target sent to get the same answer again, should the first be lost.
    retry BYTEA CHECK (length(retry) = 32)
);
CREATE INDEX machine_tickets_by_age ON machine_tickets (tenant_id, issued_at, id);
CREATE INDEX machine_tickets_by ON machine_tickets (tenant_id, source, issued_at);
CREATE INDEX machine_tickets_to ON machine_tickets (tenant_id, target, expires_at) WHERE state = 'issued';
CREATE INDEX machine_tickets_live ON machine_tickets (tenant_id, source, expires_at) WHERE state = 'issued';
CREATE INDEX machine_tickets_of ON machine_tickets (tenant_id, instance_id);
CREATE INDEX machine_tickets_end ON machine_tickets (issued_at);

CREATE TABLE machine_sessions (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    ticket_id UUID NOT NULL UNIQUE,
    capability TEXT NOT NULL,
    instance_id UUID NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    -- Whose certificate has to count beside the end's own: the machine's that it speaks for, or its own again.
    source_by TEXT NOT NULL,
    target_by TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'grace', 'dead')),
    created_at BIGINT NOT NULL,
    heard_at BIGINT NOT NULL,
    grace_at BIGINT,
    ended_at BIGINT,
    reason TEXT,
    CHECK ((status = 'dead') = (ended_at IS NOT NULL AND reason IS NOT NULL)),
    FOREIGN KEY (tenant_id, instance_id) REFERENCES instances (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX machine_sessions_by_age ON machine_sessions (tenant_id, created_at, id);
CREATE INDEX machine_sessions_live ON machine_sessions (tenant_id, source) WHERE status <> 'dead';
CREATE INDEX machine_sessions_of ON machine_sessions (tenant_id, instance_id);
CREATE INDEX machine_sessions_ended ON machine_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX machine_sessions_heard ON machine_sessions (heard_at) WHERE status <> 'dead';

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE scopes ENABLE ROW LEVEL SECURITY;
ALTER TABLE scopes FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON scopes USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE scope_actions ENABLE ROW LEVEL SECURITY;
ALTER TABLE scope_actions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON scope_actions USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE holdings ENABLE ROW LEVEL SECURITY;
ALTER TABLE holdings FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON holdings USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE instances ENABLE ROW LEVEL SECURITY;
ALTER TABLE instances FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON instances USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE assignments ENABLE ROW LEVEL SECURITY;
ALTER TABLE assignments FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON assignments USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE machine_tickets ENABLE ROW LEVEL SECURITY;
ALTER TABLE machine_tickets FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON machine_tickets USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE machine_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE machine_sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON machine_sessions USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
