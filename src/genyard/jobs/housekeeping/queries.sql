-- What goes, and what somebody has to look at. The tables and what may go are in 0008_housekeeping.sql.
--
-- Everything goes in small batches, each a transaction of its own: nobody else waits for long.

-- name: due
-- What is to be done now: chores whose time has come, owners that are being deleted, objects that nobody needs.
SELECT p.name FROM jsonb_to_recordset(%(periods)s) AS p(name text, seconds float)
LEFT JOIN chores c USING (name)
WHERE c.done_at IS NULL OR c.done_at <= now() - p.seconds * interval '1 second'
UNION ALL SELECT 'owners' WHERE EXISTS (SELECT FROM owners WHERE deleting_at IS NOT NULL)
UNION ALL SELECT 'objects' WHERE EXISTS (SELECT FROM unwanted_objects WHERE since < now() - interval '5 seconds');

-- name: done
INSERT INTO chores (name) VALUES (%(name)s) ON CONFLICT (name) DO UPDATE SET done_at = now();

-- name: forget_work
-- What an engine that lives had taken and never ran: the answer to its question went with a connection that broke. Its
-- stage has gone on without it, for a minute at least.
DELETE FROM procrastinate_jobs p WHERE p.status = 'doing' AND NOT EXISTS (
    SELECT FROM stages s WHERE s.id = (p.args->>'stage_id')::uuid
      AND (s.epoch = (p.args->>'epoch')::integer AND (s.state = 'running' OR s.worker_id IS NOT NULL)
           OR coalesce(s.finished_at, s.dispatched_at) > now() - interval '1 minute'));

-- ---- owners ----

-- name: mark_owner
-- From the commit on nobody gets in as this owner, and nothing new comes. Again and again is as good as once. Where its
-- keys were the only ones, their going opens no door (`Owners.has_keys`).
WITH marked AS (
    UPDATE owners SET deleting_at = coalesce(deleting_at, now()) WHERE name = %(name)s RETURNING id, name, deleting_at
), keys AS (
    DELETE FROM api_keys USING marked WHERE api_keys.owner_id = marked.id RETURNING 1
), door AS (
    INSERT INTO secrets (name, value) SELECT 'keys were made', '' FROM keys LIMIT 1 ON CONFLICT DO NOTHING
)
SELECT id, name, deleting_at FROM marked;

-- name: owners_to_delete
SELECT id, name, deleting_at FROM owners WHERE deleting_at IS NOT NULL ORDER BY deleting_at;

-- name: left_of_owner
-- `open`: jobs that have not ended. `followed`: runs that go on at a place that cannot stop them; what they cost is not
-- known yet. `movements`, `written`: what stays in the books, and how many of them have a reason that people wrote.
SELECT (SELECT count(*) FROM jobs j WHERE j.owner_id = %(owner_id)s) AS jobs,
       (SELECT count(*) FROM jobs j WHERE j.owner_id = %(owner_id)s
        AND j.state IN ('queued', 'running', 'canceling')) AS open,
       (SELECT count(*) FROM stages s JOIN attempts a ON a.stage_id = s.id WHERE s.owner_id = %(owner_id)s
        AND a.state = 'detached' AND a.finished_at IS NULL) AS followed,
       (SELECT count(*) FROM assets a WHERE a.owner_id = %(owner_id)s) AS assets,
       (SELECT count(*) FROM movements m WHERE m.owner_id = %(owner_id)s) AS movements,
       (SELECT count(*) FROM movements m WHERE m.owner_id = %(owner_id)s AND m.actor <> 'genyard'
        AND m.reason <> '') AS written,
       (SELECT available FROM balances b WHERE b.owner_id = %(owner_id)s) AS credits;

-- name: jobs_to_cancel
-- What waits first: what runs would make room for it.
SELECT id FROM jobs WHERE owner_id = %(owner_id)s AND state IN ('queued', 'running')
ORDER BY state = 'running', id LIMIT %(limit)s;

