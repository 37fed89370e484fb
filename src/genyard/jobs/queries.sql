-- Every statement on jobs, stages, attempts, events, blobs and assets. Read with `load_queries`.
--
-- Statements that must survive a power cut (accept, claim, finish) send no NOTIFY: PostgreSQL commits those with a
-- NOTIFY one after the other, each waiting for the disk alone. `go_on` follows as a transaction that
-- waits for no disk; what a crash undoes of it, the next sweep does, and watchers look by themselves now and then.

-- name: insert_job
-- A job with its stages (the first one ready) and its first event. No row when the idempotency key is taken.
WITH job AS (
    INSERT INTO jobs (id, owner_id, state, request, operation, prompt, tags, trace_id, priority, idempotency_key,
                      request_hash, rerun_of, previews, embed_prompt, expires_at, event_seq, credits, credit_terms,
                      webhook, policy, grace, watched_until)
    VALUES (%(id)s, %(owner_id)s, 'queued', %(request)s, %(operation)s, %(prompt)s, %(tags)s, %(trace_id)s,
            %(priority)s, %(idempotency_key)s, %(request_hash)s, %(rerun_of)s, %(previews)s, %(embed_prompt)s,
            now() + %(expires_in)s::float * interval '1 second', 1, %(credits)s, %(credit_terms)s, %(webhook)s,
            %(policy)s, %(grace)s::float, now() + %(grace)s::float * interval '1 second')
    ON CONFLICT (owner_id, idempotency_key) DO NOTHING
    RETURNING *
), stage AS (
    INSERT INTO stages (id, job_id, owner_id, position, state, endpoint, model, steps, plan, priority, ready_at,
                        reserved_usd, rebuys)
    SELECT (s->>'id')::uuid, job.id, job.owner_id, n - 1, CASE n WHEN 1 THEN 'ready' ELSE 'waiting' END,
           s->>'endpoint', s->>'model', s->'steps', s->'plan', job.urgency, CASE n WHEN 1 THEN now() END,
           (s->>'reserved_usd')::numeric, coalesce((s->>'rebuys')::boolean, false)
    FROM job, jsonb_array_elements(%(stages)s) WITH ORDINALITY AS given(s, n)
), event AS (
    INSERT INTO events (job_id, seq, kind) SELECT id, 1, 'queued' FROM job
)
SELECT id, owner_id, state, request, operation, prompt, tags, trace_id, priority, rerun_of, previews,
       embed_prompt, detail, progress, preview_key, error, event_seq, created_at, started_at, finished_at, expires_at,
       webhook, policy, grace,
       CASE WHEN credits IS NOT NULL THEN
           jsonb_build_object('price', credits, 'reserved', credits, 'charged', 0, 'refunded', 0) END AS credits
FROM job;

-- name: reserve
-- Before `insert_job`, in its transaction: raises GY001 where an endpoint's cap has no room, GY004 where the
-- owner's budget has none.
WITH places AS MATERIALIZED (
    SELECT genyard_reserve(endpoint, amount)::text, amount FROM (
        SELECT endpoint, sum(amount) AS amount
        FROM jsonb_to_recordset(%(amounts)s) AS a(endpoint text, amount numeric)
        GROUP BY endpoint ORDER BY endpoint) AS wanted
), together AS MATERIALIZED (SELECT sum(amount) AS amount FROM places)
SELECT genyard_reserve_budget(%(owner_id)s, amount, %(daily_usd)s::numeric, %(monthly_usd)s::numeric) FROM together;

-- name: spending
SELECT name AS endpoint, genyard_spent(name)::float AS usd, daily_cap_usd::float AS cap,
       CASE WHEN monthly_cap_usd IS NOT NULL
       THEN genyard_spent_since(name, date_trunc('month', genyard_today()::timestamp)::date)::float END AS month_usd,
       monthly_cap_usd::float AS month_cap
FROM endpoints
WHERE daily_cap_usd IS NOT NULL ORDER BY name;

-- name: find_by_idempotency_key
SELECT id, request_hash FROM jobs WHERE owner_id = %(owner_id)s AND idempotency_key = %(idempotency_key)s;

-- name: go_on
-- After commits: watchers are told, free places of these endpoints are filled. Nobody waits for the disk.
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
SELECT (SELECT count(genyard_tell('event', job_id, seq || ' ' || kind)::text)
        FROM unnest(%(job_ids)s::uuid[], %(seqs)s::integer[], %(kinds)s::text[]) AS t(job_id, seq, kind)) AS told,
       (SELECT genyard_tell('callback', '00000000-0000-0000-0000-000000000000', '') FROM deliveries
        WHERE job_id = ANY(%(job_ids)s::uuid[]) AND state = 'waiting' LIMIT 1) AS called,
       (SELECT sum(genyard_dispatch(endpoint)) FROM unnest(%(endpoints)s::text[]) AS endpoint) AS dispatched
FROM unhurried;

-- name: claim_stage
-- A runner takes a dispatched stage: the fence (epoch) must hold. The job starts if it has not. An attempt is
-- opened under the given key unless one is open already (then a former runner died) or the job is not to run.
WITH stage AS (
    UPDATE stages SET worker_id = %(worker_id)s
    WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state = 'running'
    RETURNING id, job_id, endpoint, plan, position, reserved_usd, rebuys
), job AS (
    UPDATE jobs SET state = 'running', started_at = now(), event_seq = event_seq + 1
    FROM stage WHERE jobs.id = stage.job_id AND jobs.state = 'queued'
      AND (jobs.expires_at IS NULL OR jobs.expires_at > now())
    RETURNING jobs.id, jobs.event_seq
), event AS (
    INSERT INTO events (job_id, seq, kind) SELECT id, event_seq, 'running' FROM job
), tried AS (
    SELECT a.* FROM attempts a JOIN stage ON a.stage_id = stage.id
), opened AS (
    INSERT INTO attempts (id, stage_id, number, state, endpoint, reserved_usd, still_here)
    SELECT %(key)s, stage.id, 1 + (SELECT count(*) FROM tried), 'submitting', stage.endpoint, stage.reserved_usd, true
    FROM stage JOIN jobs before ON before.id = stage.job_id
    WHERE NOT EXISTS (SELECT FROM tried WHERE state IN ('submitting', 'running'))
      AND (before.state = 'running' OR EXISTS (SELECT FROM job))
    RETURNING id, number
)
SELECT stage.id AS stage_id, stage.job_id, stage.endpoint, stage.plan, stage.position,
       jobs.owner_id, jobs.state AS job_state, jobs.trace_id, jobs.prompt, jobs.tags, jobs.previews,
       jobs.expires_at IS NOT NULL AND jobs.expires_at <= now() AND jobs.state = 'queued' AS expired,
       open.id AS open_key, open.ref AS open_ref, open.number AS open_number, open.still_here AS open_here,
       opened.id AS new_key, opened.number AS new_number,
       extract(epoch FROM now() - open.began_at)::float AS ran, stage.rebuys,
       (SELECT count(*) FROM tried WHERE finished_at IS NOT NULL AND (submitted_at IS NOT NULL OR state = 'lost'))
           AS bought,
       (SELECT event_seq FROM job) AS started_seq
