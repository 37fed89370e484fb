-- What retention may take is judged once more when nobody can change it any more; where its sweep of events has been.

-- Up to which job (by id) all events have been swept: those before it are not read again every hour.
ALTER TABLE chores ADD COLUMN reached uuid;

-- As in 0008. What a job is given stays: whoever deletes it waits for the job, or was first. Raises GY021 where it was.
CREATE OR REPLACE FUNCTION genyard_note_inputs() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    given uuid;
BEGIN
    FOR given IN SELECT genyard_inputs_of(NEW.request) ORDER BY 1 LOOP
        PERFORM FROM assets WHERE id = given FOR KEY SHARE;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'GY021', MESSAGE = 'an input is not there any more', DETAIL = given;
        END IF;
        INSERT INTO job_inputs (asset_id, job_id) VALUES (given, NEW.id);
    END LOOP;
    RETURN NULL;
END
$$;

-- `genyard_may_go` of a row that the caller has locked, as it is now: VOLATILE, so that it sees what was committed since
-- the caller's statement began.
CREATE FUNCTION genyard_job_may_go_now(job uuid, bound uuid, keep text[]) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM jobs j WHERE j.id = job AND genyard_may_go(j, bound, keep));
END
$$;
CREATE FUNCTION genyard_asset_may_go_now(asset uuid, bound uuid, keep text[], jobs_bound uuid) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM assets a WHERE a.id = asset AND genyard_may_go(a, bound, keep, jobs_bound));
END
$$;
