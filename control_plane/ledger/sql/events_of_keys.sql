-- What the events of each team and key add up to.
--
-- organization
-- since      an instant; earlier events are left out
-- until_id   the id of the last row that counts
-- Result: a JSON array of objects, which hours_that_differ.sql takes.
SELECT coalesce(jsonb_agg(to_jsonb(of_key)), '[]')
FROM (
    SELECT
        team, key,
        coalesce(sum(amount_nusd), 0) AS amount_nusd,
        count(*) FILTER (WHERE kind <> 'adjusted') AS requests,
        sum(input_tokens) AS input_tokens,
        sum(output_tokens) AS output_tokens
    FROM ledger_usageevent
    WHERE organization = %(organization)s AND reserved_at >= %(since)s AND id <= %(until_id)s
    GROUP BY team, key
) AS of_key
