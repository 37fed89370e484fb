-- What runs cost, and what a place may spend in a day.

ALTER TABLE endpoints ADD COLUMN daily_cap_usd numeric(14, 6);   -- NULL: runs cost nothing there

-- What a stage holds of its endpoint's cap until it has ended. NULL: nothing is paid there.
ALTER TABLE stages ADD COLUMN reserved_usd numeric(14, 6);
CREATE INDEX stages_reserved ON stages (endpoint)
    WHERE reserved_usd IS NOT NULL AND state IN ('waiting', 'ready', 'running');

-- cost_usd is NULL while it is not known; cost_source: reported computed estimated
ALTER TABLE attempts ADD COLUMN reserved_usd numeric(14, 6);
ALTER TABLE attempts ADD COLUMN cost_usd numeric(14, 6);
ALTER TABLE attempts ADD COLUMN cost_source text CHECK (cost_source IN ('reported', 'computed', 'estimated'));
ALTER TABLE attempts ADD COLUMN waited real;                      -- seconds before execution, as the place says
CREATE INDEX attempts_detached ON attempts (stage_id) WHERE state = 'detached' AND finished_at IS NULL;

-- Spent by attempts that have ended, by day (UTC). Deleting a job does not give money back.
CREATE TABLE spending (
    endpoint  text NOT NULL,
    day       date NOT NULL,
    usd       numeric(14, 6) NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint, day)
);

CREATE FUNCTION genyard_today() RETURNS date LANGUAGE sql STABLE AS $$ SELECT (now() AT TIME ZONE 'utc')::date $$;

-- Spent today, and held by what is still open: stages, and runs that go on after a cancel.
CREATE FUNCTION genyard_spent(wanted text) RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT usd FROM spending WHERE endpoint = wanted AND day = genyard_today()), 0)
         + coalesce((SELECT sum(reserved_usd) FROM stages WHERE endpoint = wanted AND reserved_usd IS NOT NULL
                     AND state IN ('waiting', 'ready', 'running')), 0)
         + coalesce((SELECT sum(a.reserved_usd) FROM attempts a WHERE a.endpoint = wanted AND a.state = 'detached'
                     AND a.finished_at IS NULL), 0)
$$;

-- Called before stages are inserted in the same transaction, one at a time per endpoint: two that both still fit
-- cannot both pass. Raises GY001 with what there is as JSON where the cap has no room.
CREATE FUNCTION genyard_reserve(wanted text, amount numeric) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    cap    numeric;
    spent  numeric;
BEGIN
    SELECT daily_cap_usd INTO cap FROM endpoints WHERE name = wanted;
    IF cap IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(72642, hashtext(wanted));
    spent := genyard_spent(wanted);
    IF spent + amount > cap THEN
        RAISE EXCEPTION USING ERRCODE = 'GY001', MESSAGE = 'daily cap',
            DETAIL = jsonb_build_object('endpoint', wanted, 'spent', spent, 'amount', amount, 'cap', cap)::text;
    END IF;
END
$$;

-- An attempt that has ended is booked: what it cost, else what was held for it, else (it never left) nothing.
CREATE FUNCTION genyard_book() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO spending (endpoint, day, usd)
    VALUES (NEW.endpoint, genyard_today(), coalesce(NEW.cost_usd,
            CASE WHEN NEW.submitted_at IS NULL AND NEW.state <> 'lost' THEN 0 ELSE NEW.reserved_usd END))
    ON CONFLICT (endpoint, day) DO UPDATE SET usd = spending.usd + excluded.usd;
    RETURN NULL;
END
$$;
CREATE TRIGGER attempts_book AFTER UPDATE OF finished_at ON attempts
    FOR EACH ROW WHEN (NEW.reserved_usd IS NOT NULL AND OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION genyard_book();

-- Media of a place's own library that an owner's request named: fetched once.
CREATE TABLE imports (
    owner_id  uuid NOT NULL REFERENCES owners ON DELETE CASCADE,
    source    text NOT NULL,                                     -- scenario:asset_…
    asset_id  uuid NOT NULL REFERENCES assets ON DELETE CASCADE,
    PRIMARY KEY (owner_id, source)
);
