-- Requests whose amount is unknown, and of which the newest event is no correction of it, with what they have used.
--
-- organization   its slug
-- deployments    the references of those that have a price
-- after_id       rows up to this id have been looked at
-- most           how many requests at most
-- Result: the id of the row without an amount, its event_id, and all events of the request that count, as JSON
SELECT unpriced.id, unpriced.event_id, jsonb_agg(to_jsonb(event) ORDER BY event.id) AS events
FROM (
    SELECT id, event_id, request_id
    FROM ledger_usageevent AS candidate
    WHERE organization = %(organization)s AND amount_nusd IS NULL AND quality = 'unpriced'
        AND deployment = ANY(%(deployments)s) AND id > %(after_id)s
        AND (
            SELECT outcome FROM ledger_usageevent AS newest
            WHERE newest.request_id = candidate.request_id AND newest.organization = candidate.organization
            ORDER BY newest.id DESC
            LIMIT 1
        ) NOT IN ('repriced', 'corrected')
    ORDER BY id
    LIMIT %(most)s
) AS unpriced
JOIN ledger_usageevent AS event
    ON event.request_id = unpriced.request_id AND event.organization = %(organization)s
    AND event.kind IN ('posted', 'expired', 'adjusted')
GROUP BY unpriced.id, unpriced.event_id
ORDER BY unpriced.id