FROM stage JOIN jobs ON jobs.id = stage.job_id
LEFT JOIN tried open ON open.state IN ('submitting', 'running')
LEFT JOIN opened ON true;

-- name: claim_detached
-- A runner takes a stage whose job was canceled, and whose attempt goes on at a place that could not be stopped.
WITH stage AS (
    UPDATE stages SET worker_id = %(worker_id)s
    FROM attempts a
    WHERE stages.id = %(stage_id)s AND stages.epoch = %(epoch)s AND stages.state = 'canceled'
      AND a.stage_id = stages.id AND a.state = 'detached' AND a.finished_at IS NULL
    RETURNING stages.id, stages.job_id, stages.endpoint, stages.plan, stages.position, a.id AS key, a.number, a.ref,
              a.began_at
)
SELECT stage.id AS stage_id, stage.job_id, stage.endpoint, stage.plan, stage.position,
       jobs.owner_id, jobs.state AS job_state, jobs.trace_id, jobs.prompt, jobs.tags, jobs.previews, false AS expired,
       stage.key AS open_key, stage.ref AS open_ref, stage.number AS open_number, false AS open_here,
       NULL::uuid AS new_key, NULL::integer AS new_number, NULL::integer AS started_seq,
       extract(epoch FROM now() - stage.began_at)::float AS ran, false AS rebuys, 0 AS bought
FROM stage JOIN jobs ON jobs.id = stage.job_id;

-- name: leave
-- From here on the submission may have left. Fenced: a runner that was frozen meanwhile buys nothing. Where the place cannot
-- be asked for our key, it is written for certain before the wire.
WITH hurry AS MATERIALIZED (
    SELECT set_config('synchronous_commit', CASE WHEN %(durable)s THEN 'on' ELSE 'off' END, true)
)
UPDATE attempts SET still_here = false
FROM stages, hurry
WHERE attempts.id = %(key)s AND attempts.state = 'submitting'
  AND stages.id = attempts.stage_id AND stages.epoch = %(epoch)s AND stages.state = 'running'
RETURNING attempts.id;

-- name: record_ref
-- The place accepted the submission. Fenced. Where the place can be asked for our key, a crash of the database
-- that loses this row costs a question, not a run: then nobody waits for the disk.
WITH hurry AS MATERIALIZED (
    SELECT set_config('synchronous_commit', CASE WHEN %(durable)s THEN 'on' ELSE 'off' END, true)
)
UPDATE attempts SET ref = %(ref)s, state = 'running', submitted_at = now()
FROM stages, hurry
WHERE attempts.id = %(key)s AND attempts.state IN ('submitting', 'running')
  AND stages.id = attempts.stage_id AND stages.epoch = %(epoch)s AND stages.state = 'running'
RETURNING attempts.id, CASE WHEN %(started_seq)s::integer IS NOT NULL
    THEN genyard_tell('event', stages.job_id, %(started_seq)s::integer || ' running') END AS told;

-- name: record_progress
-- Throttled by the runner. Watchers hear of it by NOTIFY; the row is for whoever asks later. Losing the last of
-- them in a crash does not matter, so nobody waits for the disk. `ran`: seconds since it was first seen running, once.
WITH unhurried AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), began AS (
    UPDATE attempts SET began_at = now() - %(ran)s::float * interval '1 second' FROM stages
    WHERE %(ran)s::float IS NOT NULL AND attempts.id = %(key)s AND attempts.began_at IS NULL
      AND stages.id = attempts.stage_id AND stages.epoch = %(epoch)s AND stages.state = 'running'
)
UPDATE jobs SET progress = %(progress)s, detail = %(detail)s, preview_key = coalesce(%(preview_key)s, preview_key)
FROM stages, unhurried
WHERE stages.id = %(stage_id)s AND stages.epoch = %(epoch)s AND stages.state = 'running'
  AND jobs.id = stages.job_id AND jobs.state IN ('running', 'canceling')
RETURNING genyard_tell('progress', jobs.id, %(told)s);

