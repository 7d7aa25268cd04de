-- What a month of a plan costs, if it is sold. $1 plan text.
SELECT price::text AS amount, currency, 0 AS tokens FROM plans WHERE plan = $1 AND price > 0