-- name: give_up_following
-- A run that nobody could follow to its end within a day costs what was held for it.
UPDATE attempts SET finished_at = now(), cost_source = 'estimated', cost_usd = attempts.reserved_usd
FROM stages s JOIN owners o ON o.id = s.owner_id
WHERE s.id = attempts.stage_id AND s.owner_id = %(owner_id)s AND o.deleting_at < now() - interval '1 day'
  AND attempts.state = 'detached' AND attempts.finished_at IS NULL;

-- name: delete_jobs_of_owner
-- Those that have ended, and that nothing is open of. With their stages, attempts, events and callbacks.
WITH due AS (
    SELECT j.id FROM jobs j
    WHERE j.owner_id = %(owner_id)s AND j.state IN ('succeeded', 'failed', 'canceled', 'expired')
      AND NOT EXISTS (SELECT FROM stages s JOIN attempts a ON a.stage_id = s.id WHERE s.job_id = j.id
                      AND a.state = 'detached' AND a.finished_at IS NULL)
    ORDER BY j.id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), asset AS (
    DELETE FROM assets USING due WHERE assets.job_id = due.id RETURNING assets.sha256
), gone AS (
    DELETE FROM jobs USING due WHERE jobs.id = due.id RETURNING jobs.id
)
SELECT (SELECT count(*) FROM gone) AS count, (SELECT array_agg(DISTINCT sha256) FROM asset) AS hashes;

-- name: delete_assets_of_owner
WITH gone AS (
    DELETE FROM assets WHERE id IN (
        SELECT a.id FROM assets a LEFT JOIN jobs j ON j.id = a.job_id
        WHERE a.owner_id = %(owner_id)s AND (j.id IS NULL OR j.state NOT IN ('queued', 'running', 'canceling'))
        LIMIT %(limit)s FOR UPDATE OF a SKIP LOCKED)
    RETURNING sha256
)
SELECT count(*) AS count, array_agg(DISTINCT sha256) AS hashes FROM gone;

-- name: forget_turns
DELETE FROM turns WHERE owner_id = %(owner_id)s;

-- name: forget_preference
UPDATE endpoints SET preferred_owner = NULL WHERE preferred_owner = %(owner_id)s;

-- name: forget_spending
DELETE FROM owner_spending WHERE owner_id = %(owner_id)s;

-- name: delete_owner
-- With its keys, imports and secrets. Fails where something of it is left. The owner of the machine itself stays, empty.
WITH emptied AS (
    UPDATE owners SET deleting_at = NULL, tier = 'standard', daily_budget_usd = NULL, monthly_budget_usd = NULL
    WHERE id = %(owner_id)s AND id = %(local)s RETURNING id
), secrets AS (
    DELETE FROM webhook_secrets USING emptied WHERE owner_id = emptied.id
), gone AS (
    DELETE FROM owners WHERE id = %(owner_id)s AND id <> %(local)s RETURNING id
)
SELECT id FROM emptied UNION ALL SELECT id FROM gone;

-- ---- retention ----

-- name: retire_jobs
-- Records of jobs, a batch by id; outputs that were delivered stay until their own time. `last`: where to go on.
WITH batch AS (
    SELECT j.id, genyard_may_go(j, %(bound)s, %(keep)s) AS may_go FROM jobs j
    WHERE j.id > %(after)s AND j.id < %(bound)s ORDER BY j.id LIMIT %(limit)s
), due AS (
    SELECT j.id FROM jobs j WHERE j.id IN (SELECT b.id FROM batch b WHERE b.may_go) FOR UPDATE SKIP LOCKED
), still AS MATERIALIZED (
    SELECT id FROM due WHERE genyard_job_may_go_now(id, %(bound)s, %(keep)s)
), asset AS (
    DELETE FROM assets USING still WHERE assets.job_id = still.id AND NOT assets.delivered RETURNING assets.sha256
), gone AS (
    DELETE FROM jobs USING still WHERE jobs.id = still.id RETURNING jobs.id
)
SELECT (SELECT count(*) FROM gone) AS count, (SELECT array_agg(DISTINCT sha256) FROM asset) AS hashes,
       (SELECT max(id::text)::uuid FROM batch) AS last;

