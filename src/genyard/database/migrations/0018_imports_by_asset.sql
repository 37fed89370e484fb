-- Deleting an asset looks for imports of it: by an index, now that assets are deleted by the thousand.
-- one by one
DROP INDEX CONCURRENTLY IF EXISTS imports_by_asset;
CREATE INDEX CONCURRENTLY imports_by_asset ON imports (asset_id);
