-- The accounts whose books do not agree: balance against the sum of the entries, the balance after
-- each entry against the one before, held tokens against pending holds; entries and holds without a
-- balance as well. Reads every entry.
SELECT user_id, coalesce(t.balance, 0) AS balance, coalesce(e.total, 0)::int8 AS entries_sum,
       coalesce(e.breaks, 0)::int8 AS chain_breaks, coalesce(t.held, 0) AS held,
       coalesce(h.held, 0)::int8 AS holds_sum
FROM user_tokens t
FULL JOIN (
    SELECT c.user_id, sum(c.amount) AS total,
           count(*) FILTER (WHERE c.balance_after <> c.amount + c.balance_before) AS breaks
    FROM (
        SELECT x.user_id, x.amount, x.balance_after,
               lag(x.balance_after, 1, 0)
                   OVER (PARTITION BY x.user_id ORDER BY x.created_at, x.id) AS balance_before
        FROM token_transactions x
    ) c
    GROUP BY c.user_id
) e USING (user_id)
FULL JOIN (SELECT p.user_id, sum(p.amount) AS held FROM token_holds p
           WHERE p.status = 'pending' GROUP BY p.user_id) h USING (user_id)
WHERE t.balance IS DISTINCT FROM coalesce(e.total, 0) OR coalesce(e.breaks, 0) > 0
   OR t.held IS DISTINCT FROM coalesce(h.held, 0)
ORDER BY user_id
LIMIT 1000