-- name: retire_assets
-- `outputs`: what jobs made; else what was uploaded.
WITH batch AS (
    SELECT a.id, (a.step IS NOT NULL) = %(outputs)s
           AND genyard_may_go(a, %(bound)s, %(keep)s, %(jobs_bound)s::uuid) AS may_go FROM assets a
    WHERE a.id > %(after)s AND a.id < %(bound)s ORDER BY a.id LIMIT %(limit)s
), due AS (
    SELECT a.id FROM assets a WHERE a.id IN (SELECT b.id FROM batch b WHERE b.may_go) FOR UPDATE SKIP LOCKED
), still AS MATERIALIZED (
    SELECT id FROM due WHERE genyard_asset_may_go_now(id, %(bound)s, %(keep)s, %(jobs_bound)s::uuid)
), gone AS (
    DELETE FROM assets USING still WHERE assets.id = still.id RETURNING assets.sha256
)
SELECT (SELECT count(*) FROM gone) AS count, (SELECT array_agg(DISTINCT sha256) FROM gone) AS hashes,
       (SELECT max(id::text)::uuid FROM batch) AS last;

-- name: retire_events
-- Of jobs that have ended; the last one stays, because it says how. `open`: some of these jobs have not ended.
WITH batch AS (
    SELECT j.id, j.state, j.event_seq FROM jobs j WHERE j.id > %(after)s AND j.id < %(bound)s ORDER BY j.id
    LIMIT %(limit)s
), gone AS (
    DELETE FROM events e USING batch b
    WHERE e.job_id = b.id AND e.seq < b.event_seq AND b.state IN ('succeeded', 'failed', 'canceled', 'expired')
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS count, NULL::text[] AS hashes, (SELECT max(id::text)::uuid FROM batch) AS last,
       (SELECT bool_or(state IN ('queued', 'running', 'canceling')) FROM batch) AS open;

-- name: reached
SELECT reached FROM chores WHERE name = 'events';

-- name: reach
INSERT INTO chores (name, reached) VALUES ('events', %(reached)s)
ON CONFLICT (name) DO UPDATE SET reached = greatest(chores.reached, excluded.reached);

-- name: retire_callbacks
-- Messages that have arrived, or never will.
WITH batch AS (
    SELECT d.id, d.job_id, d.state, d.finished_at FROM deliveries d
    WHERE d.job_id > %(after)s AND d.job_id < %(bound)s ORDER BY d.job_id LIMIT %(limit)s
), gone AS (
    DELETE FROM deliveries d USING batch b
    WHERE d.id = b.id AND b.state IN ('delivered', 'dead') AND b.finished_at < %(before)s
    RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS count, NULL::text[] AS hashes, (SELECT max(job_id::text)::uuid FROM batch) AS last;

-- name: retire_the_rest
-- What serves nobody after a while: sums of spending (budgets look back a month), secrets that are over, starts.
WITH spent AS (
    DELETE FROM spending WHERE day < current_date - 400
), owners_spent AS (
    DELETE FROM owner_spending WHERE day < current_date - 400
), keys AS (
    DELETE FROM webhook_secrets WHERE retires_at < now() - interval '1 day'
)
DELETE FROM starts WHERE at < now() - interval '1 hour';

-- name: would_go
-- What a whole round would take, without taking it. `bytes`: of blobs that nobody else refers to.
WITH job AS (
    SELECT j.id FROM jobs j WHERE j.id < %(jobs)s::uuid AND genyard_may_go(j, %(jobs)s::uuid, %(keep)s)
), asset AS (
    SELECT a.id, a.sha256, a.step IS NULL AS uploaded FROM assets a
    WHERE a.step IS NOT NULL AND (a.id < %(outputs)s::uuid AND genyard_may_go(a, %(outputs)s::uuid, %(keep)s, %(jobs)s::uuid)
                                  OR NOT a.delivered AND a.job_id IN (SELECT id FROM job))
       OR a.step IS NULL AND a.id < %(uploads)s::uuid AND genyard_may_go(a, %(uploads)s::uuid, %(keep)s, %(jobs)s::uuid)
), freed AS (
    SELECT b.bytes, bool_and(asset.uploaded) AS uploaded FROM blobs b JOIN asset USING (sha256)
    WHERE NOT EXISTS (SELECT FROM assets o WHERE o.sha256 = b.sha256 AND o.id NOT IN (SELECT id FROM asset))
    GROUP BY b.sha256, b.bytes
)
SELECT (SELECT count(*) FROM job) AS jobs,
       (SELECT count(*) FROM asset WHERE NOT uploaded) AS outputs,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM freed WHERE NOT uploaded) AS output_bytes,
       (SELECT count(*) FROM asset WHERE uploaded) AS uploads,
       (SELECT coalesce(sum(bytes), 0)::bigint FROM freed WHERE uploaded) AS upload_bytes,
       (SELECT count(*) FROM events e JOIN jobs j ON j.id = e.job_id WHERE j.id < %(events)s::uuid AND e.seq < j.event_seq
        AND j.state IN ('succeeded', 'failed', 'canceled', 'expired')) AS events,
       (SELECT count(*) FROM deliveries WHERE job_id < %(callbacks)s::uuid AND state IN ('delivered', 'dead')
        AND finished_at < %(callbacks_before)s::timestamptz) AS callbacks;

-- ---- the store ----

-- name: unwanted
SELECT object FROM unwanted_objects ORDER BY since LIMIT %(limit)s;

-- name: forget_unwanted
DELETE FROM unwanted_objects WHERE object = ANY(%(objects)s);

-- name: blobs_of
-- Those with these hashes, and all from one hash to another.
SELECT object FROM blobs WHERE sha256 = ANY(%(hashes)s)
UNION SELECT object FROM blobs WHERE sha256 BETWEEN %(first)s AND %(last)s;

-- name: previews
-- Objects of unfinished pictures that are still looked at.
SELECT DISTINCT j.preview_key AS object FROM jobs j JOIN stages s ON s.job_id = j.id
WHERE s.state = 'running' AND j.preview_key IS NOT NULL;

-- ---- alerts ----

-- name: slow_stages
-- Runs by endpoint that have gone on for longer than `seconds`: since the attempt was opened, whatever worker has it.
SELECT s.endpoint, count(*) AS count, (array_agg(s.job_id ORDER BY a.created_at))[1] AS job_id,
       extract(epoch FROM now() - min(a.created_at))::float AS oldest
FROM stages s JOIN attempts a ON a.stage_id = s.id AND a.state IN ('submitting', 'running')
JOIN jsonb_to_recordset(%(limits)s) AS l(endpoint text, seconds float) ON l.endpoint = s.endpoint
WHERE s.state = 'running' AND a.created_at < now() - l.seconds * interval '1 second'
GROUP BY s.endpoint ORDER BY s.endpoint;

-- name: callbacks_now
-- `dead`: of the last day.
SELECT w.waiting, w.oldest, (SELECT count(*) FROM deliveries WHERE state = 'dead'
                             AND finished_at > now() - interval '1 day') AS dead
FROM (SELECT count(*) AS waiting, extract(epoch FROM now() - min(created_at))::float AS oldest
      FROM deliveries WHERE state IN ('waiting', 'sending')) w;

-- name: alert_rows
SELECT code, subject, message, facts, since, told_at FROM alerts ORDER BY code, subject;

-- name: raise_alert
-- `new`: it was not there before.
INSERT INTO alerts (code, subject, message, facts) VALUES (%(code)s, %(subject)s, %(message)s, %(facts)s)
ON CONFLICT (code, subject) DO UPDATE SET message = excluded.message, facts = excluded.facts
RETURNING since, xmax = 0 AS new;

-- name: alerts_over
-- Of these codes.
SELECT code, subject, message, facts, since, told_at FROM alerts a WHERE a.code = ANY(%(codes)s) AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(%(lasting)s) AS l(code text, subject text)
    WHERE l.code = a.code AND l.subject = a.subject);

-- name: end_alert
DELETE FROM alerts WHERE code = %(code)s AND subject = %(subject)s;

-- name: told_alert
UPDATE alerts SET told_at = now() WHERE code = %(code)s AND subject = %(subject)s;