-- name: finish_stage
-- Success. In one statement: the stage, its attempt, its outputs, then the next stage or the end of the job.
-- A job that is being canceled ends as canceled: the outputs are kept, but not delivered.
WITH stage AS (
    UPDATE stages SET state = 'succeeded', finished_at = now(), worker_id = NULL
    WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state = 'running'
    RETURNING id, job_id, position, owner_id
), attempt AS (
    UPDATE attempts SET state = 'succeeded', finished_at = now(), word = %(word)s, seconds = %(seconds)s,
           seconds_source = %(seconds_source)s, waited = %(waited)s, cost_usd = %(cost_usd)s, cost_source = %(cost_source)s
    FROM stage WHERE attempts.stage_id = stage.id AND attempts.id = %(key)s
), given AS (
    SELECT * FROM jsonb_to_recordset(%(outputs)s) AS o(
        id uuid, sha256 text, object text, bytes bigint, media_type text, role text, step text, position integer,
        name text, width integer, height integer, seconds real, facts jsonb, delivered boolean)
), blob AS (
    INSERT INTO blobs (sha256, object, bytes, media_type)
    SELECT DISTINCT ON (sha256) sha256, object, bytes, media_type FROM given, stage
    ON CONFLICT (sha256) DO UPDATE SET bytes = excluded.bytes
    RETURNING sha256, object
), before AS (
    SELECT jobs.id, jobs.state, jobs.prompt, jobs.tags FROM jobs JOIN stage ON jobs.id = stage.job_id
    FOR UPDATE OF jobs
), asset AS (
    INSERT INTO assets (id, owner_id, sha256, role, name, width, height, seconds, facts, prompt, tags, job_id, step,
                        position, delivered)
    SELECT given.id, stage.owner_id, given.sha256, given.role, given.name, given.width, given.height, given.seconds,
           given.facts, before.prompt, before.tags, stage.job_id, given.step, given.position,
           given.delivered AND before.state = 'running'
    FROM given, stage, before
), next AS (
    UPDATE stages SET state = CASE before.state WHEN 'running' THEN 'ready' ELSE 'canceled' END, ready_at = now()
    FROM stage, before
    WHERE stages.job_id = stage.job_id AND stages.position = stage.position + 1 AND stages.state = 'waiting'
    RETURNING stages.endpoint
), job AS (
    UPDATE jobs SET state = CASE before.state WHEN 'running' THEN 'succeeded' ELSE 'canceled' END,
           finished_at = now(), detail = NULL, preview_key = NULL, event_seq = event_seq + 1,
           progress = CASE before.state WHEN 'running' THEN 1 ELSE progress END,
           error = CASE before.state WHEN 'canceling' THEN cancel_error END
    FROM before
    WHERE jobs.id = before.id AND before.state IN ('running', 'canceling')
      AND (before.state = 'canceling' OR NOT EXISTS (SELECT FROM next))
    RETURNING jobs.id, jobs.state, jobs.event_seq, jobs.error
), event AS (
    INSERT INTO events (job_id, seq, kind, data)
    SELECT id, event_seq, state, CASE WHEN error IS NULL THEN '{}' ELSE jsonb_build_object('error', error) END FROM job
)
SELECT stage.job_id, (SELECT endpoint FROM next) AS next_endpoint,
       (SELECT state FROM job) AS kind, (SELECT event_seq FROM job) AS event_seq,
       (SELECT jsonb_object_agg(sha256, object) FROM blob) AS objects
FROM stage;

-- name: end_job
-- The job ends otherwise than by success, and everything open of it with it. `attempt_state` is for the attempt of
-- the stage that ends it; a waiting or ready stage is canceled. Fenced by the stage's epoch. A detached attempt goes on
-- at its place: it stays with its runner until it is known what it cost.
WITH stage AS (
    UPDATE stages SET state = %(stage_state)s, finished_at = now(),
           worker_id = CASE WHEN %(attempt_state)s = 'detached' THEN worker_id END
    WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state = 'running'
    RETURNING id, job_id
), attempt AS (
    UPDATE attempts SET state = %(attempt_state)s, error = %(error)s, word = %(word)s, seconds = %(seconds)s,
           seconds_source = %(seconds_source)s, waited = %(waited)s, cost_usd = %(cost_usd)s, cost_source = %(cost_source)s,
           finished_at = CASE WHEN %(attempt_state)s = 'detached' THEN NULL ELSE now() END
    FROM stage WHERE attempts.stage_id = stage.id AND attempts.state IN ('submitting', 'running')
), others AS (
    UPDATE stages SET state = 'canceled', finished_at = now() FROM stage
    WHERE stages.job_id = stage.job_id AND stages.state IN ('waiting', 'ready')
), job AS (
    UPDATE jobs SET state = CASE WHEN state = 'canceling' THEN 'canceled' ELSE %(job_state)s END,
           error = CASE WHEN state = 'canceling' THEN coalesce(cancel_error, %(error)s::jsonb) ELSE %(error)s::jsonb END,
           finished_at = now(), detail = NULL, preview_key = NULL, event_seq = event_seq + 1
    FROM stage WHERE jobs.id = stage.job_id AND jobs.state IN ('queued', 'running', 'canceling')
    RETURNING jobs.id, jobs.state, jobs.event_seq, jobs.error
), event AS (
    INSERT INTO events (job_id, seq, kind, data)
    SELECT id, event_seq, state, coalesce(jsonb_build_object('error', error), '{}') FROM job
)
SELECT id AS job_id, state AS kind, event_seq FROM job;

-- name: finish_detached
-- What a detached attempt cost, and what it made: kept for its owner, delivered to nobody. Fenced.
WITH stage AS (
    UPDATE stages SET worker_id = NULL
    WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state = 'canceled'
    RETURNING id, job_id, owner_id
), attempt AS (
    UPDATE attempts SET finished_at = now(), word = %(word)s, seconds = %(seconds)s,
           seconds_source = %(seconds_source)s, waited = %(waited)s,
           cost_usd = %(cost_usd)s, cost_source = %(cost_source)s
    FROM stage
    WHERE attempts.stage_id = stage.id AND attempts.id = %(key)s AND attempts.state = 'detached'
      AND attempts.finished_at IS NULL
    RETURNING attempts.id
), given AS (
    SELECT o.* FROM jsonb_to_recordset(%(outputs)s) AS o(
        id uuid, sha256 text, object text, bytes bigint, media_type text, role text, step text, position integer,
        name text, width integer, height integer, seconds real, facts jsonb, delivered boolean), attempt
), blob AS (
    INSERT INTO blobs (sha256, object, bytes, media_type)
    SELECT DISTINCT ON (sha256) sha256, object, bytes, media_type FROM given
    ON CONFLICT (sha256) DO UPDATE SET bytes = excluded.bytes
    RETURNING sha256, object
), asset AS (
    INSERT INTO assets (id, owner_id, sha256, role, name, width, height, seconds, facts, job_id, step, position,
                        delivered)
    SELECT given.id, stage.owner_id, given.sha256, given.role, given.name, given.width, given.height, given.seconds,
           given.facts, stage.job_id, given.step, given.position, false
    FROM given, stage
)
SELECT attempt.id, (SELECT jsonb_object_agg(sha256, object) FROM blob) AS objects FROM attempt;

-- name: wake_attempt
-- A place says that something happened to a submission: whoever drives it looks now.
SELECT genyard_tell('wake', stages.job_id, '') FROM attempts JOIN stages ON stages.id = attempts.stage_id
WHERE attempts.id = %(key)s AND attempts.endpoint = %(endpoint)s AND attempts.finished_at IS NULL;

