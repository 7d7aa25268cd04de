"""What must hold of the ledger at every time."""

# What must hold of every account at every time: the balance is the sum of the entries, and each
# entry knows the balance after it, in the order of time and id.
BROKEN_BOOKS = """
    WITH chain AS (
        SELECT user_id, id, amount, balance_after,
               sum(amount) OVER (PARTITION BY user_id ORDER BY created_at, id) AS running
        FROM token_transactions
    )
    SELECT 'chain', user_id::text, id::text FROM chain WHERE running <> balance_after
    UNION ALL
    SELECT 'balance', t.user_id::text, t.balance::text FROM user_tokens t
    WHERE t.balance <> coalesce((SELECT sum(e.amount) FROM token_transactions e
                                 WHERE e.user_id = t.user_id), 0)
    UNION ALL
    SELECT 'linked away', u.id::text, t.balance::text FROM users u
    JOIN user_tokens t ON t.user_id = u.id
    WHERE u.merged_into IS NOT NULL AND (t.balance + t.held <> 0 OR t.closed_at IS NULL)
    UNION ALL
    SELECT 'repeated', e.id::text, count(*)::text FROM token_transactions e
    WHERE e.amount > 0 GROUP BY e.id HAVING count(*) > 1
"""
