-- Record every change of one governed table. It is written anew for each table by control_plane.audit.triggers, and
-- names none of its columns but those that say what a row belongs to, so that a column that is added later is recorded.
CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
SET timezone = 'UTC' SET search_path FROM CURRENT AS $audit$
DECLARE
    old_row jsonb;
    new_row jsonb;
    r jsonb;
    scope record;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM audit_write('{kind}', 'emptied', '', NULL, NULL, '{{}}', '', '', TG_TABLE_NAME, '');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        old_row := to_jsonb(OLD) - '{unrecorded}'::text[];
    END IF;
    IF TG_OP <> 'DELETE' THEN
        new_row := to_jsonb(NEW) - '{unrecorded}'::text[];
    END IF;
    r := coalesce(new_row, old_row);
    SELECT found.* INTO scope FROM ({scope}) AS found (organization, team, object_name, unit);
    PERFORM audit_write(
        '{kind}',
        CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'UPDATE' THEN 'changed' ELSE 'deleted' END,
        r ->> '{primary_key}', old_row, new_row, '{secrets}',
        scope.organization, scope.team, scope.object_name, scope.unit
    );
    RETURN NULL;
END $audit$;
DROP TRIGGER IF EXISTS audit_rows ON {table};
DROP TRIGGER IF EXISTS audit_changes ON {table};
DROP TRIGGER IF EXISTS audit_emptying ON {table};
CREATE TRIGGER audit_rows AFTER INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
CREATE TRIGGER audit_changes AFTER UPDATE ON {table} FOR EACH ROW
    WHEN (to_jsonb(OLD) - '{unrecorded}'::text[] IS DISTINCT FROM to_jsonb(NEW) - '{unrecorded}'::text[])
    EXECUTE FUNCTION {function}();
CREATE TRIGGER audit_emptying AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {function}();
