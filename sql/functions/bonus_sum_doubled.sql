-- Bonuses both accounts of one person got for the same thing: the welcome, and each day's bonus.
-- The welcome is the entry with the user's own id; in an adopted ledger the first bonus, which the
-- original's trigger wrote in the transaction that made the account.
CREATE OR REPLACE FUNCTION bonus_sum_doubled(p_user_id uuid, p_device_user_id uuid) RETURNS int
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN (
        WITH bonus AS (
            SELECT u.id = p_device_user_id AS of_device, e.amount, e.created_at::date AS day,
                   e.id = coalesce(
                       (SELECT w.id FROM token_transactions w
                        WHERE w.user_id = u.id AND w.id = u.id),
                       (SELECT w.id FROM token_transactions w
                        WHERE w.user_id = u.id AND w.type = 'bonus'
                          AND w.created_at <= u.created_at + interval '1 second'
                        ORDER BY w.created_at, w.id LIMIT 1)) IS TRUE AS welcome
            FROM users u
            JOIN token_transactions e ON e.user_id = u.id
            WHERE (u.id IN (p_user_id, p_device_user_id) OR u.merged_into = p_user_id)
              AND e.type = 'bonus' AND e.amount > 0
        ), once AS (
            SELECT sum(amount) AS amount, welcome, CASE WHEN NOT welcome THEN day END AS day
            FROM bonus
            GROUP BY welcome, CASE WHEN NOT welcome THEN day END, of_device
        ), twice AS (
            SELECT min(amount) AS amount FROM once GROUP BY welcome, day HAVING count(*) = 2
        )
        SELECT coalesce(sum(t.amount), 0)::int FROM twice t
    );
END
$$;
