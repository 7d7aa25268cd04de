-- Releases expired holds. $1 how many holds at most int4.
SELECT hold_sweep($1) AS swept
