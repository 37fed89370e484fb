-- Runs that go on after a cancel, at places that cannot stop them, hold an owner's budget like an endpoint's cap: whoever
-- cancels and submits again spends no more than the budget allows.

CREATE OR REPLACE FUNCTION genyard_owner_spent(owner uuid, since date) RETURNS numeric LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((SELECT sum(usd) FROM owner_spending WHERE owner_id = owner AND day >= since), 0)
         + coalesce((SELECT sum(reserved_usd) FROM stages WHERE owner_id = owner AND reserved_usd IS NOT NULL
                     AND state IN ('waiting', 'ready', 'running')), 0)
         + coalesce((SELECT sum(a.reserved_usd) FROM attempts a JOIN stages s ON s.id = a.stage_id
                     WHERE a.state = 'detached' AND a.finished_at IS NULL AND s.owner_id = owner), 0)
$$;

-- As in 0005. Starts that lie ahead are of a time when the database's clock was wrong: they hold nobody up for ever.
CREATE OR REPLACE FUNCTION genyard_room(place genyard_place) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    room integer := place.capacity - (SELECT count(*) FROM stages WHERE endpoint = place.name AND state = 'running');
BEGIN
    IF place.starts_per_minute IS NOT NULL THEN
        DELETE FROM starts WHERE endpoint = place.name
            AND (at <= now() - interval '1 minute' OR at > now() + interval '1 minute');
        room := least(room, place.starts_per_minute - (SELECT count(*) FROM starts WHERE endpoint = place.name));
    END IF;
    RETURN room;
END
$$;
