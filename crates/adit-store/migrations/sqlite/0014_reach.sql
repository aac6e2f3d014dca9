-- Machines that reach each other: scopes and their capabilities, who holds them, what is offered to whom, tickets and sessions.

CREATE TABLE scopes (
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    description TEXT NOT NULL,
    strategies TEXT NOT NULL,
    preferred TEXT NOT NULL,
    port INTEGER NOT NULL,
    protocol TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE scope_actions (
    tenant_id BLOB NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    place INTEGER NOT NULL,
    description TEXT NOT NULL,
    instance_scoped INTEGER NOT NULL CHECK (instance_scoped IN (0, 1)),
    PRIMARY KEY (tenant_id, name),
    FOREIGN KEY (tenant_id, scope) REFERENCES scopes (tenant_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX scope_actions_of ON scope_actions (tenant_id, scope, place);

-- Who holds a capability: the name that its certificates give. What a scope takes with it when it goes, nobody holds any more.
CREATE TABLE holdings (
    tenant_id BLOB NOT NULL,
    holder TEXT NOT NULL,
    capability TEXT NOT NULL,
    given_at INTEGER NOT NULL,
    given_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, holder, capability),
    FOREIGN KEY (tenant_id, capability) REFERENCES scope_actions (tenant_id, name) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX holdings_of ON holdings (tenant_id, capability);

CREATE TABLE instances (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    capability TEXT NOT NULL,
    owner TEXT NOT NULL,
    strategies TEXT NOT NULL,
    preferred TEXT,
    host TEXT,
    port INTEGER,
    heard_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (tenant_id, id),
    UNIQUE (tenant_id, capability, owner),
    FOREIGN KEY (tenant_id, capability) REFERENCES scope_actions (tenant_id, name) ON DELETE CASCADE
) STRICT;
CREATE INDEX instances_of ON instances (tenant_id, owner);
CREATE INDEX instances_heard ON instances (heard_at);

CREATE TABLE assignments (
    tenant_id BLOB NOT NULL,
    instance_id BLOB NOT NULL,
    target TEXT NOT NULL,
    assigned_at INTEGER NOT NULL,
    assigned_by TEXT NOT NULL,
    PRIMARY KEY (tenant_id, instance_id, target),
    FOREIGN KEY (tenant_id, instance_id) REFERENCES instances (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX assignments_to ON assignments (tenant_id, target);

-- No reference to the instance: a ticket counts against its source's rate for as long as the minute lasts, also when that is gone.
CREATE TABLE machine_tickets (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    capability TEXT NOT NULL,
    instance_id BLOB NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('issued', 'redeemed', 'revoked')),
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    redeemed_at INTEGER,
    -- The hash of what the target sent to get the same answer again, should the first be lost.
    retry BLOB CHECK (length(retry) = 32)
) STRICT;
CREATE INDEX machine_tickets_by_age ON machine_tickets (tenant_id, issued_at, id);
CREATE INDEX machine_tickets_by ON machine_tickets (tenant_id, source, issued_at);
CREATE INDEX machine_tickets_to ON machine_tickets (tenant_id, target, expires_at) WHERE state = 'issued';
CREATE INDEX machine_tickets_live ON machine_tickets (tenant_id, source, expires_at) WHERE state = 'issued';
CREATE INDEX machine_tickets_of ON machine_tickets (tenant_id, instance_id);
CREATE INDEX machine_tickets_end ON machine_tickets (issued_at);

CREATE TABLE machine_sessions (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    ticket_id BLOB NOT NULL UNIQUE,
    capability TEXT NOT NULL,
    instance_id BLOB NOT NULL,
    source TEXT NOT NULL,
    target TEXT NOT NULL,
    -- Whose certificate has to count beside the end's own: the machine's that it speaks for, or its own again.
    source_by TEXT NOT NULL,
    target_by TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'grace', 'dead')),
    created_at INTEGER NOT NULL,
    heard_at INTEGER NOT NULL,
    grace_at INTEGER,
    ended_at INTEGER,
    reason TEXT,
    CHECK ((status = 'dead') = (ended_at IS NOT NULL AND reason IS NOT NULL)),
    FOREIGN KEY (tenant_id, instance_id) REFERENCES instances (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX machine_sessions_by_age ON machine_sessions (tenant_id, created_at, id);
CREATE INDEX machine_sessions_live ON machine_sessions (tenant_id, source) WHERE status <> 'dead';
CREATE INDEX machine_sessions_of ON machine_sessions (tenant_id, instance_id);
CREATE INDEX machine_sessions_ended ON machine_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX machine_sessions_heard ON machine_sessions (heard_at) WHERE status <> 'dead';
