-- Claims up to p_limit payments that are due for a look, the oldest first; some more are looked at,
-- for others may be claiming the same ones now. The next look follows
-- the schedule should nobody say otherwise. The provider honours the key of a creation for a day:
-- from 23 hours on one without an answer is not returned, and after two days it is given up, if the
-- provider's list was read to its end for a time when it would have been in it. Nor is one returned
-- that would renew a subscription that has ended, was cancelled, or was paid meanwhile.
CREATE OR REPLACE FUNCTION payment_claim_due(p_limit int, p_lease_seconds int)
RETURNS SETOF payments
LANGUAGE plpgsql AS $$
DECLARE
    present timestamp := clock_timestamp() AT TIME ZONE 'utc';
    due record;
    claim payments%ROWTYPE;
    claimed int := 0;
BEGIN
    FOR due IN
        SELECT p.user_id, p.id FROM payments p WHERE p.next_check_at <= present
        ORDER BY p.next_check_at LIMIT p_limit + 100
    LOOP
        EXIT WHEN claimed = p_limit;
        SELECT * INTO claim FROM payments p
        WHERE p.user_id = due.user_id AND p.id = due.id AND p.next_check_at <= present
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        IF claim.yookassa_payment_id IS NOT NULL
           OR claim.request_body IS NOT NULL
              AND claim.created_at > present - interval '23 hours'
              AND (claim.purpose <> 'renewal' OR EXISTS (
                       SELECT 1 FROM subscriptions s
                       WHERE s.user_id = claim.user_id AND s.id = claim.subscription_id
                         AND s.status = 'active' AND NOT s.cancel_at_period_end
                         AND s.current_period_end <= claim.created_at)) THEN
            UPDATE payments p
            SET next_check_at = present + greatest(
                    make_interval(secs => p_lease_seconds),
                    payment_check_after(p.created_at, p.yookassa_payment_id IS NOT NULL)),
                repeated = p.repeated OR p.yookassa_payment_id IS NULL
            WHERE p.user_id = due.user_id AND p.id = due.id
            RETURNING * INTO claim;
            claimed := claimed + 1;
            RETURN NEXT claim;
        ELSIF claim.created_at > present - interval '48 hours' OR NOT EXISTS (
                  SELECT 1 FROM payment_windows w
                  WHERE w.name = 'payments'
                    AND w.since > claim.created_at + interval '24 hours') THEN
            UPDATE payments p
            SET next_check_at = greatest(p.created_at + interval '48 hours',
                                         present + interval '10 minutes'),
                request_body = NULL
            WHERE p.user_id = due.user_id AND p.id = due.id;
        ELSE
            UPDATE payments p
            SET status = 'canceled', cancellation_reason = 'never_created', next_check_at = NULL,
                request_body = NULL
            WHERE p.user_id = due.user_id AND p.id = due.id;
            IF claim.purpose = 'renewal' THEN
                PERFORM subscription_unpaid(due.user_id, claim.subscription_id,
                                            claim.created_at, NULL);
            END IF;
        END IF;
    END LOOP;
END
$$;
