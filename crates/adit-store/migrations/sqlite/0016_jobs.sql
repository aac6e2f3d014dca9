-- Jobs: runs of templates. A job's session is the one that names it.

CREATE TABLE jobs (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    tenant_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    machine_id BLOB NOT NULL,
    -- The sign-in or token that asked, which must still count when the job begins.
    credential_id BLOB NOT NULL CHECK (length(credential_id) = 16),
    client TEXT,
    template TEXT NOT NULL,
    -- The hash of the template's version.
    version BLOB NOT NULL CHECK (length(version) = 32),
    needs TEXT NOT NULL,
    parameters TEXT NOT NULL,
    argv TEXT NOT NULL,
    -- What the machine is given, as it is signed for.
    plan TEXT NOT NULL,
    output_bytes INTEGER NOT NULL,
    timeout_ms INTEGER NOT NULL,
    idempotent INTEGER NOT NULL CHECK (idempotent IN (0, 1)),
    state TEXT NOT NULL CHECK (state IN ('awaiting_consent', 'queued', 'running', 'succeeded', 'failed', 'timed_out', 'cancelled', 'lost')),
    -- How many others must agree, and to what: the hash of version, arguments, machine and limits.
    consents INTEGER NOT NULL CHECK (consents BETWEEN 0 AND 2),
    content BLOB NOT NULL CHECK (length(content) = 32),
    idempotency_key TEXT,
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    gateway_id BLOB,
    session_id BLOB,
    created_at INTEGER NOT NULL,
    -- Since when it waits for its turn: from its wish, the last consent, or since it was given back.
    queued_at INTEGER NOT NULL,
    started_at INTEGER,
    -- When somebody cancelled it while it ran, or was about to.
    cancelled_at INTEGER,
    ended_at INTEGER,
    exit_status INTEGER,
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
) STRICT;
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
    tenant_id BLOB NOT NULL,
    job_id BLOB NOT NULL,
    principal_id BLOB NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant_id, job_id, principal_id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, principal_id) REFERENCES principals (tenant_id, id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

ALTER TABLE sessions ADD COLUMN job_id BLOB CHECK (length(job_id) = 16);
CREATE INDEX sessions_job ON sessions (tenant_id, job_id) WHERE job_id IS NOT NULL;
