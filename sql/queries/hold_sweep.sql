-- Releases expired holds. $1 how many holds at most int4.
SELECT sweep_holds($1) AS swept
