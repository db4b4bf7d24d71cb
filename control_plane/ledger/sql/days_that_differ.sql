-- The first day whose hours are all taken into it, and which does not hold what they add up to.
--
-- organization
-- since   a day; earlier days are left out
-- Result: day, nano-USD of the hours, nano-USD of the day; no row where all agree.
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
)
SELECT day, of_hours.amount_nusd, of_days.amount_nusd
FROM of_hours LEFT JOIN of_days USING (day)
WHERE (of_hours.amount_nusd, of_hours.requests) IS DISTINCT FROM (of_days.amount_nusd, of_days.requests)
ORDER BY day
LIMIT 1
