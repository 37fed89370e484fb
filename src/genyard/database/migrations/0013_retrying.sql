-- Every sweep asks when the next retry is due: by an index, not by reading the whole queue.
-- one by one
DROP INDEX CONCURRENTLY IF EXISTS stages_retrying;
CREATE INDEX CONCURRENTLY stages_retrying ON stages (not_before) WHERE state = 'ready' AND not_before IS NOT NULL;
