-- How jobs end: how long runs took and who says so, what a canceled job is told, who watches, what may be bought again.

ALTER TABLE attempts
    ADD COLUMN began_at        timestamptz,      -- when it was first seen running
    ADD COLUMN seconds_source  text CHECK (seconds_source IN ('reported', 'measured'));  -- NULL: reported, if seconds

-- Whether a run whose outcome cannot be learnt is bought once more: the owner of genyard allows it by route.
ALTER TABLE stages ADD COLUMN rebuys boolean NOT NULL DEFAULT false;

-- `cancel_error`: what a job that is being canceled will be told. `grace`: seconds without a watcher after which it is
-- canceled; NULL: it goes on. Whoever watches puts `watched_until` off; the sweep cancels what is behind it.
ALTER TABLE jobs
    ADD COLUMN cancel_error   jsonb,
    ADD COLUMN grace          real,
    ADD COLUMN watched_until  timestamptz;
-- allowed: before the first release
CREATE INDEX jobs_watched ON jobs (watched_until)
    WHERE watched_until IS NOT NULL AND state IN ('queued', 'running');

-- allowed: before the first release
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
