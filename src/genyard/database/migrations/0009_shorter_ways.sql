-- The same decisions by shorter ways: what happens with every job is asked in as few statements as possible.

-- As in 0005; the rules of the queue and of the owner's tier are read at once.
CREATE OR REPLACE FUNCTION genyard_admit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    rule     record;
    waiting  integer;
BEGIN
    IF NEW.state <> 'queued' THEN
        RETURN NEW;
    END IF;
    SELECT all_of_them.queue AS room, tier.name, tier.queue, tier.priority, tier.max_priority INTO rule
    FROM queue_rules all_of_them LEFT JOIN LATERAL genyard_tier(NEW.owner_id) tier ON true;
    NEW.urgency := least(NEW.priority, coalesce(rule.max_priority, 100)) + coalesce(rule.priority, 0);
    IF rule.room IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(72645, 0);
        SELECT count(*) INTO waiting FROM (SELECT FROM jobs WHERE state = 'queued' LIMIT rule.room) j;
        IF waiting >= rule.room THEN
            RAISE EXCEPTION USING ERRCODE = 'GY010', MESSAGE = 'the queue is full',
                DETAIL = jsonb_build_object('scope', 'all', 'limit', rule.room, 'waiting', waiting)::text;
        END IF;
    END IF;
    IF rule.queue IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(72646, hashtext(NEW.owner_id::text));
        SELECT count(*) INTO waiting FROM jobs WHERE owner_id = NEW.owner_id AND state = 'queued';
        IF waiting >= rule.queue THEN
            RAISE EXCEPTION USING ERRCODE = 'GY010', MESSAGE = 'the queue is full',
                DETAIL = jsonb_build_object('scope', 'owner', 'tier', rule.name, 'limit', rule.queue,
                                            'waiting', waiting)::text;
        END IF;
    END IF;
    RETURN NEW;
END
$$;

-- Whether there is anything to decide at an endpoint. Asked without a lock, by whoever has just committed that a stage
-- is ready or that a place is free: who answers no here has seen places taken whose holders have yet to say that they
-- are free, and they will ask again.
CREATE FUNCTION genyard_open(wanted text) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM stages WHERE endpoint = wanted AND state = 'ready')
       AND EXISTS (SELECT FROM endpoints WHERE name = wanted AND paused_at IS NULL AND capacity >
                   (SELECT count(*) FROM stages WHERE endpoint = wanted AND state = 'running'))
$$;

-- All who are due start: there is room for every one of them, so that nobody's turn comes before another's. NULL where
-- there is not. What is remembered for the next decision are the last turns, and the last model.
CREATE FUNCTION genyard_start_all(place genyard_place, room integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    handed  integer;
    newest  text;
BEGIN
    SELECT count(*) INTO handed FROM (
        SELECT FROM stages WHERE endpoint = place.name AND state = 'ready' AND (not_before IS NULL OR not_before <= now())
        LIMIT room + 1) due;
    IF handed > room THEN
        RETURN NULL;
    END IF;
    WITH due AS (
        SELECT id FROM stages
        WHERE endpoint = place.name AND state = 'ready' AND (not_before IS NULL OR not_before <= now())
        ORDER BY priority DESC, ready_at, id LIMIT room FOR UPDATE SKIP LOCKED
    ), started AS (
        UPDATE stages SET state = 'running', epoch = epoch + 1, worker_id = NULL, dispatched_at = now()
        FROM due WHERE stages.id = due.id
        RETURNING stages.id, stages.epoch, stages.owner_id, stages.model, stages.priority, stages.ready_at
    ), ordered AS (
        SELECT started.*, coalesce(started.owner_id <= turns.owner_id, false) AS again,
               row_number() OVER (PARTITION BY started.priority, started.owner_id ORDER BY ready_at, id) AS nth
        FROM started LEFT JOIN turns ON turns.endpoint = place.name AND turns.priority = started.priority
    ), given AS (
        INSERT INTO procrastinate_jobs (queue_name, task_name, args)
        SELECT 'stages', 'run_stage', jsonb_build_object('stage_id', id, 'epoch', epoch) FROM ordered
        ORDER BY priority DESC, nth, again, owner_id
    ), turn AS (
        INSERT INTO turns (endpoint, priority, owner_id)
        SELECT DISTINCT ON (priority) place.name, priority, owner_id FROM ordered
        ORDER BY priority, nth DESC, again DESC, owner_id DESC
        ON CONFLICT (endpoint, priority) DO UPDATE SET owner_id = excluded.owner_id
            WHERE turns.owner_id <> excluded.owner_id
    )
    SELECT count(*), (array_agg(model ORDER BY priority, nth DESC, again DESC, owner_id DESC)
                      FILTER (WHERE model IS NOT NULL))[1]
    INTO handed, newest FROM ordered;
    IF newest <> coalesce(place.loaded_model, '') THEN
        UPDATE endpoints SET loaded_model = newest, passed_since = NULL, passed_starts = 0 WHERE name = place.name;
    END IF;
    RETURN handed;
END
$$;

-- As in 0005; who has nothing to decide takes no lock, and where all may start nobody is chosen.
CREATE OR REPLACE FUNCTION genyard_dispatch(wanted text) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    before  genyard_place;
    place   genyard_place;
    room    integer;
    handed  integer := 0;
    ranked  record;
    level   smallint;
    choice  record;
    fence   integer;
    capped  boolean;
BEGIN
    IF NOT genyard_open(wanted) THEN
        RETURN 0;
    END IF;
    PERFORM pg_advisory_xact_lock(72641, hashtext(wanted));
    SELECT name, capacity, starts_per_minute, affinity_seconds, affinity_starts, loaded_model, passed_since,
           passed_starts, preferred_owner, contested_starts
    INTO before FROM endpoints WHERE name = wanted AND paused_at IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    place := before;
    room := genyard_room(place);
    capped := EXISTS (SELECT FROM tiers WHERE at_once IS NOT NULL);
    IF room > 0 AND place.starts_per_minute IS NULL AND NOT capped THEN
        handed := genyard_start_all(place, room);
        IF handed IS NOT NULL THEN
            RETURN handed;
        END IF;
        handed := 0;
    END IF;
    WHILE handed < room LOOP
        SELECT * INTO ranked FROM genyard_levels(wanted, (SELECT patience FROM queue_rules), place.contested_starts);
        choice := NULL;
        FOREACH level IN ARRAY ranked.levels LOOP
            SELECT * INTO choice FROM genyard_choose(place, level, capped);
            EXIT WHEN FOUND;
        END LOOP;
        EXIT WHEN choice IS NULL;
        place := choice.after;
        place.contested_starts := (place.contested_starts + ranked.is_contested::integer) % 8;
        UPDATE stages SET state = 'running', epoch = epoch + 1, worker_id = NULL, dispatched_at = now()
        WHERE id = choice.chosen RETURNING epoch INTO fence;
        INSERT INTO procrastinate_jobs (queue_name, task_name, args)
        VALUES ('stages', 'run_stage', jsonb_build_object('stage_id', choice.chosen, 'epoch', fence));
        IF place.starts_per_minute IS NOT NULL THEN
            INSERT INTO starts (endpoint) VALUES (wanted);
        END IF;
        handed := handed + 1;
    END LOOP;
    IF place IS DISTINCT FROM before THEN
        UPDATE endpoints SET loaded_model = place.loaded_model, passed_since = place.passed_since,
               passed_starts = place.passed_starts, preferred_owner = place.preferred_owner,
               contested_starts = place.contested_starts
        WHERE name = wanted;
    END IF;
    RETURN handed;
END
$$;
