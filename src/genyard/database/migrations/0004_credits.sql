-- Credits: what owners pay with. Whole numbers. Off unless genyard.toml has prices; the tables are there all the same.
--
-- Each movement takes from one account what it gives to another, so the books balance by construction. Nobody can
-- forget one: triggers on jobs reserve when a job comes and settle when it ends, in the transaction that does it.

-- Columns that the price list and the budgets look at.
ALTER TABLE owners ADD COLUMN tier text NOT NULL DEFAULT 'standard';
ALTER TABLE owners ADD COLUMN daily_budget_usd numeric(14, 6);    -- NULL: as the settings say
ALTER TABLE owners ADD COLUMN monthly_budget_usd numeric(14, 6);
ALTER TABLE api_keys ADD COLUMN admin boolean NOT NULL DEFAULT false;

-- What an owner has: kept beside the movements, by their trigger alone. No foreign key: the books outlive the owner.
CREATE TABLE balances (
    owner_id   uuid PRIMARY KEY,
    available  bigint NOT NULL DEFAULT 0 CHECK (available >= 0),
    reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0)
);

-- `available` and `reserved` are the owner's own accounts; the others are genyard's. `key`: what is done twice under
-- one key is done once.
CREATE TABLE movements (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id  uuid NOT NULL,
    kind      text NOT NULL,
    source    text NOT NULL,
    target    text NOT NULL,
    amount    bigint NOT NULL CHECK (amount > 0),
    job_id    uuid,
    reason    text NOT NULL DEFAULT '',
    actor     text NOT NULL,
    key       text NOT NULL UNIQUE,
    at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT movements_accounts CHECK ((kind, source, target) IN (
        ('reserve', 'available', 'reserved'), ('settle', 'reserved', 'revenue'), ('release', 'reserved', 'available'),
        ('refund', 'revenue', 'available'), ('grant', 'grants', 'available'), ('purchase', 'sales', 'available'),
        ('bonus', 'bonuses', 'available'), ('opening', 'opening', 'available'),
        ('correction', 'corrections', 'available'), ('correction', 'available', 'corrections'))),
    CONSTRAINT movements_of_jobs CHECK ((kind IN ('reserve', 'settle', 'release', 'refund')) = (job_id IS NOT NULL))
);
CREATE INDEX movements_by_owner ON movements (owner_id, id DESC);
CREATE INDEX movements_by_job ON movements (job_id) WHERE job_id IS NOT NULL;

-- The same as two entries each, the way that accountants look at it.
CREATE VIEW entries AS
    SELECT id AS movement_id, owner_id, kind, source AS account, -amount AS amount, at FROM movements
    UNION ALL SELECT id, owner_id, kind, target, amount, at FROM movements;

-- The balance moves with each movement, under the row's lock: whoever comes at once waits and looks again. Raises GY002
-- where there is not enough, GY003 where a job would give back more than it took.
CREATE FUNCTION genyard_balance() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    freed  bigint := NEW.amount * ((NEW.target = 'available')::int - (NEW.source = 'available')::int);
    held   bigint := NEW.amount * ((NEW.target = 'reserved')::int - (NEW.source = 'reserved')::int);
    has    bigint;
    wrong  jsonb;
BEGIN
    UPDATE balances SET available = available + freed, reserved = reserved + held
    WHERE owner_id = NEW.owner_id AND available + freed >= 0 AND reserved + held >= 0;
    IF NOT FOUND THEN
        INSERT INTO balances (owner_id) VALUES (NEW.owner_id) ON CONFLICT DO NOTHING;
        UPDATE balances SET available = available + freed, reserved = reserved + held
        WHERE owner_id = NEW.owner_id AND available + freed >= 0 AND reserved + held >= 0;
        IF NOT FOUND THEN
            SELECT available INTO has FROM balances WHERE owner_id = NEW.owner_id;
            RAISE EXCEPTION USING ERRCODE = 'GY002', MESSAGE = 'not enough credits',
                DETAIL = jsonb_build_object('kind', NEW.kind, 'price', NEW.amount, 'balance', has,
                                            'missing', NEW.amount - has)::text;
        END IF;
    END IF;
    IF NEW.kind IN ('settle', 'release', 'refund') THEN
        SELECT to_jsonb(s) INTO wrong FROM (
            SELECT coalesce(sum(amount) FILTER (WHERE kind = 'reserve'), 0) AS reserved,
                   coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0) AS released,
                   coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0) AS charged,
                   coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded
            FROM movements WHERE job_id = NEW.job_id AND owner_id = NEW.owner_id) s
        WHERE refunded > charged OR charged + released > reserved;
        IF FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'GY003', MESSAGE = 'more than was taken', DETAIL = wrong::text;
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER movements_balance AFTER INSERT ON movements FOR EACH ROW EXECUTE FUNCTION genyard_balance();

