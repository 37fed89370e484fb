-- Movements of an owner are numbered in the order in which they happen: the number is drawn under the lock of the
-- balance. Drawn before it, two that come at once could be numbered the other way round, and a statement, which adds up
-- by number, would show less than nothing in between.
CREATE FUNCTION genyard_number() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM balances WHERE owner_id = NEW.owner_id FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO balances (owner_id) VALUES (NEW.owner_id) ON CONFLICT DO NOTHING;
        PERFORM FROM balances WHERE owner_id = NEW.owner_id FOR UPDATE;
    END IF;
    NEW.id := nextval(pg_get_serial_sequence('movements', 'id'));
    RETURN NEW;
END
$$;
CREATE TRIGGER movements_number BEFORE INSERT ON movements FOR EACH ROW EXECUTE FUNCTION genyard_number();
