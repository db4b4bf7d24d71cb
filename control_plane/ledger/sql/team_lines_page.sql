-- Some of the teams, in an order. It goes on from team_lines.sql.
--
-- search          part of a slug, a name or a cost centre, with its wildcards escaped
-- order           one of the columns below
-- most, offset    how many lines, and how many before them
-- Result: team, name, cost centre, nano-USD, calls, how many cost an unknown amount, nano-USD of the rate's days, cap.
SELECT team, name, cost_centre, spent_nusd, requests, unpriced, week_nusd, cap_nusd
FROM line
WHERE %(search)s = '' OR concat_ws(' ', team, name, cost_centre) ILIKE '%%' || %(search)s || '%%'
ORDER BY
    CASE %(order)s WHEN 'name' THEN lower(name) WHEN 'cost_centre' THEN lower(cost_centre) END,
    CASE %(order)s WHEN '-name' THEN lower(name) WHEN '-cost_centre' THEN lower(cost_centre) END DESC,
    CASE %(order)s
        WHEN 'spent' THEN spent_nusd WHEN 'requests' THEN requests WHEN 'budget' THEN cap_nusd
        WHEN 'used' THEN spent_nusd::numeric / nullif(cap_nusd, 0)
    END,
    CASE %(order)s
        WHEN '-spent' THEN spent_nusd WHEN '-requests' THEN requests WHEN '-budget' THEN cap_nusd
        WHEN '-used' THEN spent_nusd::numeric / nullif(cap_nusd, 0)
    END DESC NULLS LAST,
    team
LIMIT %(most)s OFFSET %(offset)s
