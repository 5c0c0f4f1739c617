create or replace function pg_temp.plinth_snapshot(ledger name, most_rows bigint)
returns table (kind text, object text, line text) language plpgsql as $snapshot$
declare
  relation record;
  counted bigint;
begin
  create temporary table if not exists plinth_snapshot_schemas as
    select oid, nspname from pg_namespace
    where nspname not in ('pg_catalog', 'information_schema', ledger) and nspname !~ '^pg_(toast|temp)';
  return query
    select 'definition', what, how from (
      select 'schema ' || nspname, '' from plinth_snapshot_schemas
      union all
      select case c.relkind when 'v' then 'view ' when 'm' then 'materialised view ' when 'S' then 'sequence ' else 'table ' end || c.oid::regclass,
             concat_ws(' ', case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end,
                       case when c.relrowsecurity then 'row level security' end, c.reloptions::text, c.relacl::text)
      from pg_class c join plinth_snapshot_schemas n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
      union all
      select 'column ' || c.oid::regclass || '.' || quote_ident(a.attname),
             concat_ws(' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then 'not null' end,
                       nullif(a.attidentity, ''), nullif(a.attgenerated, ''), 'default ' || pg_get_expr(d.adbin, d.adrelid))
      from pg_attribute a join pg_class c on c.oid = a.attrelid join plinth_snapshot_schemas n on n.oid = c.relnamespace
      left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
      where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'f')
      union all
      select 'index ' || i.indexrelid::regclass, pg_get_indexdef(i.indexrelid) || case when i.indisvalid then '' else ' (invalid)' end
      from pg_index i join pg_class c on c.oid = i.indrelid join plinth_snapshot_schemas n on n.oid = c.relnamespace
      union all
      select 'constraint ' || k.conname || coalesce(' on ' || nullif(k.conrelid, 0)::regclass, ''),
             pg_get_constraintdef(k.oid) || case when k.convalidated then '' else ' (not validated)' end
      from pg_constraint k join plinth_snapshot_schemas n on n.oid = k.connamespace
      union all
      select 'trigger ' || t.tgname || ' on ' || t.tgrelid::regclass, pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text
      from pg_trigger t join pg_class c on c.oid = t.tgrelid join plinth_snapshot_schemas n on n.oid = c.relnamespace
      where not t.tgisinternal
      union all
      select 'function ' || p.oid::regprocedure, case when p.prokind = 'a' then 'aggregate' else pg_get_functiondef(p.oid) end
      from pg_proc p join plinth_snapshot_schemas n on n.oid = p.pronamespace
      where not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
      union all
      select 'type ' || t.oid::regtype,
             coalesce((select string_agg(e.enumlabel, ', ' order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid), t.typtype::text)
      from pg_type t join plinth_snapshot_schemas n on n.oid = t.typnamespace where t.typtype in ('e', 'd', 'r')
      union all
      select 'policy ' || p.polname || ' on ' || p.polrelid::regclass,
             concat_ws(' ', p.polcmd, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
      from pg_policy p
      union all
      select 'extension ' || extname, extversion from pg_extension
    ) as definitions (what, how);
  for relation in
    select c.oid, format('%I.%I', n.nspname, c.relname) as quoted, c.oid::regclass::text as told
    from pg_class c join plinth_snapshot_schemas n on n.oid = c.relnamespace where c.relkind in ('r', 'm') order by 2
  loop
    return query
      select 'key', relation.told, a.attname::text from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indrelid = relation.oid and i.indisprimary;
    execute format('select count(*) from %s', relation.quoted) into counted;
    if counted > most_rows then
      return query execute format(
        'select ''digest'', %L, count(*) || '' rows '' || md5(string_agg(md5(r::text), '''' order by md5(r::text))) from %s r', relation.told, relation.quoted);
    else
      return query execute format('select ''row'', %L, to_jsonb(r)::text from %s r', relation.told, relation.quoted);
    end if;
  end loop;
end
$snapshot$