CREATE FUNCTION genyard_books_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'movements are never changed: what was wrong is corrected by another movement';
END
$$;
CREATE TRIGGER movements_final BEFORE UPDATE OR DELETE OR TRUNCATE ON movements
    FOR EACH STATEMENT EXECUTE FUNCTION genyard_books_are_final();

-- Gives back what was paid for a job: all that is left where `wanted` is NULL. No row where the key is known. Raises
-- GY003 where less is left.
CREATE FUNCTION genyard_refund(job uuid, wanted bigint, why text, whose text, under text) RETURNS SETOF movements
LANGUAGE plpgsql AS $$
DECLARE
    payer  uuid;
    taken  bigint;
    given  bigint;
BEGIN
    IF EXISTS (SELECT FROM movements WHERE key = under) THEN
        RETURN;
    END IF;
    SELECT owner_id INTO payer FROM movements WHERE job_id = job LIMIT 1;
    PERFORM FROM balances WHERE owner_id = payer FOR UPDATE;
    SELECT coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0), coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)
    INTO taken, given FROM movements WHERE job_id = job;
    IF taken = given OR coalesce(wanted, 1) > taken - given THEN
        IF EXISTS (SELECT FROM movements WHERE key = under) THEN
            RETURN;
        END IF;
        RAISE EXCEPTION USING ERRCODE = 'GY003', MESSAGE = 'more than was taken',
            DETAIL = jsonb_build_object('charged', taken, 'refunded', given, 'wanted', wanted)::text;
    END IF;
    RETURN QUERY
    INSERT INTO movements (owner_id, kind, source, target, amount, job_id, reason, actor, key)
    VALUES (payer, 'refund', 'revenue', 'available', coalesce(wanted, taken - given), job, why, whose, under)
    ON CONFLICT (key) DO NOTHING RETURNING *;
END
$$;

-- ---- jobs ----

-- The price that was told at submit, frozen, and how it comes about; NULL: credits were off, or the owner pays nothing.
-- {"unfinished": "free" | "delivered", "steps": [{"step", "role", "credits", "per": "output" | "request", "count",
-- "keep"}], "gone": [{"step", "role"}]}; `gone` are outputs that were delivered and deleted before the job ended.
ALTER TABLE jobs ADD COLUMN credits bigint CHECK (credits >= 0);
ALTER TABLE jobs ADD COLUMN credit_terms jsonb;

CREATE FUNCTION genyard_reserve_credits() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO movements (owner_id, kind, source, target, amount, job_id, reason, actor, key)
    VALUES (NEW.owner_id, 'reserve', 'available', 'reserved', NEW.credits, NEW.id, NEW.operation, 'genyard',
            'reserve:' || NEW.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_reserve_credits AFTER INSERT ON jobs FOR EACH ROW WHEN (NEW.credits > 0)
    EXECUTE FUNCTION genyard_reserve_credits();

-- As callers see it on a job; NULL where it has no price.
CREATE FUNCTION genyard_credits_of(job uuid, price bigint) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN price IS NOT NULL THEN (
        SELECT jsonb_build_object('price', price,
            'reserved', coalesce(sum(CASE kind WHEN 'reserve' THEN amount WHEN 'refund' THEN 0 ELSE -amount END), 0),
            'charged', coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0),
            'refunded', coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0))
        FROM movements WHERE job_id = job) END
$$;

-- What a job that has ended is charged: by what it delivered. A step whose outputs nobody asked for counts as many as
-- the step that delivered most.
CREATE FUNCTION genyard_charge(job uuid, terms jsonb, ended_as text) RETURNS bigint LANGUAGE sql AS $$
    WITH made AS (
        SELECT step, role FROM assets WHERE job_id = job AND delivered
        UNION ALL SELECT step, role FROM jsonb_to_recordset(coalesce(terms->'gone', '[]')) AS g(step text, role text)
    ), priced AS (
        SELECT p.credits, p.count, p.per,
               CASE WHEN p.keep THEN (SELECT count(*) FROM made WHERE made.step = p.step
                                      AND made.role = coalesce(p.role, made.role))
                    WHEN ended_as = 'succeeded' THEN (SELECT coalesce(max(n), 0) FROM (
                                      SELECT count(*) AS n FROM made GROUP BY step, role) each)
                    ELSE 0 END AS came
        FROM jsonb_to_recordset(terms->'steps')
             AS p(step text, role text, credits bigint, per text, count bigint, keep boolean)
    )
    SELECT coalesce(sum(credits * least(came, CASE per WHEN 'output' THEN count ELSE 1 END)), 0)::bigint FROM priced
    WHERE ended_as = 'succeeded' OR terms->>'unfinished' = 'delivered'
$$;

