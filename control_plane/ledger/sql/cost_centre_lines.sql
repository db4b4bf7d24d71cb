-- The teams added up by cost centre, the dearest first. It goes on from team_lines.sql.
--
-- Result: cost centre, teams, nano-USD, calls, how many cost an unknown amount, nano-USD of the rate's days, the caps
--         of its teams, how many of them have none, how many have used nine tenths of theirs or more.
SELECT
    cost_centre, count(*), sum(spent_nusd)::bigint, sum(requests)::bigint, sum(unpriced)::bigint,
    sum(week_nusd)::bigint, sum(cap_nusd)::bigint,
    count(*) FILTER (WHERE cap_nusd IS NULL),
    count(*) FILTER (WHERE spent_nusd >= cap_nusd * 0.9)
FROM line
GROUP BY cost_centre
ORDER BY 3 DESC, cost_centre
