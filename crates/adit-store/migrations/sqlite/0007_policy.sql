-- Teams, grants that teams hold and that count under conditions, and requests for access.

CREATE TABLE teams (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id)
) STRICT;
CREATE UNIQUE INDEX teams_name ON teams (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE team_members (
    tenant_id BLOB NOT NULL,
    team_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    source TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, team_id, principal_id, source),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX team_members_of ON team_members (tenant_id, principal_id);

ALTER TABLE machines ADD COLUMN team_id BLOB REFERENCES teams (id);
CREATE INDEX machines_team ON machines (team_id) WHERE team_id IS NOT NULL;

-- A second factor that was fresh when the session began, and the moment that it is compared with.
ALTER TABLE sessions ADD COLUMN second_factor_at INTEGER;

CREATE TABLE held_grants (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB,
    team_id BLOB,
    role TEXT NOT NULL,
    all_machines INTEGER NOT NULL,
    matcher TEXT,
    conditions TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    deleted_at INTEGER,
    UNIQUE (tenant_id, id),
    CHECK ((principal_id IS NULL) <> (team_id IS NULL)),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE
) STRICT;
INSERT INTO held_grants (id, tenant_id, principal_id, role, all_machines, created_at, expires_at, deleted_at)
    SELECT id, tenant_id, principal_id, role, all_machines, created_at, expires_at, deleted_at FROM grants;

CREATE TABLE held_grant_machines (
    tenant_id BLOB NOT NULL,
    grant_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    PRIMARY KEY (tenant_id, grant_id, machine_id),
    FOREIGN KEY (tenant_id, grant_id) REFERENCES held_grants (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO held_grant_machines (tenant_id, grant_id, machine_id) SELECT tenant_id, grant_id, machine_id FROM grant_machines;

DROP TABLE grant_machines;
DROP TABLE grants;
ALTER TABLE held_grants RENAME TO grants;
ALTER TABLE held_grant_machines RENAME TO grant_machines;
CREATE INDEX grants_of ON grants (tenant_id, principal_id) WHERE deleted_at IS NULL;
CREATE INDEX grants_of_team ON grants (tenant_id, team_id) WHERE deleted_at IS NULL;
CREATE INDEX grants_by_age ON grants (tenant_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX grant_machines_of ON grant_machines (tenant_id, machine_id);

CREATE TABLE access_requests (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    role TEXT NOT NULL,
    labels TEXT NOT NULL,
    reason TEXT NOT NULL,
    seconds INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    note TEXT,
    decided_by BLOB,
    grant_id BLOB,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    decided_at INTEGER,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, decided_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX access_requests_by_age ON access_requests (tenant_id, created_at, id);
CREATE INDEX access_requests_of ON access_requests (tenant_id, principal_id, created_at, id);
CREATE INDEX access_requests_decider ON access_requests (tenant_id, decided_by);
CREATE INDEX access_requests_grant ON access_requests (tenant_id, grant_id);
