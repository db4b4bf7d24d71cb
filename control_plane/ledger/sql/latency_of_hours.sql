-- How long the answers of each hour took, of the newest calls.
--
-- organization
-- start    an instant
-- most     so many of the newest calls are looked at, whatever their number
-- Result: the hour (UTC), calls, the milliseconds that half of the calls took at most, and 95 of a hundred.
SELECT
    date_trunc('hour', reserved_at), count(*),
    percentile_disc(0.5) WITHIN GROUP (ORDER BY latency_ms),
    percentile_disc(0.95) WITHIN GROUP (ORDER BY latency_ms)
FROM (
    SELECT reserved_at, latency_ms
    FROM ledger_usageevent
    WHERE organization = %(organization)s AND reserved_at >= %(start)s AND kind = 'posted' AND latency_ms IS NOT NULL
    ORDER BY reserved_at DESC
    LIMIT %(most)s
) AS newest
GROUP BY 1
ORDER BY 1
