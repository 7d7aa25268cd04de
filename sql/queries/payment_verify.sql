-- Payments and refunds whose tokens are not in the ledger once, as many as they should be and with
-- the account the payment belongs to: paid and not credited, credited and not paid. Payments that
-- the original backend credited have no entry of their own; one whose account was closed when it
-- was paid has a difference instead. Reads everything.
WITH booked AS (
    SELECT p.user_id, p.id, md5('payment ' || p.id)::uuid AS entry_id,
           CASE WHEN p.succeeded_at IS NOT NULL AND d.kind IS NULL THEN p.tokens_amount
                ELSE 0 END AS expected
    FROM payments p
    LEFT JOIN payment_differences d
           ON d.provider_id = p.yookassa_payment_id AND d.kind = 'account_closed'
    WHERE p.purpose = 'tokens'
    UNION ALL
    SELECT r.user_id, r.id, md5('refund ' || r.id)::uuid,
           CASE WHEN r.status = 'succeeded' THEN -r.tokens_taken ELSE 0 END
    FROM payment_refunds r
)
SELECT b.user_id, b.id, coalesce(b.expected, 0) AS expected,
       coalesce(sum(e.amount), 0)::int8 AS found, count(e.id) AS entries
FROM booked b
LEFT JOIN (token_transactions e JOIN users u ON u.id = e.user_id)
       ON e.id = b.entry_id AND coalesce(u.merged_into, u.id) = b.user_id
GROUP BY b.user_id, b.id, b.expected
HAVING coalesce(sum(e.amount), 0) <> coalesce(b.expected, 0)
    OR count(e.id) <> CASE WHEN coalesce(b.expected, 0) = 0 THEN 0 ELSE 1 END
ORDER BY b.user_id, b.id
LIMIT 1000
