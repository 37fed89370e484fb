-- Every statement on movements and balances that is not a trigger's (0004_credits.sql). Read with `load_queries`.

-- name: standing
SELECT name, tier FROM owners WHERE id = %(owner_id)s;

-- name: owner_named
SELECT id FROM owners WHERE name = %(name)s;

-- name: ensure_owner
-- No row for one that is being deleted.
INSERT INTO owners (id, name) VALUES (%(id)s, %(name)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name WHERE owners.deleting_at IS NULL RETURNING id;

-- name: balance
SELECT available, reserved FROM balances WHERE owner_id = %(owner_id)s;

-- name: move
-- No row where the key is known.
INSERT INTO movements (owner_id, kind, source, target, amount, reason, actor, key)
VALUES (%(owner_id)s, %(kind)s, %(source)s, %(target)s, %(amount)s, %(reason)s, %(actor)s, %(key)s)
ON CONFLICT (key) DO NOTHING
RETURNING id, owner_id, kind, source, target, amount, job_id, reason, actor, key, at;

-- name: refund
SELECT id, owner_id, kind, source, target, amount, job_id, reason, actor, key, at
FROM genyard_refund(%(job_id)s, %(amount)s, %(reason)s, %(actor)s, %(key)s);

-- name: by_key
SELECT id, owner_id, kind, source, target, amount, job_id, reason, actor, key, at
FROM movements WHERE key = %(key)s;

-- name: statement
-- Newest first, each with what was available after it: counted back from what is available now, so that the newest page
-- of a long book reads no more than itself.
WITH page AS (
    SELECT id, owner_id, kind, source, target, amount, job_id, reason, actor, key, at,
           CASE 'available' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END AS change
    FROM movements WHERE owner_id = %(owner_id)s AND (%(before)s::bigint IS NULL OR id < %(before)s)
    ORDER BY id DESC LIMIT %(limit)s
), newer AS (
    SELECT coalesce(sum(CASE 'available' WHEN target THEN amount WHEN source THEN -amount ELSE 0 END), 0) AS change
    FROM movements WHERE owner_id = %(owner_id)s AND id >= %(before)s::bigint
)
SELECT p.id, p.owner_id, p.kind, p.source, p.target, p.amount, p.job_id, p.reason, p.actor, p.key, p.at,
       (b.available - newer.change - sum(p.change) OVER (ORDER BY p.id DESC) + p.change)::bigint AS balance
FROM page p JOIN balances b USING (owner_id), newer ORDER BY p.id DESC;

-- name: totals
-- Of each account. Their sum is zero.
SELECT account, sum(amount)::bigint AS amount FROM entries GROUP BY account ORDER BY account;

-- name: counted
SELECT (SELECT count(*) FROM movements) AS movements, (SELECT count(*) FROM balances) AS owners,
       (SELECT count(*) FROM jobs WHERE credits IS NOT NULL) AS jobs;

-- name: wrong_balances
SELECT owner_id, b.available, b.reserved, coalesce(e.available, 0) AS booked_available,
       coalesce(e.reserved, 0) AS booked_reserved
FROM balances b FULL JOIN (
    SELECT owner_id, coalesce(sum(amount) FILTER (WHERE account = 'available'), 0)::bigint AS available,
           coalesce(sum(amount) FILTER (WHERE account = 'reserved'), 0)::bigint AS reserved
    FROM entries GROUP BY owner_id) e USING (owner_id)
WHERE (b.available, b.reserved) IS DISTINCT FROM (coalesce(e.available, 0), coalesce(e.reserved, 0));

-- name: wrong_jobs
-- What a job holds must be its price while it is open, and nothing once it has ended or is gone; what it was charged
-- and given back must add up. A job without a price has no movements.
WITH moved AS (
    SELECT job_id, owner_id,
           coalesce(sum(amount) FILTER (WHERE kind = 'reserve'), 0)::bigint AS reserved,
           coalesce(sum(amount) FILTER (WHERE kind = 'settle'), 0)::bigint AS charged,
           coalesce(sum(amount) FILTER (WHERE kind = 'release'), 0)::bigint AS released,
           coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0)::bigint AS refunded
    FROM movements WHERE job_id IS NOT NULL GROUP BY job_id, owner_id
), seen AS (
    SELECT coalesce(j.id, m.job_id) AS job_id, coalesce(j.owner_id, m.owner_id) AS owner_id, j.state,
           coalesce(j.credits, 0) AS price, m.reserved IS NULL AS unmoved, coalesce(m.reserved, 0) AS reserved,
           coalesce(m.charged, 0) AS charged, coalesce(m.released, 0) AS released, coalesce(m.refunded, 0) AS refunded
    FROM (SELECT * FROM jobs WHERE credits > 0 OR id IN (SELECT job_id FROM moved)) j
    FULL JOIN moved m ON m.job_id = j.id AND m.owner_id = j.owner_id
), judged AS (
    SELECT *, CASE
        WHEN unmoved AND price > 0 THEN 'job without movements'
        WHEN coalesce(state, 'gone') NOT IN ('queued', 'running', 'canceling') AND reserved > charged + released
            THEN 'reservation without an open job'
        WHEN state IN ('queued', 'running', 'canceling') AND reserved - charged - released <> price
            THEN 'open job that does not hold its price'
        WHEN state IS NOT NULL AND reserved <> price THEN 'job whose reservation is not its price'
        WHEN charged + released > reserved OR refunded > charged THEN 'more given back than taken'
        END AS problem FROM seen
)
SELECT problem, job_id, owner_id, coalesce(state, 'deleted') AS state, price, reserved, charged, released, refunded
FROM judged WHERE problem IS NOT NULL ORDER BY job_id;

-- name: set_budget
UPDATE owners SET daily_budget_usd = %(daily_usd)s, monthly_budget_usd = %(monthly_usd)s
WHERE id = %(owner_id)s RETURNING id;

-- name: budget
SELECT tier, daily_budget_usd::float AS daily_usd, monthly_budget_usd::float AS monthly_usd,
       genyard_owner_spent(id, genyard_today())::float AS spent_today,
       genyard_owner_spent(id, date_trunc('month', genyard_today()::timestamp)::date)::float AS spent_this_month
FROM owners WHERE id = %(owner_id)s;