-- Whoever ends a job, or deletes an open one, settles it: deferred to the commit, so that all outputs are there, and so
-- that the owner's balance is the last lock that anybody takes.
CREATE FUNCTION genyard_close_credits() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    charge bigint := 0;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        charge := least(OLD.credits, genyard_charge(OLD.id, NEW.credit_terms, NEW.state));
    END IF;
    INSERT INTO movements (owner_id, kind, source, target, amount, job_id, reason, actor, key)
    SELECT OLD.owner_id, m.kind, 'reserved', m.target, m.amount, OLD.id,
           CASE TG_OP WHEN 'UPDATE' THEN NEW.state ELSE 'deleted' END, 'genyard', m.kind || ':' || OLD.id
    FROM (VALUES ('settle', 'revenue', charge), ('release', 'available', OLD.credits - charge))
         AS m(kind, target, amount)
    WHERE m.amount > 0
    ON CONFLICT (key) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE CONSTRAINT TRIGGER jobs_close_credits AFTER UPDATE OF state ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.credits > 0 AND OLD.state IN ('queued', 'running', 'canceling')
          AND NEW.state IN ('succeeded', 'failed', 'canceled', 'expired'))
    EXECUTE FUNCTION genyard_close_credits();
CREATE CONSTRAINT TRIGGER jobs_drop_credits AFTER DELETE ON jobs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.credits > 0 AND OLD.state IN ('queued', 'running', 'canceling'))
    EXECUTE FUNCTION genyard_close_credits();

-- An output that was delivered is paid for, even if it is deleted before the job ends.
CREATE FUNCTION genyard_remember_output() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET credit_terms = jsonb_set(credit_terms, '{gone}', coalesce(credit_terms->'gone', '[]')
               || jsonb_build_array(jsonb_build_object('step', OLD.step, 'role', OLD.role)))
    WHERE id = OLD.job_id AND credits > 0 AND state IN ('queued', 'running', 'canceling');
    RETURN NULL;
END
$$;
CREATE TRIGGER assets_remember_output AFTER DELETE ON assets FOR EACH ROW
    WHEN (OLD.delivered AND OLD.job_id IS NOT NULL) EXECUTE FUNCTION genyard_remember_output();

-- ---- budgets of owners: US dollars at the places, with or without credits ----

CREATE INDEX stages_reserved_by_owner ON stages (owner_id)
    WHERE reserved_usd IS NOT NULL AND state IN ('waiting', 'ready', 'running');

CREATE TABLE owner_spending (
    owner_id  uuid NOT NULL,
    day       date NOT NULL,
    usd       numeric(14, 6) NOT NULL DEFAULT 0,
    PRIMARY KEY (owner_id, day)
);

-- Spent since a day, and held by what is still open.
CREATE FUNCTION genyard_owner_spent(owner uuid, since date) RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT sum(usd) FROM owner_spending WHERE owner_id = owner AND day >= since), 0)
         + coalesce((SELECT sum(reserved_usd) FROM stages WHERE owner_id = owner AND reserved_usd IS NOT NULL
                     AND state IN ('waiting', 'ready', 'running')), 0)
$$;

-- After `genyard_reserve`, before stages are inserted in the same transaction, one at a time per owner. The owner's own
-- budgets win over those given. Raises GY004 where one has no room.
CREATE FUNCTION genyard_reserve_budget(owner uuid, amount numeric, daily numeric, monthly numeric) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    one record;
BEGIN
    SELECT coalesce(daily_budget_usd, daily), coalesce(monthly_budget_usd, monthly) INTO daily, monthly
    FROM owners WHERE id = owner;
    IF daily IS NULL AND monthly IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(72643, hashtext(owner::text));
    FOR one IN SELECT period, budget, genyard_owner_spent(owner, since::date) AS spent, since + lasts AS until
        FROM (VALUES ('daily', daily, genyard_today()::timestamp, interval '1 day'),
                     ('monthly', monthly, date_trunc('month', genyard_today()::timestamp), interval '1 month'))
             AS b(period, budget, since, lasts)
        WHERE budget IS NOT NULL
    LOOP
        IF one.spent + amount > one.budget THEN
            RAISE EXCEPTION USING ERRCODE = 'GY004', MESSAGE = 'budget',
                DETAIL = (to_jsonb(one) || jsonb_build_object('amount', amount, 'retry_after',
                    ceil(extract(epoch FROM one.until - (now() AT TIME ZONE 'utc')))))::text;
        END IF;
    END LOOP;
END
$$;

-- As in 0002, and on the owner's account, too.
CREATE OR REPLACE FUNCTION genyard_book() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    cost numeric := coalesce(NEW.cost_usd,
        CASE WHEN NEW.submitted_at IS NULL AND NEW.state <> 'lost' THEN 0 ELSE NEW.reserved_usd END);
BEGIN
    INSERT INTO spending (endpoint, day, usd) VALUES (NEW.endpoint, genyard_today(), cost)
    ON CONFLICT (endpoint, day) DO UPDATE SET usd = spending.usd + excluded.usd;
    INSERT INTO owner_spending (owner_id, day, usd)
    SELECT owner_id, genyard_today(), cost FROM stages WHERE id = NEW.stage_id
    ON CONFLICT (owner_id, day) DO UPDATE SET usd = owner_spending.usd + excluded.usd;
    RETURN NULL;
END
$$;
