-- The plans with what they allow, the cheapest first; free, which nobody buys, is one of them.
SELECT plan, daily_generations, history_max, quality, price::text AS price, currency
FROM plans
ORDER BY plans.price, plan