-- name: retry_stage
-- The attempt is over, the stage may be tried again after a while. Not for a job that is being canceled: a cancel that
-- comes at this moment is waited for, or finds the stage waiting.
WITH mine AS (
    SELECT id, job_id FROM stages WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state = 'running' FOR UPDATE
), wanted AS (
    SELECT jobs.id FROM jobs JOIN mine ON jobs.id = mine.job_id WHERE jobs.state = 'running' FOR UPDATE OF jobs
), stage AS (
    UPDATE stages SET state = 'ready', worker_id = NULL, ready_at = now(),
           not_before = now() + %(seconds_until)s * interval '1 second'
    FROM wanted WHERE stages.id = %(stage_id)s AND stages.job_id = wanted.id
    RETURNING stages.id, stages.job_id
), attempt AS (
    UPDATE attempts SET state = %(attempt_state)s, finished_at = now(), error = %(error)s, word = %(word)s,
           seconds = %(seconds)s,
           seconds_source = %(seconds_source)s, waited = %(waited)s, cost_usd = %(cost_usd)s, cost_source = %(cost_source)s
    FROM stage WHERE attempts.stage_id = stage.id AND attempts.state IN ('submitting', 'running')
), job AS (
    UPDATE jobs SET detail = %(detail)s, event_seq = event_seq + 1
    FROM stage WHERE jobs.id = stage.job_id
    RETURNING jobs.id, jobs.event_seq
), event AS (
    INSERT INTO events (job_id, seq, kind, data)
    SELECT id, event_seq, 'retrying', jsonb_build_object('error', %(error)s::jsonb) FROM job
)
SELECT id AS job_id, 'retrying' AS kind, event_seq FROM job;

-- name: cancel_job
-- Queued: ends at once, nothing was ever submitted. Running: the runner is woken and ends it. `abandoned`: only if nobody
-- watches it.
WITH before AS (
    SELECT id, state FROM jobs WHERE id = %(job_id)s AND owner_id = %(owner_id)s
      AND (NOT %(abandoned)s OR watched_until < now()) FOR UPDATE
), job AS (
    UPDATE jobs SET event_seq = event_seq + 1,
           state = CASE before.state WHEN 'queued' THEN 'canceled' ELSE 'canceling' END,
           finished_at = CASE before.state WHEN 'queued' THEN now() END,
           error = CASE before.state WHEN 'queued' THEN %(early)s::jsonb END,
           cancel_error = CASE before.state WHEN 'running' THEN %(late)s::jsonb END
    FROM before WHERE jobs.id = before.id AND before.state IN ('queued', 'running')
    RETURNING jobs.id, jobs.state, jobs.event_seq
), stage AS (
    UPDATE stages SET state = 'canceled', finished_at = now()
    FROM job WHERE stages.job_id = job.id
      AND (stages.state IN ('waiting', 'ready') AND job.state = 'canceled' OR stages.state = 'waiting')
), event AS (
    INSERT INTO events (job_id, seq, kind) SELECT id, event_seq, state FROM job
)
SELECT before.id, before.state AS was, job.state AS is,
       (SELECT genyard_tell('event', id, event_seq || ' ' || state) FROM job) AS told,
       (SELECT genyard_tell('cancel', id, '') FROM job WHERE state = 'canceling') AS woken
FROM before LEFT JOIN job ON true;

-- name: cancel_between_attempts
-- A job that is being canceled while its stage waits for the next try has no runner: it ends here.
WITH stage AS (
    UPDATE stages SET state = 'canceled', finished_at = now()
    FROM jobs WHERE jobs.id = %(job_id)s AND jobs.state = 'canceling'
      AND stages.job_id = jobs.id AND stages.state = 'ready'
    RETURNING stages.job_id
), job AS (
    UPDATE jobs SET state = 'canceled', finished_at = now(), error = cancel_error, event_seq = event_seq + 1,
           detail = NULL, preview_key = NULL
    FROM stage WHERE jobs.id = stage.job_id
    RETURNING jobs.id, jobs.event_seq
), event AS (
    INSERT INTO events (job_id, seq, kind) SELECT id, event_seq, 'canceled' FROM job
)
SELECT id, genyard_tell('event', id, event_seq || ' canceled') FROM job;

-- name: abandoned_jobs
-- Which nobody has watched for their grace, and which are to be canceled then. While the database was away nobody could
-- say that he watches.
SELECT id, owner_id FROM jobs
WHERE watched_until IS NOT NULL AND state IN ('queued', 'running') AND watched_until < now()
  AND pg_postmaster_start_time() < now() - grace * interval '1 second' LIMIT 1000;

-- name: watch_job
-- Somebody watches: the job is not abandoned for its grace from now on. No row for one that goes on by itself.
UPDATE jobs SET watched_until = now() + grace * interval '1 second'
WHERE id = %(job_id)s AND grace IS NOT NULL AND state IN ('queued', 'running')
RETURNING grace;

-- name: expire_jobs
-- Queued jobs whose deadline has passed. They were never submitted.
WITH job AS (
    UPDATE jobs SET state = 'expired', finished_at = now(), error = %(error)s, event_seq = event_seq + 1
    WHERE state = 'queued' AND expires_at <= now()
    RETURNING id, event_seq
), stage AS (
    UPDATE stages SET state = 'canceled', finished_at = now() FROM job
    WHERE stages.job_id = job.id AND stages.state IN ('waiting', 'ready')
), event AS (
    INSERT INTO events (job_id, seq, kind) SELECT id, event_seq, 'expired' FROM job
)
SELECT id, genyard_tell('event', id, event_seq || ' expired') FROM job;

