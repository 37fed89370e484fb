-- Housekeeping: owners that are being deleted, what may go after a while, objects that nobody needs, alerts.

-- Since when an owner is being deleted. NULL: it stays.
ALTER TABLE owners ADD COLUMN deleting_at timestamptz;
-- allowed: owners are few
CREATE INDEX owners_deleting ON owners (deleting_at) WHERE deleting_at IS NOT NULL;

-- Who is being deleted brings nothing new. Raises GY020.
CREATE FUNCTION genyard_refuse_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM owners WHERE id = NEW.owner_id AND deleting_at IS NOT NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'GY020', MESSAGE = 'the owner is being deleted';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER jobs_refuse_deleted BEFORE INSERT ON jobs
    FOR EACH ROW EXECUTE FUNCTION genyard_refuse_deleted();
CREATE TRIGGER assets_refuse_deleted BEFORE INSERT ON assets
    FOR EACH ROW WHEN (NEW.step IS NULL) EXECUTE FUNCTION genyard_refuse_deleted();

-- Which assets a job was given. No reference to assets: their owner may delete them.
CREATE TABLE job_inputs (
    asset_id  uuid NOT NULL,
    job_id    uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    PRIMARY KEY (asset_id, job_id)
);
CREATE INDEX job_inputs_by_job ON job_inputs (job_id);

CREATE FUNCTION genyard_inputs_of(request jsonb) RETURNS SETOF uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT DISTINCT (v #>> '{}')::uuid
    FROM jsonb_path_query(request, '$[*].inputs.*[*] ? (@.type() == "string" && !(@ starts with "step:"))') AS v
$$;
CREATE FUNCTION genyard_note_inputs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_inputs (asset_id, job_id) SELECT given, NEW.id FROM genyard_inputs_of(NEW.request) AS given;
    RETURN NULL;
END
$$;
CREATE TRIGGER jobs_note_inputs AFTER INSERT ON jobs
    FOR EACH ROW WHEN (jsonb_path_exists(NEW.request, '$[*].inputs.*')) EXECUTE FUNCTION genyard_note_inputs();
INSERT INTO job_inputs (asset_id, job_id) SELECT given, jobs.id FROM jobs, genyard_inputs_of(request) AS given;

-- Objects of the store that are to go. They are written down with what makes them useless: however a process ends, no
-- bytes stay behind. Deleting them twice does no harm.
CREATE TABLE unwanted_objects (
    object  text PRIMARY KEY,
    since   timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION genyard_unwanted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'blobs' THEN
        INSERT INTO unwanted_objects (object) VALUES (OLD.object) ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO unwanted_objects (object) VALUES (OLD.preview_key) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER blobs_unwanted AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION genyard_unwanted();
CREATE TRIGGER jobs_unwanted_preview AFTER UPDATE OF preview_key ON jobs
    FOR EACH ROW WHEN (OLD.preview_key IS NOT NULL AND NEW.preview_key IS DISTINCT FROM OLD.preview_key)
    EXECUTE FUNCTION genyard_unwanted();
CREATE TRIGGER jobs_unwanted_with_job AFTER DELETE ON jobs
    FOR EACH ROW WHEN (OLD.preview_key IS NOT NULL) EXECUTE FUNCTION genyard_unwanted();

-- What may go: jobs that have ended, that nothing is open of, that no tag keeps. `bound`: an id of version 7, which
-- begins with its time; NULL: nothing goes.
CREATE FUNCTION genyard_may_go(job jobs, bound uuid, keep text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT coalesce(job.id < bound, false) AND job.state IN ('succeeded', 'failed', 'canceled', 'expired')
       AND NOT job.tags && keep
       AND NOT EXISTS (SELECT FROM deliveries d WHERE d.job_id = job.id AND d.state IN ('waiting', 'sending'))
       AND NOT EXISTS (SELECT FROM stages s JOIN attempts a ON a.stage_id = s.id
                       WHERE s.job_id = job.id AND a.state = 'detached' AND a.finished_at IS NULL)
$$;

-- Assets that no tag keeps, neither their own nor their job's, and that no job was given: unless that one may go as well.
CREATE FUNCTION genyard_may_go(asset assets, bound uuid, keep text[], jobs_bound uuid) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT coalesce(asset.id < bound, false) AND NOT asset.tags && keep
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = asset.job_id
                       AND (j.state IN ('queued', 'running', 'canceling') OR j.tags && keep))
       AND NOT EXISTS (SELECT FROM job_inputs i JOIN jobs j ON j.id = i.job_id
                       WHERE i.asset_id = asset.id AND NOT genyard_may_go(j, jobs_bound, keep))
$$;

-- What somebody has to look at, for as long as it lasts. `told_at`: when it went to the address of the settings.
CREATE TABLE alerts (
    code     text NOT NULL,
    subject  text NOT NULL DEFAULT '',
    message  text NOT NULL,
    facts    jsonb NOT NULL DEFAULT '{}',
    since    timestamptz NOT NULL DEFAULT now(),
    told_at  timestamptz,
    PRIMARY KEY (code, subject)
);

-- When what is done now and then was done last, by whichever worker.
CREATE TABLE chores (
    name     text PRIMARY KEY,
    done_at  timestamptz NOT NULL DEFAULT now()
);
