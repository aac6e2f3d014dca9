-- Teams, grants that teams hold and that count under conditions, and requests for access.

CREATE TABLE teams (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    deleted_at BIGINT,
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX teams_name ON teams (tenant_id, name) WHERE deleted_at IS NULL;

CREATE TABLE team_members (
    tenant_id UUID NOT NULL,
    team_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    source TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, team_id, principal_id, source),
    FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX team_members_of ON team_members (tenant_id, principal_id);

ALTER TABLE machines ADD COLUMN team_id UUID REFERENCES teams (id);
CREATE INDEX machines_team ON machines (team_id) WHERE team_id IS NOT NULL;

-- A second factor that was fresh when the session began, and the moment that it is compared with.
ALTER TABLE sessions ADD COLUMN second_factor_at BIGINT;

ALTER TABLE grants ALTER COLUMN principal_id DROP NOT NULL;
ALTER TABLE grants ADD COLUMN team_id UUID;
ALTER TABLE grants ADD COLUMN matcher TEXT;
ALTER TABLE grants ADD COLUMN conditions TEXT NOT NULL DEFAULT '{}';
ALTER TABLE grants ADD CONSTRAINT grants_holder CHECK ((principal_id IS NULL) <> (team_id IS NULL));
ALTER TABLE grants ADD CONSTRAINT grants_team FOREIGN KEY (tenant_id, team_id) REFERENCES teams (tenant_id, id) ON DELETE CASCADE;
CREATE INDEX grants_of_team ON grants (tenant_id, team_id) WHERE deleted_at IS NULL;

CREATE TABLE access_requests (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    role TEXT NOT NULL,
    labels TEXT NOT NULL,
    reason TEXT NOT NULL,
    seconds BIGINT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'withdrawn')),
    note TEXT,
    decided_by UUID,
    grant_id UUID,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    decided_at BIGINT,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, decided_by) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, grant_id) REFERENCES grants (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX access_requests_by_age ON access_requests (tenant_id, created_at, id);
CREATE INDEX access_requests_of ON access_requests (tenant_id, principal_id, created_at, id);
CREATE INDEX access_requests_decider ON access_requests (tenant_id, decided_by);
CREATE INDEX access_requests_grant ON access_requests (tenant_id, grant_id);

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE teams FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON teams USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE team_members FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON team_members USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE access_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE access_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON access_requests USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
