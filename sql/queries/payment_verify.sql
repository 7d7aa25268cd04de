-- Payments and refunds whose tokens are not in the ledger once, as many as they should be and with
-- the account the payment belongs to: paid and not credited, credited and not paid, and entries
-- that were taken back by themselves. Then entries of a payment or refund that there is not.
-- Payments that the original backend credited have no entry of their own; one whose account was
-- closed when it was paid has a difference instead. Reads everything.
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
), entries AS (
    SELECT coalesce(e.reverses, e.id) AS entry_id, e.id, e.amount, e.operation_id,
           coalesce(u.merged_into, u.id) AS user_id
    FROM token_transactions e
    JOIN users u ON u.id = e.user_id
)
SELECT b.user_id, b.id, coalesce(b.expected, 0) AS expected,
       coalesce(sum(e.amount), 0)::int8 AS found, count(e.id) AS entries
FROM booked b
LEFT JOIN entries e ON e.entry_id = b.entry_id AND e.user_id = b.user_id
GROUP BY b.user_id, b.id, b.expected
HAVING coalesce(sum(e.amount), 0) <> coalesce(b.expected, 0)
    OR count(e.id) <> CASE WHEN coalesce(b.expected, 0) = 0 THEN 0 ELSE 1 END
UNION ALL
SELECT e.user_id, e.operation_id, 0, e.amount::int8, 1
FROM entries e
WHERE e.id IN (md5('payment ' || e.operation_id)::uuid, md5('refund ' || e.operation_id)::uuid)
  AND NOT EXISTS (SELECT 1 FROM booked b WHERE b.entry_id = e.id)
ORDER BY user_id, id
LIMIT 1000
