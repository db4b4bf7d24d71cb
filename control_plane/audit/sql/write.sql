-- Write one entry of the audit log. `old` and `new` are the row before and after, NULL where there is none; `scope` is
-- what a row belongs to and is called. The context is JSON in the setting bursar.audit, which
-- control_plane.audit.context sets within each transaction that it knows of; without it, the change is the database
-- role's.
CREATE OR REPLACE FUNCTION audit_write(
    kind text, action text, object_id text, old jsonb, new jsonb, secrets text[],
    organization text, team text, object_name text, unit text
) RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT AS $audit$
DECLARE
    context jsonb := coalesce(nullif(current_setting('bursar.audit', true), ''), '{}')::jsonb;
    before jsonb;
    after jsonb;
BEGIN
    SELECT
        coalesce(jsonb_object_agg(name, value) FILTER (WHERE side = 'old'), '{}'),
        coalesce(jsonb_object_agg(name, value) FILTER (WHERE side = 'new'), '{}')
    INTO before, after
    FROM (
        SELECT
            side, name,
            CASE
                WHEN value <> 'null' AND (name = ANY (secrets) OR name ~ '(secret|password|digest|sealed|pepper)')
                THEN '"(secret)"' ELSE value
            END AS value
        FROM (
            SELECT 'old' AS side, key AS name, value FROM jsonb_each(old)
            WHERE new IS NULL AND value <> 'null' OR new -> key IS DISTINCT FROM value AND new IS NOT NULL
            UNION ALL
            SELECT 'new', key, value FROM jsonb_each(new)
            WHERE old IS NULL AND value <> 'null' OR old -> key IS DISTINCT FROM value AND old IS NOT NULL
        ) AS changed
    ) AS shown;
    INSERT INTO audit_auditentry (
        recorded_at, organization, team, kind, object_id, object_name, unit, action, before, after,
        actor, actor_id, token, way, address, request_id, reason, database_role
    ) VALUES (
        clock_timestamp(), coalesce(organization, ''), coalesce(team, ''), kind, object_id,
        coalesce(object_name, object_id), coalesce(unit, ''), action, before, after,
        coalesce(context ->> 'actor', session_user), coalesce(context ->> 'actor_id', ''),
        coalesce(context ->> 'token', ''), coalesce(context ->> 'way', 'database'),
        coalesce(context ->> 'address', host(inet_client_addr()), ''), coalesce(context ->> 'request_id', ''),
        coalesce(nullif(context ->> 'reason', ''), after ->> 'reason', ''), session_user
    );
END $audit$;