-- name: take_up
-- Stages whose runner is gone (its lock is free, or its heart has not beaten for the lease), whose worker died between
-- taking and claiming them, or that were handed to Procrastinate and never claimed. They get a new epoch, so that a former
-- runner that wakes can change nothing.
--
-- One whose worker crashed within a minute is suspected of it: from its second crash on, ever fewer of the suspects run
-- at the same time, so that the innocent ones get away from the one that kills; who has crashed `most` workers ends.
WITH alive AS MATERIALIZED (
    SELECT genyard_alive(%(lease)s) AS id UNION SELECT me FROM (VALUES (%(me)s::integer)) AS asks(me) WHERE me IS NOT NULL
), dropped AS MATERIALIZED (
    SELECT (p.args->>'stage_id')::uuid AS stage_id, (p.args->>'epoch')::integer AS epoch
    FROM procrastinate_workers e JOIN procrastinate_jobs p ON p.worker_id = e.id AND p.status = 'doing'
    WHERE e.genyard_worker NOT IN (SELECT id FROM alive)
), orphan AS (
    SELECT s.id, s.job_id, s.dispatched_at, 'running' AS was,
           s.crashes + (SELECT count(*) FROM workers w WHERE w.id = s.worker_id
                        AND w.beat_at < s.dispatched_at + interval '1 minute')::smallint AS crashes
    FROM stages s
    WHERE s.state = 'running'
      AND (s.worker_id IS NOT NULL AND s.worker_id NOT IN (SELECT id FROM alive)
           OR s.worker_id IS NULL AND EXISTS (SELECT FROM dropped d WHERE (d.stage_id, d.epoch) = (s.id, s.epoch))
           OR s.worker_id IS NULL AND s.dispatched_at < now() - interval '5 seconds'
              AND NOT EXISTS (SELECT FROM procrastinate_jobs p WHERE p.args->>'stage_id' = s.id::text
                              AND (p.args->>'epoch')::integer = s.epoch AND p.status = 'todo'))
    FOR UPDATE OF s SKIP LOCKED
), unfinished AS (
    SELECT s.id, s.job_id, s.dispatched_at, 'detached' AS was,
           s.crashes + (SELECT count(*) FROM workers w WHERE w.id = s.worker_id
                        AND w.beat_at < s.dispatched_at + interval '1 minute')::smallint AS crashes
    FROM stages s JOIN attempts a ON a.stage_id = s.id
    WHERE a.state = 'detached' AND a.finished_at IS NULL
      AND (s.worker_id IS NOT NULL AND s.worker_id NOT IN (SELECT id FROM alive)
           OR s.worker_id IS NULL AND EXISTS (SELECT FROM dropped d WHERE (d.stage_id, d.epoch) = (s.id, s.epoch))
           OR s.worker_id IS NULL AND s.dispatched_at < now() - interval '5 seconds')
    FOR UPDATE OF s SKIP LOCKED
), left_behind AS (
    SELECT * FROM orphan UNION ALL SELECT * FROM unfinished
), busy AS (
    SELECT count(*) AS n, max(crashes) AS crashes FROM stages
    WHERE state = 'running' AND crashes >= 2 AND id NOT IN (SELECT id FROM left_behind)
), allowed AS (
    SELECT id, crashes, crashes < 2 OR (SELECT n FROM busy)
           + row_number() OVER (ORDER BY crashes DESC, dispatched_at, id)
           <= CASE greatest(max(crashes) OVER (), (SELECT crashes FROM busy)) WHEN 2 THEN 32 WHEN 3 THEN 8 ELSE 1 END
           AS now
    FROM left_behind WHERE crashes < %(most)s
), again AS (
    UPDATE stages SET epoch = epoch + 1, worker_id = NULL, dispatched_at = now(), crashes = allowed.crashes
    FROM allowed WHERE stages.id = allowed.id AND allowed.now
    RETURNING stages.id, stages.epoch
), handed AS (
    INSERT INTO procrastinate_jobs (queue_name, task_name, args)
    SELECT 'stages', 'run_stage', jsonb_build_object('stage_id', id, 'epoch', epoch) FROM again
), poisoned AS (
    UPDATE stages SET state = CASE was WHEN 'running' THEN 'failed' ELSE stages.state END, epoch = epoch + 1,
           worker_id = NULL, finished_at = coalesce(finished_at, now()), crashes = left_behind.crashes
    FROM left_behind WHERE stages.id = left_behind.id AND left_behind.crashes >= %(most)s
    RETURNING stages.id, stages.job_id, was
), attempt AS (
    UPDATE attempts SET finished_at = now(), error = %(error)s,
           state = CASE attempts.state WHEN 'detached' THEN 'detached' ELSE 'lost' END
    FROM poisoned WHERE attempts.stage_id = poisoned.id
      AND (attempts.state IN ('submitting', 'running') OR attempts.state = 'detached' AND attempts.finished_at IS NULL)
), others AS (
    UPDATE stages SET state = 'canceled', finished_at = now() FROM poisoned
    WHERE stages.job_id = poisoned.job_id AND stages.state IN ('waiting', 'ready') AND poisoned.was = 'running'
), job AS (
    UPDATE jobs SET state = CASE state WHEN 'canceling' THEN 'canceled' ELSE 'failed' END,
           error = CASE WHEN state = 'canceling' THEN coalesce(cancel_error, %(error)s::jsonb) ELSE %(error)s::jsonb END,
           finished_at = now(), detail = NULL, preview_key = NULL, event_seq = event_seq + 1
    FROM poisoned WHERE jobs.id = poisoned.job_id AND poisoned.was = 'running'
      AND jobs.state IN ('queued', 'running', 'canceling')
    RETURNING jobs.id, jobs.state, jobs.event_seq, jobs.error
), event AS (
    INSERT INTO events (job_id, seq, kind, data)
    SELECT id, event_seq, state, jsonb_build_object('error', error) FROM job
)
SELECT id, genyard_tell('event', id, event_seq || ' ' || state) FROM job;

-- name: hand_back
-- A runner that cannot go on (the database broke off) gives its stage to whoever sweeps next. Unless another worker has
-- it: a crash of the database may undo a dispatch that nobody had claimed, and its epoch come again.
UPDATE stages SET worker_id = NULL, dispatched_at = now() - interval '1 minute'
WHERE id = %(stage_id)s AND epoch = %(epoch)s AND state IN ('running', 'canceled')
  AND (worker_id IS NULL OR worker_id = %(worker_id)s)
RETURNING id;

-- name: hand_on
-- Runners that are stopped in order give their stages to whoever is there, at once. An attempt of which nothing has left
-- (`unsent`, its key) is as if it had never been: at a place that cannot be asked it would count as lost.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(given)s) AS g(stage_id uuid, epoch integer, worker_id integer, unsent uuid)
), stage AS (
    UPDATE stages SET epoch = stages.epoch + 1, worker_id = NULL, dispatched_at = now() FROM given
    WHERE stages.id = given.stage_id AND stages.epoch = given.epoch
      AND (stages.worker_id IS NULL OR stages.worker_id = given.worker_id)
      AND (stages.state = 'running' OR stages.state = 'canceled' AND EXISTS (
           SELECT FROM attempts a WHERE a.stage_id = stages.id AND a.state = 'detached' AND a.finished_at IS NULL))
    RETURNING stages.id, stages.epoch, given.unsent
), forgotten AS (
    DELETE FROM attempts USING stage
    WHERE attempts.id = stage.unsent AND attempts.stage_id = stage.id AND attempts.state = 'submitting'
)
INSERT INTO procrastinate_jobs (queue_name, task_name, args)
SELECT 'stages', 'run_stage', jsonb_build_object('stage_id', id, 'epoch', epoch) FROM stage;

