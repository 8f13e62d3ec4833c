CREATE TABLE jobs (
    id VARCHAR(128) NOT NULL,
    tenant VARCHAR(255) NOT NULL,
    request JSON NOT NULL,
    state VARCHAR(16) NOT NULL,
    control VARCHAR(16) NOT NULL,
    fence INTEGER NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL,
    owner VARCHAR(255) NOT NULL,
    attempts INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    progress JSON NOT NULL,
    result JSON,
    error_code VARCHAR(64) NOT NULL,
    error TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    finished_at DOUBLE PRECISION,
    PRIMARY KEY (id)
);
CREATE INDEX jobs_by_state ON jobs (state, lease_until);
CREATE INDEX jobs_by_tenant ON jobs (tenant, created_at);
CREATE TABLE attempts (
    job_id VARCHAR(128) NOT NULL,
    fence INTEGER NOT NULL,
    owner VARCHAR(255) NOT NULL,
    began DOUBLE PRECISION NOT NULL,
    ended DOUBLE PRECISION,
    outcome VARCHAR(16) NOT NULL,
    PRIMARY KEY (job_id, fence),
    FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_attempts_began ON attempts (began);
CREATE TABLE insights (
    number SERIAL NOT NULL,
    job_id VARCHAR(128) NOT NULL,
    id VARCHAR(255) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    impact VARCHAR(16) NOT NULL,
    timestamp VARCHAR(32) NOT NULL,
    data JSON NOT NULL,
    PRIMARY KEY (number),
    FOREIGN KEY(job_id) REFERENCES jobs (id)
);
CREATE INDEX ix_insights_job_id ON insights (job_id);
CREATE TABLE logs (
    job_id VARCHAR(128) NOT NULL,
    number INTEGER NOT NULL,
    timestamp VARCHAR(32) NOT NULL,
    level VARCHAR(16) NOT NULL,
    stage VARCHAR(64) NOT NULL,
    message TEXT NOT NULL,
    chunk_id VARCHAR(128) NOT NULL,
    extra JSON NOT NULL,
    PRIMARY KEY (job_id, number),
    FOREIGN KEY(job_id) REFERENCES jobs (id)
);
