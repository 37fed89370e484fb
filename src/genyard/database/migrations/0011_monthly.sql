-- What a place may spend in a month (UTC), beside what it may spend in a day.

ALTER TABLE endpoints ADD COLUMN monthly_cap_usd numeric(14, 6);   -- NULL: the days' caps alone

-- Spent from a day on, and held by what is still open: stages, and runs that go on after a cancel.
CREATE FUNCTION genyard_spent_since(wanted text, since date) RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT sum(usd) FROM spending WHERE endpoint = wanted AND day >= since), 0)
         + coalesce((SELECT sum(reserved_usd) FROM stages WHERE endpoint = wanted AND reserved_usd IS NOT NULL
                     AND state IN ('waiting', 'ready', 'running')), 0)
         + coalesce((SELECT sum(a.reserved_usd) FROM attempts a WHERE a.endpoint = wanted AND a.state = 'detached'
                     AND a.finished_at IS NULL), 0)
$$;

CREATE OR REPLACE FUNCTION genyard_spent(wanted text) RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT genyard_spent_since(wanted, genyard_today())
$$;

-- As in 0002, for the day and for the month. `retry_after`: seconds until the next one begins.
CREATE OR REPLACE FUNCTION genyard_reserve(wanted text, amount numeric) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    daily    numeric;
    monthly  numeric;
    one      record;
BEGIN
    SELECT daily_cap_usd, monthly_cap_usd INTO daily, monthly FROM endpoints WHERE name = wanted;
    IF daily IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(72642, hashtext(wanted));
    FOR one IN SELECT period, cap, genyard_spent_since(wanted, since::date) AS spent, since + lasts AS until
        FROM (VALUES ('monthly', monthly, date_trunc('month', genyard_today()::timestamp), interval '1 month'),
                     ('daily', daily, genyard_today()::timestamp, interval '1 day'))
             AS caps(period, cap, since, lasts)
        WHERE cap IS NOT NULL
    LOOP
        IF one.spent + amount > one.cap THEN
            RAISE EXCEPTION USING ERRCODE = 'GY001', MESSAGE = 'cap',
                DETAIL = jsonb_build_object('endpoint', wanted, 'period', one.period, 'spent', one.spent,
                    'amount', amount, 'cap', one.cap, 'retry_after',
                    ceil(extract(epoch FROM one.until - (now() AT TIME ZONE 'utc'))))::text;
        END IF;
    END LOOP;
END
$$;
