-- As payment_claim_due.
CREATE OR REPLACE FUNCTION refund_claim_due(p_limit int, p_lease_seconds int)
RETURNS SETOF payment_refunds
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim payment_refunds%ROWTYPE;
    claimed int := 0;
BEGIN
    FOR due IN
        SELECT r.user_id, r.id FROM payment_refunds r WHERE r.next_check_at <= present
        ORDER BY r.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM payment_refunds r
        WHERE r.user_id = due.user_id AND r.id = due.id AND r.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF claim.yookassa_refund_id IS NOT NULL
           OR claim.created_at > present - interval '23 hours' THEN
            UPDATE payment_refunds r
            SET next_check_at = present + greatest(
                    make_interval(secs => p_lease_seconds),
                    payment_check_after(r.created_at, r.yookassa_refund_id IS NOT NULL)),
                repeated = r.repeated OR r.yookassa_refund_id IS NULL
            WHERE r.user_id = due.user_id AND r.id = due.id
            RETURNING * INTO claim;
            claimed := claimed + 1;
            RETURN NEXT claim;
        ELSIF claim.created_at > present - interval '48 hours' OR NOT EXISTS (
                  SELECT 1 FROM payment_windows w
                  WHERE w.name = 'refunds'
                    AND w.since > claim.created_at + interval '24 hours') THEN
            UPDATE payment_refunds r
            SET next_check_at = greatest(r.created_at + interval '48 hours',
                                         present + interval '10 minutes'),
                request_body = NULL
            WHERE r.user_id = due.user_id AND r.id = due.id;
        ELSE
            UPDATE payment_refunds r
            SET status = 'canceled', next_check_at = NULL, request_body = NULL
            WHERE r.user_id = due.user_id AND r.id = due.id;
        END IF;
    END LOOP;
END
$$;
