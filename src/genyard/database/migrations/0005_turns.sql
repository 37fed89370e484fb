-- Who goes next: tiers, limits of queues, turns of owners, models that are loaded, endpoints that rest.

-- What `genyard.toml` says of tiers and of the queue; every process writes it when it starts. NULL: no limit.
CREATE TABLE tiers (
    name          text PRIMARY KEY,
    at_once       integer,                       -- stages that run at the same time
    queue         integer,                       -- jobs that wait
    priority      smallint NOT NULL DEFAULT 0,   -- added to what the caller says
    max_priority  smallint NOT NULL DEFAULT 100  -- the most that the caller may say
);
ALTER TABLE owners ADD COLUMN IF NOT EXISTS tier text NOT NULL DEFAULT 'standard';

-- One row: jobs that may wait in all, and seconds after which waiting counts for more than priority now and then.
CREATE TABLE queue_rules (
    only_one  boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    queue     integer,
    patience  integer NOT NULL DEFAULT 600
);
INSERT INTO queue_rules DEFAULT VALUES;

-- What is configured, then what dispatching remembers: hints on the order, never counts of what runs.
ALTER TABLE endpoints
    ADD COLUMN starts_per_minute  integer,
    ADD COLUMN affinity_seconds   real NOT NULL DEFAULT 0,
    ADD COLUMN affinity_starts    integer NOT NULL DEFAULT 0,
    ADD COLUMN paused_at          timestamptz,
    ADD COLUMN paused_why         text NOT NULL DEFAULT '',
    ADD COLUMN loaded_model       text,          -- of the newest stage that went there
    ADD COLUMN passed_since       timestamptz,   -- since when the model that is loaded is preferred to somebody's turn
    ADD COLUMN passed_starts      integer NOT NULL DEFAULT 0,
    ADD COLUMN preferred_owner    uuid,          -- whose stage was preferred last
    ADD COLUMN contested_starts   integer NOT NULL DEFAULT 0;

-- What dispatching needs to know of an endpoint: not its facts, which are large.
CREATE TYPE genyard_place AS (
    name text, capacity integer, starts_per_minute integer, affinity_seconds real, affinity_starts integer,
    loaded_model text, passed_since timestamptz, passed_starts integer, preferred_owner uuid, contested_starts integer
);

-- Whose turn it was last, by endpoint and priority: the next is the owner with the next higher id.
CREATE TABLE turns (
    endpoint  text NOT NULL,
    priority  smallint NOT NULL,
    owner_id  uuid NOT NULL,
    PRIMARY KEY (endpoint, priority)
);

