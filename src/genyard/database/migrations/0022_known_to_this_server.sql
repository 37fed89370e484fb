-- Who has come since the server started holds its lock at this server: without the lock it is dead, however young the
-- server is. Only who was there before gets a moment to come back.

-- As in 0019, but for that.
CREATE OR REPLACE FUNCTION genyard_alive(lease float) RETURNS SETOF integer LANGUAGE sql STABLE AS $$
    SELECT w.id FROM workers w
    WHERE pg_postmaster_start_time() > greatest(now() - interval '5 seconds', w.started_at)
       OR w.beat_at > now() - lease * interval '1 second'
          AND EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$$;
