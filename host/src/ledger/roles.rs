//! A login of the blocks' own, which PostgreSQL itself confines: what the host asks a database's owner to set up, once.
//!
//! The row that says what a block did is written inside the block's transaction, and that belongs to a role that must not write
//! the ledger. So it goes in through a function with its owner's rights, which wants a secret: random, told to the ledger by the
//! host's own role right before, with the runner's token, and gone after one use.

use super::{Ledger, Token};
use crate::database::{literal, name};
use sha2::{Digest as _, Sha256};

/// The role of blocks, unless somebody chose another.
pub(crate) const ROLE: &str = "plinth_blocks";

impl Ledger {
    /// What gives blocks a role of their own: the role, what it may, the objects that it takes over, and the ledger's door. Safe to
    /// repeat. The role that runs it becomes a member, and so keeps its rights on everything that blocks make.
    pub(crate) fn roles(&self, role: &str, password: Option<&str>, schemas: &[String]) -> String {
        let (ledger, quoted) = (self.quoted(), name(role));
        let password =
            password.map_or_else(String::new, |password| format!("alter role {quoted} password {};\n", literal(password)));
        let list = schemas.iter().map(|schema| literal(schema)).collect::<Vec<_>>().join(", ");
        let usage: String =
            schemas.iter().map(|schema| format!("grant usage, create on schema {} to {quoted};\n", name(schema))).collect();
        format!(
            "do $plinth$ begin
    if not exists (select from pg_roles where rolname = {literal}) then
        create role {quoted} login nosuperuser nocreatedb nocreaterole noreplication;
    end if;
end $plinth$;
{password}grant {quoted} to current_user;
do $plinth$ begin
    execute format('grant connect, create, temporary on database %I to %I', current_database(), {literal});
end $plinth$;
{usage}-- What is there already is the blocks' to change.
do $plinth$
declare o record;
begin
    for o in
        select format('alter %s %I.%I owner to {quoted}', case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
                      when 'S' then 'sequence' else 'table' end, n.nspname, c.relname) as command
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ({list}) and c.relkind in ('r', 'p', 'v', 'm', 'S') and c.relowner = current_user::regrole
          and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i', 'e'))
        union all
        select format('alter routine %s owner to {quoted}', p.oid::regprocedure)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname in ({list}) and p.proowner = current_user::regrole and p.prokind <> 'a' and not p.prosecdef
          and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
        union all
        select format('alter type %I.%I owner to {quoted}', n.nspname, t.typname)
        from pg_type t join pg_namespace n on n.oid = t.typnamespace
        where n.nspname in ({list}) and t.typowner = current_user::regrole and t.typtype in ('e', 'd')
          and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
    loop
        execute o.command;
    end loop;
end $plinth$;
-- The ledger stays the host's, but for one door.
create table if not exists {ledger}.secrets (application text primary key, token bigint not null, secret text not null);
create or replace function {ledger}.as_host(given text, statements text) returns void language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $plinth$
declare mine record;
begin
    delete from {ledger}.secrets where secret = encode(sha256(convert_to(given, 'UTF8')), 'hex') returning application, token into mine;
    if mine.application is null then
        raise exception 'the ledger takes this from its host alone' using errcode = '42501';
    end if;
    perform from {ledger}.runners r where r.application = mine.application and r.token = mine.token and r.released is null for share;
    if not found then
        raise exception 'another runner took over' using errcode = '2201G';
    end if;
    execute statements;
end $plinth$;
revoke all on schema {ledger} from public, {quoted};
revoke all on all tables in schema {ledger} from public, {quoted};
revoke all on function {ledger}.as_host(text, text) from public;
grant usage on schema {ledger} to {quoted};
grant execute on function {ledger}.as_host(text, text) to {quoted};
",
            literal = literal(role),
        )
    }

    /// Asks what makes a role no wall; a row for each reason.
    pub(crate) fn walls(&self) -> String {
        let ledger = literal(&self.schema);
        format!(
            "select why from (
                select 'is a superuser' as why from pg_roles where rolname = current_user and rolsuper
                union all select 'owns the database, or is a member of its owner' from pg_database
                    where datname = current_database() and pg_has_role(current_user, datdba, 'member')
                union all select 'owns the ledger, or is a member of its owner' from pg_namespace
                    where nspname = {ledger} and pg_has_role(current_user, nspowner, 'member')
                union all select 'may write the ledger''s table ' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                    where n.nspname = {ledger} and c.relkind = 'r' and has_table_privilege(c.oid, 'insert, update, delete, truncate, trigger')
                union all select 'may not call the ledger''s function as_host' where not exists (
                    select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                    where n.nspname = {ledger} and p.proname = 'as_host' and has_schema_privilege(n.oid, 'usage')
                      and has_function_privilege(p.oid, 'execute'))
             ) walls order by 1"
        )
    }
}

/// A secret for one use.
pub(crate) struct Secret(String);

impl Secret {
    /// 32 random bytes; none if the system has no randomness.
    pub(crate) fn new() -> Option<Secret> {
        let mut bytes = [0; 32];
        rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
        Some(Secret(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    fn digest(&self) -> String {
        Sha256::digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Token {
    /// Told by the host's own role: the next secret, in place of any before.
    pub(crate) fn admits(&self, secret: &Secret) -> String {
        let (ledger, application) = (self.ledger.quoted(), self.ledger.application());
        format!(
            "insert into {ledger}.secrets (application, token, secret) values ({application}, {}, {})
             on conflict (application) do update set token = excluded.token, secret = excluded.secret",
            self.number,
            literal(&secret.digest())
        )
    }

    /// Sent by the blocks' role, inside the block's transaction.
    pub(crate) fn as_host(&self, secret: &Secret, statements: &str) -> String {
        format!("select {}.as_host({}, {})", self.ledger.quoted(), literal(&secret.0), literal(statements))
    }
}
