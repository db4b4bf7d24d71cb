-- What each rule in shadow mode would have refused.
--
-- organization
-- start, end   instants of admission, the end exclusive; NULL for no bound
-- teams        slugs, or NULL for all
-- Result: rule, team, calls, nano-USD that they cost, how many cost an amount that is not known.
SELECT
    rule, team,
    count(*) FILTER (WHERE kind <> 'adjusted'),
    coalesce(sum(amount_nusd), 0)::bigint,
    count(*) FILTER (WHERE amount_nusd IS NULL)
FROM ledger_usageevent
CROSS JOIN LATERAL (SELECT DISTINCT unnest(shadow_refusals)) AS rules (rule)
WHERE organization = %(organization)s
    AND NOT shadow_refusals = '{}'
    AND reserved_at >= coalesce(%(start)s::timestamptz, '-infinity')
    AND reserved_at < coalesce(%(end)s::timestamptz, 'infinity')
    AND (%(teams)s::text[] IS NULL OR team = ANY(%(teams)s))
GROUP BY rule, team
ORDER BY 3 DESC, rule, team
