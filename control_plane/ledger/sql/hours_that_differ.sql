-- The first team and key whose events do not add up to their hours.
--
-- organization
-- since      the beginning of an hour; earlier events are left out
-- until_id   the id of the last row that is in `known`
-- known      what events_of_keys.sql has given
-- Result: team, key, nano-USD of the events, nano-USD of the hours; no row where all agree.
WITH event AS (
    SELECT team, key, amount_nusd, requests, input_tokens, output_tokens
    FROM jsonb_to_recordset(%(known)s) AS known (
        team text, key text, amount_nusd numeric, requests numeric, input_tokens numeric, output_tokens numeric
    )
    UNION ALL
    SELECT
        team, key, coalesce(amount_nusd, 0), CASE kind WHEN 'adjusted' THEN 0 ELSE 1 END, input_tokens, output_tokens
    FROM ledger_usageevent
    WHERE organization = %(organization)s AND reserved_at >= %(since)s AND id > %(until_id)s
), of_events AS (
    SELECT
        team, key,
        sum(amount_nusd) AS amount_nusd,
        sum(requests) AS requests,
        sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens
    FROM event
    GROUP BY team, key
), of_hours AS (
    SELECT
        team, key,
        sum(amount_nusd) AS amount_nusd,
        sum(requests) AS requests,
        sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens
    FROM ledger_hourrollup
    WHERE organization = %(organization)s AND hour >= %(since)s
    GROUP BY team, key
)
SELECT team, key, of_events.amount_nusd, of_hours.amount_nusd
FROM of_events FULL JOIN of_hours USING (team, key)
WHERE (of_events.amount_nusd, of_events.requests, of_events.input_tokens, of_events.output_tokens)
    IS DISTINCT FROM (of_hours.amount_nusd, of_hours.requests, of_hours.input_tokens, of_hours.output_tokens)
ORDER BY team, key
LIMIT 1
