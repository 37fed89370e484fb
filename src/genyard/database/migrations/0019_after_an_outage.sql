-- After an outage of the database everybody comes back, not only whoever sweeps first.

-- The workers that live. Each holds an advisory lock of its session, which is free the moment that its process dies; a
-- frozen one keeps the lock, and its heart stops. A server that has just been started holds nobody's lock, and nobody could
-- beat while it was away: until those who live had a moment to come back, all count as alive.
CREATE OR REPLACE FUNCTION genyard_alive(lease float) RETURNS SETOF integer LANGUAGE sql STABLE AS $$
    SELECT w.id FROM workers w
    WHERE pg_postmaster_start_time() > now() - interval '5 seconds'
       OR w.beat_at > now() - lease * interval '1 second'
          AND EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
$$;
