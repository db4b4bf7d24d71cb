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
)
SELECT
    day, of_hours.amount_nusd,
    CASE
        WHEN (of_hours.amount_nusd, of_hours.requests) IS DISTINCT FROM (of_days.amount_nusd, of_days.requests)
            THEN of_days.amount_nusd
        WHEN of_hours.amount_nusd IS DISTINCT FROM of_teams.amount_nusd THEN of_teams.amount_nusd
        ELSE of_models.amount_nusd
    END
FROM of_hours LEFT JOIN of_days USING (day) LEFT JOIN of_teams USING (day) LEFT JOIN of_models USING (day)
WHERE (of_hours.amount_nusd, of_hours.requests, of_hours.amount_nusd, of_hours.amount_nusd)
    IS DISTINCT FROM (of_days.amount_nusd, of_days.requests, of_teams.amount_nusd, of_models.amount_nusd)
ORDER BY day
LIMIT 1