-- name: endpoints_with_ready_stages
-- From one to the next by the index: a long queue costs as much as a short one. Some may wait for another try alone.
WITH RECURSIVE one AS (
    (SELECT endpoint FROM stages WHERE state = 'ready' ORDER BY endpoint LIMIT 1)
    UNION ALL
    SELECT (SELECT s.endpoint FROM stages s WHERE s.state = 'ready' AND s.endpoint > one.endpoint
            ORDER BY s.endpoint LIMIT 1)
    FROM one WHERE one.endpoint IS NOT NULL
)
SELECT endpoint FROM one WHERE endpoint IS NOT NULL;

-- name: next_retry
-- Seconds until the earliest stage that waits for another try, if any does.
SELECT extract(epoch FROM min(not_before) - now())::float AS seconds FROM stages
WHERE state = 'ready' AND not_before > now();

-- name: register_worker
INSERT INTO workers (name) VALUES (%(name)s) RETURNING id;

-- name: beat
-- Also of one whose row was forgotten while it was away: without it, others would take all its runs for a dead one's.
INSERT INTO workers (id, name) OVERRIDING SYSTEM VALUE VALUES (%(id)s, %(name)s)
ON CONFLICT (id) DO UPDATE SET beat_at = now();

-- name: forget_worker
DELETE FROM workers WHERE id = %(id)s;

-- name: any_worker
SELECT EXISTS (
    SELECT FROM workers w JOIN pg_locks l
      ON l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
     AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    WHERE w.beat_at > now() - interval '10 seconds') AS any;

-- name: forget_dead_workers
-- And the rows that Procrastinate's own dead workers left behind; their stages have been taken up long since.
-- Its own are told by hearts that beat every ten seconds; it clears up itself only when a worker starts.
WITH left_behind AS (
    DELETE FROM procrastinate_jobs WHERE status = 'doing' AND (worker_id IS NULL OR worker_id IN (
        SELECT id FROM procrastinate_workers WHERE last_heartbeat < now() - interval '1 minute'))
)
DELETE FROM workers w WHERE w.beat_at < now() - interval '1 minute'
  AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
                  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()));

-- name: save_endpoint
INSERT INTO endpoints (name, kind, capacity, daily_cap_usd, monthly_cap_usd, starts_per_minute, affinity_seconds,
                       affinity_starts)
VALUES (%(name)s, %(kind)s, %(capacity)s, %(daily_cap_usd)s, %(monthly_cap_usd)s, %(starts_per_minute)s,
        %(affinity_seconds)s, %(affinity_starts)s)
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, capacity = excluded.capacity,
    daily_cap_usd = excluded.daily_cap_usd, monthly_cap_usd = excluded.monthly_cap_usd, starts_per_minute = excluded.starts_per_minute,
    affinity_seconds = excluded.affinity_seconds, affinity_starts = excluded.affinity_starts;

-- name: save_queue_rules
-- What the settings say of tiers and of the queue, as a whole.
WITH given AS (
    SELECT * FROM jsonb_to_recordset(%(tiers)s) AS t(
        name text, at_once integer, queue integer, priority smallint, max_priority smallint)
), gone AS (
    DELETE FROM tiers WHERE name NOT IN (SELECT name FROM given)
), kept AS (
    INSERT INTO tiers (name, at_once, queue, priority, max_priority)
    SELECT name, at_once, queue, priority, max_priority FROM given
    ON CONFLICT (name) DO UPDATE SET at_once = excluded.at_once, queue = excluded.queue,
        priority = excluded.priority, max_priority = excluded.max_priority
)
UPDATE queue_rules SET queue = %(queue)s, patience = %(patience)s;

-- name: pause_endpoint
-- Nothing new starts there from the commit on; what runs goes on. Waits for a dispatch that is under way.
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(72641, hashtext(%(name)s)))
UPDATE endpoints SET paused_at = coalesce(paused_at, now()), paused_why = %(why)s FROM alone
WHERE name = %(name)s RETURNING name;

-- name: resume_endpoint
UPDATE endpoints SET paused_at = NULL, paused_why = '' WHERE name = %(name)s RETURNING name;

-- name: paused
SELECT name, paused_at, paused_why FROM endpoints WHERE paused_at IS NOT NULL ORDER BY name;

-- name: standing
-- Where one queued job stands: as `genyard_dispatch` goes, caps and models that are loaded aside. By counts per owner,
-- without an order of all. `own_ahead` and `own_running` are the owner's others, which count where its tier has a cap.
WITH mine AS (
    SELECT s.job_id, s.endpoint, s.priority, s.owner_id, (
        SELECT count(*) FROM stages o WHERE o.endpoint = s.endpoint AND o.state = 'ready' AND o.priority = s.priority
        AND o.owner_id = s.owner_id AND (o.ready_at, o.id) <= (s.ready_at, s.id)) AS nth
    FROM stages s JOIN jobs j ON j.id = s.job_id
    WHERE s.job_id = %(job_id)s AND s.state = 'ready' AND j.state = 'queued'
), line AS (
    SELECT s.priority, s.owner_id, count(*) AS n FROM stages s, mine
    WHERE s.endpoint = mine.endpoint AND s.state = 'ready' AND s.priority >= mine.priority
    GROUP BY s.priority, s.owner_id
), placed AS (
    SELECT mine.*, mine.nth - 1 + coalesce(sum(line.n) FILTER (WHERE line.owner_id = mine.owner_id
               AND line.priority > mine.priority), 0) AS own_ahead,
           sum(CASE WHEN line.priority > mine.priority THEN line.n
               WHEN (coalesce(line.owner_id <= t.owner_id, false), line.owner_id)
                    <= (coalesce(mine.owner_id <= t.owner_id, false), mine.owner_id) THEN least(line.n, mine.nth)
               ELSE least(line.n, mine.nth - 1) END) AS position
    FROM mine LEFT JOIN turns t ON t.endpoint = mine.endpoint AND t.priority = mine.priority, line
    GROUP BY mine.job_id, mine.endpoint, mine.priority, mine.owner_id, mine.nth
)
SELECT p.job_id, p.endpoint, p.position::integer, p.own_ahead::integer, tier.at_once,
       CASE WHEN tier.at_once IS NULL THEN '{}' ELSE ARRAY(
            SELECT extract(epoch FROM now() - r.dispatched_at)::float FROM stages r
            WHERE r.owner_id = p.owner_id AND r.state = 'running') END AS own_running
