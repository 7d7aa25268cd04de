-- The packages of tokens that are sold, the cheapest first.
SELECT package, tokens, price::text AS price, currency
FROM token_packages
WHERE price > 0
ORDER BY token_packages.price, package
