-- The tables of genyard. The truth about jobs is here; Procrastinate's tables carry only work that may start now.

CREATE TABLE owners (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- A key is shown once; only its SHA-256 is kept. `prefix` is for people to tell keys apart.
CREATE TABLE api_keys (
    id          uuid PRIMARY KEY,
    owner_id    uuid NOT NULL REFERENCES owners ON DELETE CASCADE,
    digest      bytea NOT NULL UNIQUE,
    prefix      text NOT NULL,
    label       text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);

-- Secrets that genyard made for itself (the key that signs links).
CREATE TABLE secrets (
    name   text PRIMARY KEY,
    value  bytea NOT NULL
);

-- What is configured (capacity) and what was last learnt (facts) of each endpoint.
CREATE TABLE endpoints (
    name        text PRIMARY KEY,
    kind        text NOT NULL,
    capacity    integer NOT NULL,
    facts       jsonb,
    checked_at  timestamptz
);

-- A running process that drives stages. It holds pg_advisory_lock(7264, id) for as long as it lives.
CREATE TABLE workers (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    beat_at     timestamptz NOT NULL DEFAULT now()
);

-- state: queued running canceling -> succeeded failed canceled expired
CREATE TABLE jobs (
    id               uuid PRIMARY KEY,
    owner_id         uuid NOT NULL REFERENCES owners,
    state            text NOT NULL CHECK (state IN
                     ('queued','running','canceling','succeeded','failed','canceled','expired')),
    request          jsonb NOT NULL,              -- the steps as they were accepted, seeds drawn
    operation        text NOT NULL,               -- of the last step, for lists
    prompt           text NOT NULL DEFAULT '',
    tags             text[] NOT NULL DEFAULT '{}',
    trace_id         text NOT NULL,
    priority         smallint NOT NULL DEFAULT 0,
    idempotency_key  text,
    request_hash     bytea,
    rerun_of         uuid,
    previews         boolean NOT NULL DEFAULT false,
    detail           text,
    progress         real,
    preview_key      text,                        -- object name of the newest unfinished picture
    error            jsonb,
    event_seq        integer NOT NULL DEFAULT 0,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    expires_at       timestamptz,
    UNIQUE (owner_id, idempotency_key)
);
CREATE INDEX jobs_by_owner ON jobs (owner_id, id DESC);
CREATE INDEX jobs_by_tag ON jobs USING gin (tags);
CREATE INDEX jobs_by_prompt ON jobs USING gin (to_tsvector('simple', prompt));
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE state = 'queued' AND expires_at IS NOT NULL;

-- One submission to one endpoint: one step, or several fused. state: waiting ready running -> succeeded failed
-- canceled superseded. Every write of a runner is fenced by `epoch`, which grows with each dispatch.
CREATE TABLE stages (
    id             uuid PRIMARY KEY,
    job_id         uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    owner_id       uuid NOT NULL,
    position       smallint NOT NULL,
    state          text NOT NULL CHECK (state IN
                   ('waiting','ready','running','succeeded','failed','canceled','superseded')),
    endpoint       text NOT NULL,
    steps          jsonb NOT NULL,                -- the bound steps, for planning anew elsewhere
    plan           jsonb NOT NULL,                -- what is submitted; no media
    priority       smallint NOT NULL DEFAULT 0,
    epoch          integer NOT NULL DEFAULT 0,
    worker_id      integer,
    ready_at       timestamptz,
    not_before     timestamptz,                   -- a retry that has to wait
    dispatched_at  timestamptz,
    finished_at    timestamptz,
    UNIQUE (job_id, position)
);
CREATE INDEX stages_ready ON stages (endpoint, priority DESC, ready_at, id) WHERE state = 'ready';
CREATE INDEX stages_running ON stages (endpoint, worker_id) WHERE state = 'running';

-- One try. The row is there before the wire; `id` is the key under which it is submitted.
-- state: submitting running -> succeeded failed canceled lost detached
CREATE TABLE attempts (
    id            uuid PRIMARY KEY,
    stage_id      uuid NOT NULL REFERENCES stages ON DELETE CASCADE,
    number        smallint NOT NULL,
    state         text NOT NULL CHECK (state IN
                  ('submitting','running','succeeded','failed','canceled','lost','detached')),
    endpoint      text NOT NULL,
    ref           jsonb,                          -- the provider's own; carries the endpoint's id
    word          text,                           -- the vendor's word for the last state
    seconds       real,                           -- of execution, as the place reported it
    error         jsonb,
    created_at    timestamptz NOT NULL DEFAULT now(),
    submitted_at  timestamptz,
    finished_at   timestamptz,
    UNIQUE (stage_id, number)
);
CREATE UNIQUE INDEX attempts_open ON attempts (stage_id) WHERE state IN ('submitting', 'running');

-- What watchers are told, in order, per job. Progress ticks are not kept: they go by NOTIFY alone.
CREATE TABLE events (
    job_id  uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    seq     integer NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    kind    text NOT NULL,
    data    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (job_id, seq)
);

-- Bytes, named by their hash. `object` is the name in the store; it differs each time that the bytes come anew,
-- so that deleting old bytes can never hit new ones.
CREATE TABLE blobs (
    sha256      text PRIMARY KEY,
    object      text NOT NULL,
    bytes       bigint NOT NULL,
    media_type  text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- An owner's reference to a blob. Outputs have job_id, step, role, position; uploads have none of them.
CREATE TABLE assets (
    id          uuid PRIMARY KEY,
    owner_id    uuid NOT NULL REFERENCES owners,
    sha256      text NOT NULL REFERENCES blobs,
    role        text NOT NULL,
    name        text NOT NULL DEFAULT '',
    width       integer,
    height      integer,
    seconds     real,
    facts       jsonb NOT NULL DEFAULT '{}',
    prompt      text NOT NULL DEFAULT '',
    tags        text[] NOT NULL DEFAULT '{}',
    job_id      uuid REFERENCES jobs ON DELETE SET NULL,
    step        text,
    position    integer,
    delivered   boolean NOT NULL DEFAULT true,   -- false: only feeds a later stage, or came after a cancel
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (job_id, step, role, position)
);
CREATE INDEX assets_by_owner ON assets (owner_id, id DESC);
CREATE INDEX assets_by_blob ON assets (sha256);
CREATE INDEX assets_by_tag ON assets USING gin (tags);
CREATE INDEX assets_by_fact ON assets USING gin (facts jsonb_path_ops);
CREATE INDEX assets_by_prompt ON assets USING gin (to_tsvector('simple', prompt));

-- Watchers and runners listen on one channel; the payload is small and carries ids, never pictures.
CREATE FUNCTION genyard_tell(kind text, job uuid, rest text) RETURNS void LANGUAGE sql AS $$
    SELECT pg_notify('genyard', kind || ' ' || job || ' ' || rest)
$$;

-- Who goes next: fills the endpoint's free places with ready stages, the most urgent and then the oldest first, and
-- hands each to Procrastinate in the caller's transaction. Capacity is counted from rows: nothing can leak. One at a
-- time per endpoint; the lock is taken and freed within the server, so that no slow client ever holds it for long.
CREATE FUNCTION genyard_dispatch(wanted text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    handed integer;
BEGIN
    PERFORM pg_advisory_xact_lock(72641, hashtext(wanted));
    WITH free AS (
        SELECT greatest(0, capacity - (SELECT count(*) FROM stages WHERE endpoint = wanted AND state = 'running'))
               AS places
        FROM endpoints WHERE name = wanted
    ), next AS (
        SELECT id FROM stages
        WHERE endpoint = wanted AND state = 'ready' AND (not_before IS NULL OR not_before <= now())
        ORDER BY priority DESC, ready_at, id
        LIMIT (SELECT places FROM free)
        FOR UPDATE SKIP LOCKED
    ), started AS (
        UPDATE stages SET state = 'running', epoch = epoch + 1, worker_id = NULL, dispatched_at = now()
        FROM next WHERE stages.id = next.id
        RETURNING stages.id, stages.epoch
    )
    INSERT INTO procrastinate_jobs (queue_name, task_name, args)
    SELECT 'stages', 'run_stage', jsonb_build_object('stage_id', id, 'epoch', epoch) FROM started;
    GET DIAGNOSTICS handed = ROW_COUNT;
    RETURN handed;
END
$$;
