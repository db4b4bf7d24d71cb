-- How many calls each limit and budget has refused: those that are written as events, and those beyond them.
--
-- organization
-- start, end   instants, the end exclusive; NULL for no bound. What is beyond is known by the hour of UTC.
-- teams        slugs, or NULL for all
-- Result: rule, team, calls.
WITH refused AS (
    SELECT refusing_scope AS rule, team, count(*) AS calls
    FROM ledger_usageevent
    WHERE organization = %(organization)s
        AND kind = 'refused'
        AND reserved_at >= coalesce(%(start)s::timestamptz, '-infinity')
        AND reserved_at < coalesce(%(end)s::timestamptz, 'infinity')
        AND (%(teams)s::text[] IS NULL OR team = ANY(%(teams)s))
    GROUP BY refusing_scope, team
    UNION ALL
    SELECT refusing_scope, team, calls
    FROM ledger_refusalcount
    WHERE organization = %(organization)s
        AND hour >= coalesce(%(start)s::timestamptz, '-infinity')
        AND hour < coalesce(%(end)s::timestamptz, 'infinity')
        AND (%(teams)s::text[] IS NULL OR team = ANY(%(teams)s))
)
SELECT rule, team, sum(calls)::bigint
FROM refused
GROUP BY rule, team
ORDER BY 3 DESC, rule, team
