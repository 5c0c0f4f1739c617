//! The ledger's tables.

use crate::database::{literal, name};

/// The format that this host writes. A host refuses a newer one.
pub(crate) const FORMAT: i32 = 5;

/// Where a ledger is, and whose part of it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) schema: String,
    pub(crate) application: String,
}

impl Ledger {
    /// The schema as a quoted name.
    pub(crate) fn quoted(&self) -> String {
        name(&self.schema)
    }

    /// The application as a literal.
    pub(crate) fn application(&self) -> String {
        literal(&self.application)
    }

    /// Makes the ledger, or brings an older one to this format. Only ever sent under the lock: `CREATE … IF NOT EXISTS` races with itself.
    ///
    /// Applications that share a ledger hold different locks, so a lock of the ledger's own is held while it is made; in
    /// the simple protocol and for an instant, so that it holds up nobody's CREATE INDEX CONCURRENTLY.
    pub(crate) fn create(&self) -> String {
        let schema = self.quoted();
        let making = literal(&format!("plinth ledger {}", self.schema));
        format!(
            "begin;
            select pg_advisory_xact_lock(hashtextextended({making}, 0));
            set local client_min_messages = warning;
            create schema if not exists {schema};
            create table if not exists {schema}.ledger (
                only_row boolean primary key default true check (only_row),
                format integer not null,
                created timestamptz not null default now());
            insert into {schema}.ledger as l (format) values ({FORMAT})
                on conflict (only_row) do update set format = excluded.format where l.format < excluded.format;
            create table if not exists {schema}.boots (
                id bigint generated always as identity primary key,
                application text not null,
                started timestamptz not null default clock_timestamp(),
                finished timestamptz,
                state text not null check (state in ('running', 'complete', 'deferred', 'failed', 'interrupted')),
                set_digest text not null,
                host_version text not null,
                build text,
                instance text not null,
                found integer not null,
                round_trips bigint,
                error jsonb);
            create table if not exists {schema}.blocks (
                application text not null,
                id text not null,
                kind text not null,
                title text not null,
                team text,
                digest text not null,
                first_applied timestamptz,
                started timestamptz,
                last_boot bigint not null,
                last_outcome text not null,
                last_changed timestamptz,
                deferrals integer not null default 0,
                retired_at timestamptz,
                renamed_from text,
                manifest jsonb,
                primary key (application, id));
            create table if not exists {schema}.outcomes (
                boot bigint not null references {schema}.boots on delete cascade,
                block text not null,
                attempt integer not null default 1,
                outcome text not null,
                started timestamptz not null,
                duration_ms double precision not null,
                statements bigint not null,
                rows jsonb not null,
                objects jsonb not null,
                locks jsonb not null,
                message text,
                error jsonb,
                journal jsonb not null,
                primary key (boot, block, attempt));
            -- Since format 2.
            create table if not exists {schema}.runners (
                application text primary key,
                token bigint not null,
                mode text not null check (mode in ('session', 'lease')),
                instance text not null,
                since timestamptz not null,
                expires timestamptz not null,
                released timestamptz);
            -- Since format 3.
            {backfills};
            -- Since format 4: what a boot looks at first. Plain columns and no more, since a new session looks everything else up; the row of
            -- no application says that the ledger is there. Before, the ledger's row held it.
            create table if not exists {schema}.look (
                application text primary key,
                format integer not null,
                boot bigint,
                digest text);
            insert into {schema}.look (application, format, boot, digest)
                select '', {FORMAT}, null, null
                union all
                select key, {FORMAT}, (value ->> 'boot')::bigint, value ->> 'digest'
                from {schema}.ledger l, jsonb_each(coalesce(to_jsonb(l) -> 'complete', '{{}}'))
                on conflict (application) do nothing;
            -- Since format 5.
            alter table {schema}.blocks add column if not exists recall jsonb;
            update {schema}.look set format = {FORMAT} where format < {FORMAT};
            commit",
            backfills = self.create_backfills()
        )
    }
}
