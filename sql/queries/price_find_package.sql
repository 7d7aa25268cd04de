-- What a token package costs and holds. $1 package text.
SELECT price::text AS amount, currency, tokens FROM token_packages WHERE package = $1
