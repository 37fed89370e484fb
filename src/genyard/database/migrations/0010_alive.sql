-- Who lives, whose hands a stage is in that was handed out and not yet claimed, and what has left.

-- Nothing of it has left yet, for certain: whoever finds the attempt may submit it, also at a place that cannot be asked.
-- Attempts of a version that does not know the column count as gone.
ALTER TABLE attempts ADD COLUMN still_here boolean NOT NULL DEFAULT false;

-- Which of `workers` a worker of the engine belongs to: its connections say so (`SET genyard.worker`).
ALTER TABLE procrastinate_workers ADD COLUMN IF NOT EXISTS genyard_worker integer
    DEFAULT nullif(current_setting('genyard.worker', true), '')::integer;

-- The workers that live. Each holds an advisory lock of its session, which is free the moment that its process dies; a
-- frozen one keeps the lock, and its heart stops. After a restart of the server no locks are left, and those who live
-- need a moment to take theirs again: until then, hearts alone count.
CREATE FUNCTION genyard_alive(lease float) RETURNS SETOF integer LANGUAGE sql STABLE AS $$
    SELECT w.id FROM workers w
    WHERE w.beat_at > now() - lease * interval '1 second'
      AND (pg_postmaster_start_time() > now() - interval '5 seconds'
           OR EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())))
$$;