FROM placed p LEFT JOIN LATERAL genyard_tier(p.owner_id) tier ON true;

-- name: standings
-- The same for many: all who wait at their endpoints are put in order once.
WITH wanted AS (
    SELECT DISTINCT s.endpoint FROM stages s JOIN jobs j ON j.id = s.job_id
    WHERE s.job_id = ANY(%(job_ids)s) AND s.state = 'ready' AND j.state = 'queued'
), line AS (
    SELECT s.job_id, s.endpoint, s.priority, s.owner_id,
           row_number() OVER (PARTITION BY s.endpoint, s.priority, s.owner_id ORDER BY s.ready_at, s.id) AS nth
    FROM stages s JOIN wanted USING (endpoint) WHERE s.state = 'ready'
), placed AS (
    SELECT l.*, row_number() OVER (PARTITION BY l.endpoint ORDER BY l.priority DESC, l.nth,
                                   coalesce(l.owner_id <= t.owner_id, false), l.owner_id) AS position,
           row_number() OVER (PARTITION BY l.endpoint, l.owner_id ORDER BY l.priority DESC, l.nth) - 1 AS own_ahead
    FROM line l LEFT JOIN turns t ON t.endpoint = l.endpoint AND t.priority = l.priority
)
SELECT p.job_id, p.endpoint, p.position, p.own_ahead, tier.at_once,
       CASE WHEN tier.at_once IS NULL THEN '{}' ELSE ARRAY(
            SELECT extract(epoch FROM now() - r.dispatched_at)::float FROM stages r
            WHERE r.owner_id = p.owner_id AND r.state = 'running') END AS own_running
FROM placed p LEFT JOIN LATERAL genyard_tier(p.owner_id) tier ON true
WHERE p.job_id = ANY(%(job_ids)s);

-- name: lanes
-- What the time until a start depends on, by endpoint: how long runs took of late, how long those of now have run.
SELECT e.name, e.capacity, e.paused_at IS NOT NULL AS paused, e.starts_per_minute,
       ARRAY(SELECT extract(epoch FROM now() - s.dispatched_at)::float FROM stages s
             WHERE s.endpoint = e.name AND s.state = 'running') AS running,
       ARRAY(SELECT extract(epoch FROM a.finished_at - a.created_at)::float FROM attempts a
             WHERE a.endpoint = e.name AND a.state = 'succeeded' AND a.finished_at > now() - interval '1 day'
             ORDER BY a.finished_at DESC LIMIT 50) AS took,
       ARRAY(SELECT extract(epoch FROM now() - at)::float FROM starts
             WHERE endpoint = e.name AND at > now() - interval '1 minute' ORDER BY at) AS started
FROM endpoints e WHERE e.name = ANY(%(endpoints)s);

-- name: first_in_line
-- Of an owner's jobs, or of all: the one that is likely to start next.
SELECT s.job_id FROM stages s JOIN jobs j ON j.id = s.job_id
WHERE s.state = 'ready' AND j.state = 'queued' AND (%(owner_id)s::uuid IS NULL OR s.owner_id = %(owner_id)s)
ORDER BY s.priority DESC, s.ready_at LIMIT 1;

-- name: all_workers
SELECT w.id, w.name, w.started_at, extract(epoch FROM now() - w.beat_at)::float AS silent,
       EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 7264 AND l.objid = w.id::oid
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS alive,
       (SELECT count(*) FROM stages s WHERE s.worker_id = w.id AND s.state = 'running') AS running
FROM workers w ORDER BY w.id;

-- name: all_queues
-- `oldest`: seconds that the one who has waited longest has waited. `suspects`: stages that crashed their worker.
SELECT e.name AS endpoint, e.kind, e.capacity, e.paused_at, e.paused_why, e.starts_per_minute, e.loaded_model,
       coalesce(q.waiting, 0) AS waiting, coalesce(q.owners, 0) AS owners, q.oldest, coalesce(r.running, 0) AS running,
       coalesce(r.suspects, 0) AS suspects
FROM endpoints e
LEFT JOIN (SELECT endpoint, count(*) AS waiting, count(DISTINCT owner_id) AS owners,
                  extract(epoch FROM now() - min(ready_at))::float AS oldest
           FROM stages WHERE state = 'ready' GROUP BY endpoint) q ON q.endpoint = e.name
LEFT JOIN (SELECT endpoint, count(*) AS running, count(*) FILTER (WHERE crashes > 0) AS suspects
           FROM stages WHERE state = 'running' GROUP BY endpoint) r ON r.endpoint = e.name
WHERE e.name = ANY(%(endpoints)s) OR q.waiting > 0 OR r.running > 0
ORDER BY e.name;

-- name: save_facts
UPDATE endpoints SET facts = %(facts)s, facts_of = %(of)s, checked_at = now() WHERE name = %(name)s;

-- name: load_facts
-- Not those of another server that this endpoint was before.
SELECT facts FROM endpoints WHERE name = %(name)s AND facts_of = %(of)s AND facts IS NOT NULL;

-- name: get_job
-- Everything about one job in one row; outputs and attempts as JSON.
SELECT id, owner_id, state, request, operation, prompt, tags, trace_id, priority, rerun_of, previews,
       embed_prompt, detail, progress, preview_key, error, event_seq, created_at, started_at, finished_at, expires_at,
       webhook, policy, grace,
       genyard_credits_of(id, credits) AS credits,
       (SELECT jsonb_agg(to_jsonb(o)) FROM (
            SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height,
                   a.seconds, a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
            FROM assets a JOIN blobs b USING (sha256) WHERE a.job_id = jobs.id AND a.delivered) o) AS outputs,
       (SELECT jsonb_agg(to_jsonb(t)) FROM (
            SELECT s.position AS stage, a.number, a.endpoint, a.state, a.word, a.seconds, a.seconds_source, a.waited,
                   a.cost_usd::float AS cost_usd, a.cost_source, a.reserved_usd IS NOT NULL AS paid,
                   a.error, a.created_at, a.submitted_at, a.finished_at
            FROM attempts a JOIN stages s ON s.id = a.stage_id WHERE s.job_id = jobs.id
            ORDER BY s.position, a.number) t) AS attempts
