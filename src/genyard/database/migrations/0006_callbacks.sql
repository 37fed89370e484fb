-- Whom a job tells what becomes of it: deliveries, their secrets; and what the hook before submit did.
--
-- A delivery is written by a trigger, in the transaction of the event that it tells of: nobody can forget one, and none
-- tells of what was undone. Jobs without a webhook pay for nothing of it.

-- {"url", "host", "events": [...], "prompts"}; "gone": true once the receiver has answered 410
ALTER TABLE jobs ADD COLUMN webhook jsonb;
-- What the hook before submit did: which fields it changed, never their text. NULL: it let the request pass as it was.
ALTER TABLE jobs ADD COLUMN policy jsonb;

-- One message. state: waiting sending -> delivered dead. `id` is the same with every try, and when it is sent again.
CREATE TABLE deliveries (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    job_id       uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    owner_id     uuid NOT NULL,
    event_seq    integer NOT NULL,
    kind         text NOT NULL,
    host         text NOT NULL,
    state        text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
    tries        smallint NOT NULL DEFAULT 0,
    next_at      timestamptz DEFAULT now(),
    give_up_at   timestamptz NOT NULL DEFAULT now() + interval '1 day',
    worker_id    integer,                         -- who is sending it
    claimed_at   timestamptz,
    status       integer,                         -- HTTP status of the last try
    error        text,                            -- what was wrong with it
    created_at   timestamptz NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    UNIQUE (job_id, event_seq)
);
CREATE INDEX deliveries_waiting ON deliveries (host, next_at) WHERE state = 'waiting';
CREATE INDEX deliveries_sending ON deliveries (host) WHERE state = 'sending';
CREATE INDEX deliveries_by_owner ON deliveries (owner_id, created_at DESC, id DESC);

-- What an owner's messages are signed with: the one that is not retired, and those whose time is not over yet.
CREATE TABLE webhook_secrets (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    owner_id    uuid NOT NULL REFERENCES owners ON DELETE CASCADE,
    secret      bytea NOT NULL,
    made_at     timestamptz NOT NULL DEFAULT now(),
    shown_at    timestamptz,
    retires_at  timestamptz
);
CREATE UNIQUE INDEX webhook_secrets_current ON webhook_secrets (owner_id) WHERE retires_at IS NULL;

CREATE FUNCTION genyard_call_back() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text := NEW.state;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.state = OLD.state THEN
        kind := 'retrying';                       -- the one event that does not change the state
    END IF;
    IF NEW.webhook->'events' ? kind AND NOT NEW.webhook ? 'gone' THEN
        INSERT INTO deliveries (job_id, owner_id, event_seq, kind, host)
        VALUES (NEW.id, NEW.owner_id, NEW.event_seq, kind, NEW.webhook->>'host')
        ON CONFLICT (job_id, event_seq) DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_call_back_first AFTER INSERT ON jobs
    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL) EXECUTE FUNCTION genyard_call_back();
CREATE TRIGGER jobs_call_back AFTER UPDATE OF event_seq ON jobs
    FOR EACH ROW WHEN (NEW.webhook IS NOT NULL AND NEW.event_seq > OLD.event_seq)
    EXECUTE FUNCTION genyard_call_back();
