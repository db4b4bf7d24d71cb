-- Some of the teams, in an order. It goes on from team_lines.sql.
--
-- search          part of a slug, a name or a cost centre, with its wildcards escaped
-- cost_centre     its name, '' for teams that have none, NULL for all
-- order           the name of a column of the table in which they are shown, with a minus for the other way round
-- days_left       of the month, at the rate of the seven days
-- most, offset    how many lines, and how many before them
-- Result: team, name, cost centre, nano-USD, calls, how many cost an unknown amount, nano-USD of the rate's days, cap.
SELECT team, name, cost_centre, spent_nusd, requests, unpriced, week_nusd, cap_nusd
FROM line
CROSS JOIN LATERAL (
    SELECT CASE ltrim(%(order)s, '-')
        WHEN 'spent_usd' THEN spent_nusd
        WHEN 'month_end_usd' THEN spent_nusd + week_nusd::numeric * %(days_left)s / 7
        WHEN 'calls' THEN requests
        WHEN 'budget_usd' THEN cap_nusd
        WHEN 'used_percent' THEN spent_nusd::numeric / nullif(cap_nusd, 0)
    END AS number,
    CASE ltrim(%(order)s, '-')
        WHEN 'name' THEN lower(name)
        WHEN 'cost_centre' THEN lower(nullif(cost_centre, ''))
    END AS text
) AS sorted
WHERE (%(search)s = '' OR concat_ws(' ', team, name, cost_centre) ILIKE '%%' || %(search)s || '%%')
    AND (%(cost_centre)s::text IS NULL OR cost_centre = %(cost_centre)s)
ORDER BY
    CASE WHEN NOT starts_with(%(order)s, '-') THEN number END,
    CASE WHEN starts_with(%(order)s, '-') THEN number END DESC NULLS LAST,
    CASE WHEN NOT starts_with(%(order)s, '-') THEN text END,
    CASE WHEN starts_with(%(order)s, '-') THEN text END DESC NULLS LAST,
    team
LIMIT %(most)s OFFSET %(offset)s
