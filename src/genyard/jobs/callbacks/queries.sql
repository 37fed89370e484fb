-- Every statement on deliveries and webhook secrets. The tables and the trigger are in 0006_callbacks.sql.
--
-- Claims and results wait for no disk: what a power cut undoes of them is sent again, under the same id.

-- name: take_up_deliveries
-- Those whose sender is gone (its lock is free) or has been silent for too long. Whether they arrived nobody knows.
UPDATE deliveries d SET state = 'waiting', next_at = now(), worker_id = NULL
WHERE d.state = 'sending'
  AND (d.claimed_at < now() - %(lease)s * interval '1 second'
       OR NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264
                      AND l.objid = d.worker_id::oid
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())));

-- name: claim_deliveries
-- What is due, in turn from every host, at most `per_host` and `per_owner` at a time: a slow receiver delays nobody
-- else. A job's messages go in order; one that has failed three times does not hold up those after it any longer.
WITH RECURSIVE unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
hosts AS (
    (SELECT host FROM deliveries WHERE state = 'waiting' ORDER BY host LIMIT 1)
    UNION ALL
    SELECT (SELECT d.host FROM deliveries d WHERE d.state = 'waiting' AND d.host > hosts.host ORDER BY d.host LIMIT 1)
    FROM hosts WHERE hosts.host IS NOT NULL
), due AS MATERIALIZED (
    SELECT found.* FROM hosts CROSS JOIN LATERAL (
        SELECT d.id, d.host, d.owner_id, d.next_at, d.event_seq FROM deliveries d
        WHERE d.state = 'waiting' AND d.host = hosts.host AND d.next_at <= now()
          AND NOT EXISTS (SELECT FROM deliveries e WHERE e.job_id = d.job_id AND e.event_seq < d.event_seq
                          AND e.state IN ('waiting', 'sending') AND e.tries < 3)
        ORDER BY d.next_at, d.event_seq
        LIMIT greatest(0, %(per_host)s - (SELECT count(*) FROM deliveries s
                                          WHERE s.state = 'sending' AND s.host = hosts.host))
        FOR UPDATE SKIP LOCKED) found
), turn AS (
    SELECT id, next_at, row_number() OVER (PARTITION BY host ORDER BY next_at, event_seq) AS of_host,
           row_number() OVER (PARTITION BY owner_id ORDER BY next_at, event_seq)
           + (SELECT count(*) FROM deliveries s WHERE s.state = 'sending' AND s.owner_id = due.owner_id) AS of_owner
    FROM due
), chosen AS (
    SELECT id FROM turn, unhurried WHERE of_owner <= %(per_owner)s ORDER BY of_host, next_at LIMIT %(places)s
)
UPDATE deliveries d SET state = 'sending', tries = d.tries + 1, worker_id = %(worker_id)s, claimed_at = now()
FROM chosen, jobs j
WHERE d.id = chosen.id AND j.id = d.job_id
RETURNING d.id, d.job_id, d.owner_id, d.kind, d.host, d.tries, d.created_at, j.webhook->>'url' AS url, j.trace_id,
          extract(epoch FROM clock_timestamp())::float AS now,
          coalesce((j.webhook->>'prompts')::boolean, false) AS prompts,
          ARRAY(SELECT s.secret FROM webhook_secrets s WHERE s.owner_id = d.owner_id
                AND (s.retires_at IS NULL OR s.retires_at > now()) ORDER BY s.made_at DESC) AS keys;

-- name: finish_delivery
-- Fenced by the number of the try. Not delivered: it comes again after `pause` seconds, for the last time when its day
-- is over; `stop`: never again.
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)),
verdict AS (
    SELECT d.id, CASE WHEN %(delivered)s THEN 'delivered'
                      WHEN %(stop)s OR now() >= d.give_up_at THEN 'dead' ELSE 'waiting' END AS state
    FROM deliveries d, unhurried
    WHERE d.id = %(id)s AND d.state = 'sending' AND d.tries = %(tries)s AND d.worker_id = %(worker_id)s FOR UPDATE OF d
)
UPDATE deliveries d SET state = verdict.state, worker_id = NULL, status = %(status)s, error = %(error)s,
       next_at = CASE verdict.state WHEN 'waiting'
                 THEN least(now() + %(pause)s * interval '1 second', d.give_up_at) END,
       finished_at = CASE WHEN verdict.state <> 'waiting' THEN now() END
