-- The first day whose hours are all taken into it, and which does not hold what they add up to.
--
-- organization
-- since   a day; earlier days are left out
-- Result: day, nano-USD of the hours, and those of the day, of its teams or of its models, whichever differ; no row
--         where all agree.
WITH of_hours AS (
    SELECT day, sum(amount_nusd) AS amount_nusd, sum(requests) AS requests
    FROM ledger_hourrollup
    WHERE organization = %(organization)s AND day >= %(since)s
    GROUP BY day
    HAVING bool_and(is_in_day)
), of_days AS (
    SELECT day, sum(amount_nusd) AS amount_nusd, sum(requests) AS requests
    FROM ledger_dayrollup
    WHERE organization = %(organization)s AND day >= %(since)s
    GROUP BY day
), of_teams AS (
    SELECT day, sum(amount_nusd) AS amount_nusd
    FROM ledger_teamday
    WHERE organization = %(organization)s AND day >= %(since)s
    GROUP BY day
), of_models AS (
    SELECT day, sum(amount_nusd) AS amount_nusd
    FROM ledger_modelday
    WHERE organization = %(organization)s AND day >= %(since)s
    GROUP BY day
), of_pairs AS (
    SELECT day, sum(amount_nusd) AS amount_nusd
    FROM ledger_pairday
    WHERE organization = %(organization)s AND pair = 'user,provider' AND day >= %(since)s
    GROUP BY day
), of_providers AS (
    SELECT day, sum(amount_nusd) AS amount_nusd
    FROM ledger_dimensionhour
    WHERE organization = %(organization)s AND dimension = 'provider' AND day >= %(since)s
    GROUP BY day
)
SELECT
    day, of_hours.amount_nusd,
    CASE
        WHEN (of_hours.amount_nusd, of_hours.requests) IS DISTINCT FROM (of_days.amount_nusd, of_days.requests)
            THEN of_days.amount_nusd
        WHEN of_hours.amount_nusd IS DISTINCT FROM of_teams.amount_nusd THEN of_teams.amount_nusd
        WHEN of_hours.amount_nusd IS DISTINCT FROM of_models.amount_nusd THEN of_models.amount_nusd
        WHEN of_hours.amount_nusd IS DISTINCT FROM of_pairs.amount_nusd THEN of_pairs.amount_nusd
        ELSE of_providers.amount_nusd
    END
FROM of_hours
LEFT JOIN of_days USING (day)
LEFT JOIN of_teams USING (day)
LEFT JOIN of_models USING (day)
LEFT JOIN of_pairs USING (day)
LEFT JOIN of_providers USING (day)
WHERE of_hours.requests IS DISTINCT FROM of_days.requests
    OR of_hours.amount_nusd IS DISTINCT FROM of_days.amount_nusd
    OR of_hours.amount_nusd IS DISTINCT FROM of_teams.amount_nusd
    OR of_hours.amount_nusd IS DISTINCT FROM of_models.amount_nusd
    OR of_hours.amount_nusd IS DISTINCT FROM of_pairs.amount_nusd
    OR of_hours.amount_nusd IS DISTINCT FROM of_providers.amount_nusd
ORDER BY day
LIMIT 1
