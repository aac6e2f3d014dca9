-- Jobs: runs of templates. A job's session is the one that names it.

CREATE TABLE jobs (
    id UUID PRIMARY KEY,
    tenant_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    machine_id UUID NOT NULL,
    -- The sign-in or token that asked, which must still count when the job begins.
    credential_id UUID NOT NULL,
    client TEXT,
    template TEXT NOT NULL,
    -- The hash of the template's version.
    version BYTEA NOT NULL CHECK (length(version) = 32),
    needs TEXT NOT NULL,
    parameters TEXT NOT NULL,
    argv TEXT NOT NULL,
    -- What the machine is given, as it is signed for.
    plan TEXT NOT NULL,
    output_bytes BIGINT NOT NULL,
    timeout_ms BIGINT NOT NULL,
    idempotent BOOLEAN NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('awaiting_consent', 'queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost')),
    -- How many others must agree, and to what: the hash of version, arguments, machine and limits.
    consents BIGINT NOT NULL CHECK (consents BETWEEN 0 AND 2),
    content BYTEA NOT NULL CHECK (length(content) = 32),
    idempotency_key TEXT,
    request_hash BYTEA NOT NULL CHECK (length(request_hash) = 32),
    gateway_id UUID,
    session_id UUID,
    created_at BIGINT NOT NULL,
    -- Since when it waits for its turn: from its wish, the last consent, or since it was given back.
    queued_at BIGINT NOT NULL,
    started_at BIGINT,
    -- When somebody cancelled it while it ran, or was about to.
    cancelled_at BIGINT,
    ended_at BIGINT,
    exit_status BIGINT,
    signal TEXT,
    reason TEXT,
    report TEXT,
    -- Its receipt, as it was signed: one line of a file of them.
    receipt TEXT,
    -- The request that asked, as a `traceparent` (W3C Trace Context): the spans of the job go below it.
    trace TEXT,
    UNIQUE (tenant_id, id),
    CHECK ((state IN ('awaiting_consent', 'queued', 'running')) = (ended_at IS NULL)),
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, machine_id) REFERENCES machines (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX jobs_by_age ON jobs (tenant_id, created_at, id);
CREATE INDEX jobs_of ON jobs (tenant_id, principal_id, created_at, id);
CREATE INDEX jobs_on ON jobs (tenant_id, machine_id, created_at, id);
CREATE INDEX jobs_waiting ON jobs (tenant_id, principal_id) WHERE state IN ('awaiting_consent', 'queued');
CREATE INDEX jobs_queue ON jobs (queued_at, id) WHERE state = 'queued';
CREATE INDEX jobs_awaiting ON jobs (created_at, id) WHERE state = 'awaiting_consent';
CREATE INDEX jobs_running ON jobs (gateway_id) WHERE state = 'running';
CREATE UNIQUE INDEX jobs_key ON jobs (tenant_id, principal_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Who agreed to a job.
CREATE TABLE job_consents (
    tenant_id UUID NOT NULL,
    job_id UUID NOT NULL,
    principal_id UUID NOT NULL,
    name TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, job_id, principal_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
);

ALTER TABLE sessions ADD COLUMN job_id UUID;
CREATE INDEX sessions_job ON sessions (tenant_id, job_id) WHERE job_id IS NOT NULL;

-- The second wall: a transaction sees and writes the rows of the tenant that it named, or all when it named the system.
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON jobs USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
ALTER TABLE job_consents ENABLE ROW LEVEL SECURITY;
ALTER TABLE job_consents FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_wall ON job_consents USING (current_setting('adit.tenant', true) IN ('system', tenant_id::text));