FROM verdict WHERE d.id = verdict.id
RETURNING d.state;

-- name: stop_webhook
-- The receiver is gone for good (410): nothing more is sent for this job. Fenced; before `finish_delivery`, or the next
-- message would leave in between. Whoever changes a job and its deliveries takes the job first.
UPDATE jobs SET webhook = webhook || '{"gone": true}'
WHERE id = %(job_id)s AND webhook IS NOT NULL
  AND EXISTS (SELECT FROM deliveries f WHERE f.id = %(id)s AND f.state = 'sending' AND f.tries = %(tries)s
              AND f.worker_id = %(worker_id)s)
RETURNING id;

-- name: drop_waiting
-- After `stop_webhook`, in its transaction, as a statement of its own: it sees what was written while that one waited.
UPDATE deliveries SET state = 'dead', next_at = NULL, finished_at = now(), error = %(error)s
WHERE job_id = %(job_id)s AND state = 'waiting';

-- name: list_deliveries
-- Newest first, those before the given one.
SELECT id, job_id, kind, host, state, tries, status, error, created_at, next_at, finished_at FROM deliveries
WHERE owner_id = %(owner_id)s
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(job_id)s::uuid IS NULL OR job_id = %(job_id)s)
  AND (%(before)s::uuid IS NULL
       OR (created_at, id) < (SELECT b.created_at, b.id FROM deliveries b WHERE b.id = %(before)s
                              AND b.owner_id = %(owner_id)s))
ORDER BY created_at DESC, id DESC LIMIT %(limit)s;

-- name: resend_delivery
-- Now, and for another day, under the same id. One that is being sent goes on as it is.
WITH job AS MATERIALIZED (
    SELECT j.id FROM jobs j JOIN deliveries d ON d.job_id = j.id
    WHERE d.id = %(id)s AND d.owner_id = %(owner_id)s FOR NO KEY UPDATE OF j
), again AS (
    UPDATE deliveries d SET state = 'waiting', next_at = now(), tries = 0, give_up_at = now() + interval '1 day',
           finished_at = NULL
    FROM job WHERE d.job_id = job.id AND d.id = %(id)s AND d.state <> 'sending'
    RETURNING d.*
), hook AS (
    UPDATE jobs SET webhook = webhook - 'gone' FROM again WHERE jobs.id = again.job_id AND jobs.webhook ? 'gone'
), told AS (
    SELECT genyard_tell('callback', '00000000-0000-0000-0000-000000000000', '') FROM again
)
SELECT id, job_id, kind, host, state, tries, status, error, created_at, next_at, finished_at,
       (SELECT count(*) FROM told) AS told
FROM (SELECT * FROM again UNION ALL
      SELECT * FROM deliveries WHERE id = %(id)s AND owner_id = %(owner_id)s AND state = 'sending') AS found;

-- name: make_secret
-- An owner's first secret. Whoever comes second gets no row.
INSERT INTO webhook_secrets (owner_id, secret, shown_at)
VALUES (%(owner_id)s, %(secret)s, CASE WHEN %(shown)s THEN now() END)
ON CONFLICT (owner_id) WHERE retires_at IS NULL DO NOTHING RETURNING secret;

-- name: current_secret
SELECT secret FROM webhook_secrets WHERE owner_id = %(owner_id)s AND retires_at IS NULL;

-- name: show_secret
-- Once.
UPDATE webhook_secrets SET shown_at = now()
WHERE owner_id = %(owner_id)s AND retires_at IS NULL AND shown_at IS NULL RETURNING secret;

-- name: retire_secret
UPDATE webhook_secrets SET retires_at = now() + %(overlap)s * interval '1 second'
WHERE owner_id = %(owner_id)s AND retires_at IS NULL;