FROM jobs WHERE id = %(job_id)s AND owner_id = %(owner_id)s;

-- name: job_state
SELECT state, grace FROM jobs WHERE id = %(job_id)s AND owner_id = %(owner_id)s;

-- name: list_jobs
-- Newest first, before the given id. Words of `search` must all be in the prompt.
SELECT id, owner_id, state, request, operation, prompt, tags, trace_id, priority, rerun_of, previews,
       embed_prompt, detail, progress, preview_key, error, event_seq, created_at, started_at, finished_at, expires_at,
       webhook, policy, grace,
       genyard_credits_of(id, credits) AS credits
FROM jobs
WHERE owner_id = %(owner_id)s
  AND (%(before)s::uuid IS NULL OR id < %(before)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(operation)s::text IS NULL OR operation = %(operation)s)
  AND (%(tag)s::text IS NULL OR tags @> ARRAY[%(tag)s::text])
  AND (%(search)s::text IS NULL OR to_tsvector('simple', prompt) @@ plainto_tsquery('simple', %(search)s))
ORDER BY id DESC LIMIT %(limit)s;

-- name: outputs_of_jobs
SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height, a.seconds,
       a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
FROM assets a JOIN blobs b USING (sha256)
WHERE a.job_id = ANY(%(job_ids)s) AND a.delivered
ORDER BY a.job_id, a.step, a.role, a.position;

-- name: stage_outputs
-- What earlier stages of the job made, for the stage that feeds on it.
SELECT a.step, a.role, a.position, b.object, b.bytes, b.media_type, a.sha256, a.width, a.height
FROM assets a JOIN blobs b USING (sha256)
WHERE a.job_id = %(job_id)s ORDER BY a.step, a.role, a.position;

-- name: events_after
-- For many at once.
SELECT e.job_id, e.seq, e.at, e.kind, e.data, wanted.after
FROM unnest(%(job_ids)s::uuid[], %(afters)s::integer[]) AS wanted(job_id, after)
JOIN events e ON e.job_id = wanted.job_id AND e.seq > wanted.after ORDER BY e.seq;

-- name: delete_job
-- For good, with its outputs. Only a job that has ended.
WITH job AS (
    SELECT id FROM jobs
    WHERE id = %(job_id)s AND owner_id = %(owner_id)s
      AND state IN ('succeeded', 'failed', 'canceled', 'expired')
    FOR UPDATE
), asset AS (
    DELETE FROM assets USING job WHERE assets.job_id = job.id RETURNING assets.sha256
), gone AS (
    DELETE FROM jobs USING job WHERE jobs.id = job.id RETURNING jobs.id
)
SELECT (SELECT id FROM gone) AS id, (SELECT array_agg(DISTINCT sha256) FROM asset) AS hashes;

-- name: insert_asset
WITH blob AS (
    INSERT INTO blobs (sha256, object, bytes, media_type)
    VALUES (%(sha256)s, %(object)s, %(bytes)s, %(media_type)s)
    ON CONFLICT (sha256) DO UPDATE SET bytes = excluded.bytes
    RETURNING sha256, object, bytes, media_type
), asset AS (
    INSERT INTO assets (id, owner_id, sha256, role, name, width, height, seconds, facts, tags)
    SELECT %(id)s, %(owner_id)s, blob.sha256, %(role)s, %(name)s, %(width)s, %(height)s, %(seconds)s, %(facts)s, %(tags)s
    FROM blob
    RETURNING *
)
SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height, a.seconds,
       a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
FROM asset a, blob b;

-- name: get_asset
SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height, a.seconds,
       a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
FROM assets a JOIN blobs b USING (sha256)
WHERE a.id = %(asset_id)s AND (%(owner_id)s::uuid IS NULL OR a.owner_id = %(owner_id)s);

-- name: get_assets
SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height, a.seconds,
       a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
FROM assets a JOIN blobs b USING (sha256)
WHERE a.id = ANY(%(asset_ids)s) AND a.owner_id = %(owner_id)s;

-- name: list_assets
-- Newest first. `facts` is a JSON object that the asset's facts must contain.
SELECT a.id, a.owner_id, a.sha256, b.object, b.bytes, b.media_type, a.role, a.name, a.width, a.height, a.seconds,
       a.facts, a.prompt, a.tags, a.job_id, a.step, a.position, a.created_at
FROM assets a JOIN blobs b USING (sha256)
WHERE a.owner_id = %(owner_id)s AND a.delivered
  AND (%(before)s::uuid IS NULL OR a.id < %(before)s)
  AND (%(role)s::text IS NULL OR a.role = %(role)s)
  AND (%(tag)s::text IS NULL OR a.tags @> ARRAY[%(tag)s::text])
  AND (%(facts)s::jsonb IS NULL OR a.facts @> %(facts)s)
  AND (%(search)s::text IS NULL OR to_tsvector('simple', a.prompt) @@ plainto_tsquery('simple', %(search)s))
ORDER BY a.id DESC LIMIT %(limit)s;

-- name: find_import
SELECT asset_id FROM imports WHERE owner_id = %(owner_id)s AND source = %(source)s;

-- name: insert_import
INSERT INTO imports (owner_id, source, asset_id) VALUES (%(owner_id)s, %(source)s, %(asset_id)s)
ON CONFLICT (owner_id, source) DO UPDATE SET asset_id = excluded.asset_id;

-- name: delete_asset
DELETE FROM assets WHERE id = %(asset_id)s AND owner_id = %(owner_id)s
RETURNING ARRAY[sha256] AS hashes;

-- name: delete_unused_blobs
-- Bytes that no asset refers to any more; their objects are removed after the commit.
DELETE FROM blobs b WHERE b.sha256 = ANY(%(hashes)s)
  AND NOT EXISTS (SELECT FROM assets a WHERE a.sha256 = b.sha256)
RETURNING b.object;

-- name: secret
-- Made once, by whichever process comes first.
WITH made AS (
    INSERT INTO secrets (name, value) VALUES (%(name)s, %(value)s) ON CONFLICT DO NOTHING RETURNING value
)
SELECT value FROM made UNION ALL SELECT value FROM secrets WHERE name = %(name)s LIMIT 1;