-- Starts of the last minute at endpoints with a limit of them.
CREATE TABLE starts (
    endpoint  text NOT NULL,
    at        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX starts_by_endpoint ON starts (endpoint, at);

ALTER TABLE jobs ADD COLUMN urgency smallint NOT NULL DEFAULT 0;  -- the caller's priority and the tier's together
ALTER TABLE stages
    ADD COLUMN model    text,                     -- what must be loaded for it; NULL: nothing that matters
    ADD COLUMN crashes  smallint NOT NULL DEFAULT 0;
CREATE INDEX stages_turns ON stages (endpoint, priority DESC, owner_id, ready_at, id) WHERE state = 'ready';
CREATE INDEX stages_models ON stages (endpoint, priority DESC, model, owner_id, ready_at, id)
    WHERE state = 'ready' AND model IS NOT NULL;
CREATE INDEX stages_running_by_owner ON stages (owner_id) WHERE state = 'running';
CREATE INDEX jobs_queued ON jobs (owner_id) WHERE state = 'queued';
CREATE INDEX attempts_timed ON attempts (endpoint, finished_at DESC) WHERE state = 'succeeded';

-- The rules of an owner; those of the tier `standard` where its own is not configured. No row: no limits.
CREATE FUNCTION genyard_tier(owner uuid) RETURNS SETOF tiers LANGUAGE sql STABLE AS $$
    SELECT t.* FROM owners o JOIN tiers t ON t.name IN (o.tier, 'standard')
    WHERE o.id = owner ORDER BY t.name = o.tier DESC LIMIT 1
$$;

-- A job comes: its urgency, and whether there is room. One at a time where there is a limit, so that two that both still
-- fit cannot both pass. Raises GY010 with what there is as JSON.
CREATE FUNCTION genyard_admit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    tier     tiers%ROWTYPE;
    room     integer;
    waiting  integer;
BEGIN
    IF NEW.state <> 'queued' THEN
        RETURN NEW;
    END IF;
    SELECT * INTO tier FROM genyard_tier(NEW.owner_id);
    SELECT queue INTO room FROM queue_rules;
    NEW.urgency := least(NEW.priority, coalesce(tier.max_priority, 100)) + coalesce(tier.priority, 0);
    IF room IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(72645, 0);
        SELECT count(*) INTO waiting FROM (SELECT FROM jobs WHERE state = 'queued' LIMIT room) j;
        IF waiting >= room THEN
            RAISE EXCEPTION USING ERRCODE = 'GY010', MESSAGE = 'the queue is full',
                DETAIL = jsonb_build_object('scope', 'all', 'limit', room, 'waiting', waiting)::text;
        END IF;
    END IF;
    IF tier.queue IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(72646, hashtext(NEW.owner_id::text));
        SELECT count(*) INTO waiting FROM jobs WHERE owner_id = NEW.owner_id AND state = 'queued';
        IF waiting >= tier.queue THEN
            RAISE EXCEPTION USING ERRCODE = 'GY010', MESSAGE = 'the queue is full',
                DETAIL = jsonb_build_object('scope', 'owner', 'tier', tier.name, 'limit', tier.queue,
                                            'waiting', waiting)::text;
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_admit BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION genyard_admit();

-- Whether an owner runs as much as it may. Counted under a lock of the owner that lasts until the commit; where another
-- endpoint holds it just now, the owner is left out: the next sweep looks again.
CREATE FUNCTION genyard_at_cap(owner uuid) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    cap integer;
BEGIN
    SELECT at_once INTO cap FROM genyard_tier(owner);
    IF cap IS NULL THEN
        RETURN false;
    END IF;
    IF NOT pg_try_advisory_xact_lock(72644, hashtext(owner::text)) THEN
        RETURN true;
    END IF;
    RETURN (SELECT count(*) FROM stages WHERE owner_id = owner AND state = 'running') >= cap;
END
$$;

-- The next stage at an endpoint and a priority, going round the owners from the one after `last`: of each the oldest
-- that is due, locked. `only`: of this model alone. Whoever runs as much as it may is passed over by one look.
CREATE FUNCTION genyard_next(wanted text, level smallint, last uuid, only_model text, capped boolean)
RETURNS TABLE (stage_id uuid, stage_owner uuid, stage_model text) LANGUAGE plpgsql AS $$
DECLARE
    mark   uuid := coalesce(last, '00000000-0000-0000-0000-000000000000');
    bound  timestamptz := CASE WHEN last IS NULL THEN '-infinity' ELSE 'infinity' END;
    again  boolean := last IS NOT NULL;
BEGIN
    LOOP
        IF only_model IS NULL THEN
            SELECT id, owner_id, model INTO stage_id, stage_owner, stage_model FROM stages
            WHERE endpoint = wanted AND state = 'ready' AND priority = level AND (owner_id, ready_at) > (mark, bound)
              AND (not_before IS NULL OR not_before <= now())
            ORDER BY owner_id, ready_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;
        ELSE
            SELECT id, owner_id, model INTO stage_id, stage_owner, stage_model FROM stages
            WHERE endpoint = wanted AND state = 'ready' AND priority = level AND model = only_model
              AND (owner_id, ready_at) > (mark, bound) AND (not_before IS NULL OR not_before <= now())
            ORDER BY owner_id, ready_at, id LIMIT 1 FOR UPDATE SKIP LOCKED;
        END IF;
        IF NOT FOUND OR (NOT again AND stage_owner > last) THEN
            IF NOT again THEN
                RETURN;
            END IF;
            again := false;
            mark := '00000000-0000-0000-0000-000000000000';
            bound := '-infinity';
        ELSIF capped AND genyard_at_cap(stage_owner) THEN
            mark := stage_owner;
            bound := 'infinity';
        ELSE
            RETURN NEXT;
            RETURN;
        END IF;
    END LOOP;
END
$$;

-- The priorities that wait at an endpoint in the order in which they are served: the most urgent first; at every eighth
-- start for which somebody less urgent has lost patience, whoever has waited longest.
CREATE FUNCTION genyard_levels(wanted text, patience integer, contested integer)
RETURNS TABLE (levels smallint[], is_contested boolean) LANGUAGE plpgsql AS $$
DECLARE
    level   smallint;
    since   timestamptz;
    sinces  timestamptz[] := '{}';
BEGIN
    levels := '{}';
    is_contested := false;
    LOOP
        SELECT priority, ready_at INTO level, since FROM stages
        WHERE endpoint = wanted AND state = 'ready' AND priority < coalesce(level, 32767::smallint)
        ORDER BY priority DESC, ready_at LIMIT 1;
        EXIT WHEN NOT FOUND;
        is_contested := is_contested OR levels <> '{}' AND since < now() - make_interval(secs => patience);
        levels := levels || level;
        sinces := sinces || since;
    END LOOP;
    IF is_contested AND contested % 8 = 7 THEN
        SELECT array_agg(l ORDER BY s, l) INTO levels FROM unnest(levels, sinces) AS u(l, s);
    END IF;
    RETURN NEXT;
END
$$;

-- Whose stage starts at a priority: that of the owner whose turn it is, or, for `affinity_starts` starts and
-- `affinity_seconds` at most, one for which the model is loaded already. Who was passed over stays the next. `after` is
-- the endpoint as it is then; no row where nobody may start.
CREATE FUNCTION genyard_choose(place genyard_place, level smallint, capped boolean)
RETURNS TABLE (chosen uuid, after genyard_place) LANGUAGE plpgsql AS $$
DECLARE
    turn     record;
    instead  record;
BEGIN
    SELECT * INTO turn FROM genyard_next(place.name, level, (SELECT owner_id FROM turns
        WHERE turns.endpoint = place.name AND turns.priority = level), NULL, capped);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF turn.stage_model <> place.loaded_model AND place.passed_starts < place.affinity_starts
       AND coalesce(place.passed_since, now()) > now() - make_interval(secs => place.affinity_seconds) THEN
        SELECT * INTO instead FROM genyard_next(place.name, level, place.preferred_owner, place.loaded_model, capped);
        IF FOUND THEN
            place.preferred_owner := instead.stage_owner;
            place.passed_since := coalesce(place.passed_since, now());
            place.passed_starts := place.passed_starts + 1;
            RETURN QUERY SELECT instead.stage_id, place;
            RETURN;
        END IF;
    END IF;
    INSERT INTO turns (endpoint, priority, owner_id) VALUES (place.name, level, turn.stage_owner)
    ON CONFLICT (endpoint, priority) DO UPDATE SET owner_id = excluded.owner_id
        WHERE turns.owner_id <> excluded.owner_id;
    IF turn.stage_model IS DISTINCT FROM coalesce(place.loaded_model, '') AND turn.stage_model IS NOT NULL THEN
        place.loaded_model := turn.stage_model;
        place.passed_since := NULL;
        place.passed_starts := 0;
    END IF;
    RETURN QUERY SELECT turn.stage_id, place;
END
$$;

-- How many may start at an endpoint now, by its places and by its limit of starts a minute.
CREATE FUNCTION genyard_room(place genyard_place) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    room integer := place.capacity - (SELECT count(*) FROM stages WHERE endpoint = place.name AND state = 'running');
BEGIN
    IF place.starts_per_minute IS NOT NULL THEN
        DELETE FROM starts WHERE endpoint = place.name AND at <= now() - interval '1 minute';
        room := least(room, place.starts_per_minute - (SELECT count(*) FROM starts WHERE endpoint = place.name));
    END IF;
    RETURN room;
END
$$;

-- Fills the endpoint's free places with ready stages and hands each to Procrastinate in the caller's transaction: by
-- priority, then round the owners, with regard to the model that is loaded. What runs, by endpoint and by owner, is
-- counted from rows: nothing can leak. One at a time per endpoint; the lock is taken and freed within the server, so
-- that no slow client ever holds it for long. Whatever statistics there are, the indexes are the way.
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
    capped  boolean := EXISTS (SELECT FROM tiers WHERE at_once IS NOT NULL);
BEGIN
    PERFORM pg_advisory_xact_lock(72641, hashtext(wanted));
    SELECT name, capacity, starts_per_minute, affinity_seconds, affinity_starts, loaded_model, passed_since,
           passed_starts, preferred_owner, contested_starts
    INTO before FROM endpoints WHERE name = wanted AND paused_at IS NULL;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    place := before;
    room := genyard_room(place);
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
