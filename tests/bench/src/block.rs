//! One block of twenty statements, against the same statements sent natively in a transaction with a row for a ledger.

use crate::{
    Bench,
    guests::{self, STATEMENTS, STATEMENTS_MANIFEST, STATEMENTS_TEXT},
    numbers::{All, Figure, Goal, Rounds},
    statements::{LEDGER, List, Native},
    subjects::Socket,
};
use anyhow::{Context, Result, ensure};
use plinth::{Host, Outcome};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

const DATABASE: &str = "block";
/// How the statements are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Block,
    Native(Native, Disk),
}

/// Whether COMMIT waits for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    Waited,
    NotWaited,
}

impl Way {
    const ALL: [Way; 5] = [
        Way::Block,
        Way::Native(Native::AtOnce, Disk::NotWaited),
        Way::Native(Native::Typed, Disk::NotWaited),
        Way::Native(Native::Prepared, Disk::NotWaited),
        Way::Native(Native::Prepared, Disk::Waited),
    ];

    fn name(self) -> &'static str {
        match self {
            Way::Block => "a block",
            Way::Native(Native::AtOnce, _) => "tokio-postgres, execute_typed, all at once",
            Way::Native(Native::Typed, _) => "tokio-postgres, execute_typed",
            Way::Native(Native::Prepared, Disk::NotWaited) => "tokio-postgres, execute",
            Way::Native(Native::Prepared, Disk::Waited) => "tokio-postgres, execute, waiting for the disk",
        }
    }
}

/// What a session did before: nothing, or something on the same tables, so that it knows them; and a change of the schema, so that what
/// the host asks after one is planned.
const BEFORE: &str = "update bench_customers set orders = $2 where id = $1\t1900\t0
update bench_orders set cents = $2 where id = $1\t8900\t1
alter table bench_orders alter column note set default null";
/// What comes after it.
const AFTER: &str = "update bench_customers set orders = $2 where id = $1\t1901\t0";

/// What is there before, each time anew.
const TABLES: &str = "
    drop schema public cascade; create schema public;
    create table bench_customers (id bigint primary key, name text not null, country text not null, orders bigint not null default 0, active boolean not null default true);
    create table bench_orders (id bigint primary key, customer bigint not null, cents bigint not null, state text not null, placed timestamptz not null default now(), note text);
    insert into bench_customers (id, name, country) select i, 'customer ' || i, (array['de', 'fr', 'pl', 'it', 'es'])[1 + i % 5] || i % 20 from generate_series(1, 2000) i;
    insert into bench_orders (id, customer, cents, state) select i, 1 + i % 2000, i % 10000, (array['open', 'paid', 'sent'])[1 + i % 3] from generate_series(1, 10000) i;
    create index on bench_orders (customer)";

/// What a migration of data does: some rows by key, some by the hundred, one column from another table.
const MIXED: &str = "insert into bench_customers (id, name, country) values ($1, $2, $3)\t100001\t'Nadia\t'de1
insert into bench_customers (id, name, country) values ($1, $2, $3)\t100002\t'Omar\t'fr1
insert into bench_customers (id, name, country) values ($1, $2, $3)\t100003\t'Pia\t'pl1
update bench_customers set name = $2 where id = $1\t17\t'Quentin
update bench_customers set name = $2 where id = $1\t18\t'Rosa
update bench_customers set active = false where country = $1\t'de5
update bench_customers set country = $2 where country = $1\t'fr6\t'fr
update bench_orders set state = $2 where id = $1\t501\t'lost
update bench_orders set state = $2 where id = $1\t502\t'lost
update bench_orders set note = $2 where customer = $1\t33\t'looked at
delete from bench_orders where id = $1\t701
delete from bench_orders where customer = $1\t34
update bench_orders set cents = cents + $1 where id between $2 and $3\t100\t2001\t2500
insert into bench_orders (id, customer, cents, state) select id + $1, customer, cents, state from bench_orders where id between $2 and $3\t1000000\t3001\t3200
update bench_customers c set orders = (select count(*) from bench_orders o where o.customer = c.id) where c.id between $1 and $2\t1\t500
insert into bench_orders (id, customer, cents, state) values ($1, $2, $3, $4)\t2000001\t17\t1250\t'open
insert into bench_orders (id, customer, cents, state) values ($1, $2, $3, $4)\t2000002\t18\t990\t'open
update bench_orders set state = $1 where state = $2 and id <= $3\t'done\t'sent\t1500
delete from bench_orders where state = $1 and id > $2\t'open\t9000
update bench_orders set note = $1 where note is null and cents > $2\t'large\t9900";

/// The hardest: hardly any work for the database.
const SINGLE: &str = "insert into bench_customers (id, name, country) values ($1, $2, $3)\t100001\t'Nadia\t'de1
update bench_customers set name = $2 where id = $1\t1\t'a
update bench_customers set name = $2 where id = $1\t2\t'b
update bench_customers set country = $2 where id = $1\t3\t'c
update bench_customers set orders = orders + $2 where id = $1\t4\t1
insert into bench_orders (id, customer, cents, state) values ($1, $2, $3, $4)\t2000001\t17\t1250\t'open
update bench_orders set state = $2 where id = $1\t501\t'lost
update bench_orders set note = $2 where id = $1\t502\t'looked at
update bench_orders set cents = cents + $2 where id = $1\t503\t100
delete from bench_orders where id = $1\t701
insert into bench_customers (id, name, country) values ($1, $2, $3)\t100002\t'Omar\t'fr1
update bench_customers set name = $2 where id = $1\t11\t'a
update bench_customers set name = $2 where id = $1\t12\t'b
update bench_customers set country = $2 where id = $1\t13\t'c
update bench_customers set orders = orders + $2 where id = $1\t14\t1
insert into bench_orders (id, customer, cents, state) values ($1, $2, $3, $4)\t2000002\t18\t990\t'open
update bench_orders set state = $2 where id = $1\t511\t'lost
update bench_orders set note = $2 where id = $1\t512\t'looked at
update bench_orders set cents = cents + $2 where id = $1\t513\t100
delete from bench_orders where id = $1\t702";

/// What a migration of the schema does.
const SCHEMA: &str = "create table bench_invoices (id bigint generated always as identity primary key, customer bigint not null, cents bigint not null)
create table bench_payments (id bigint generated always as identity primary key, invoice bigint not null, cents bigint not null)
create table bench_refunds (id bigint generated always as identity primary key, payment bigint not null, cents bigint not null)
alter table bench_customers add column email text
alter table bench_customers add column phone text
alter table bench_customers add column wants_mail boolean not null default false
alter table bench_orders add column currency text not null default 'EUR'
alter table bench_orders add column paid_at timestamptz
create index bench_invoices_customer_idx on bench_invoices (customer)
create index bench_payments_invoice_idx on bench_payments (invoice)
create index bench_refunds_payment_idx on bench_refunds (payment)
create index bench_orders_state_idx on bench_orders (state)
alter table bench_orders add constraint bench_orders_cents_check check (cents >= 0) not valid
alter table bench_orders validate constraint bench_orders_cents_check
alter table bench_payments add constraint bench_payments_invoice_fk foreign key (invoice) references bench_invoices (id)
alter table bench_refunds add constraint bench_refunds_payment_fk foreign key (payment) references bench_payments (id)
alter table bench_customers alter column country set default 'de'
alter table bench_orders alter column note set default ''
create view bench_open_orders as select id, customer, cents from bench_orders where state = 'open'
comment on table bench_invoices is 'what customers owe'";

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    bench.socket.client("postgres").await?.batch_execute(&format!("create database {DATABASE}")).await?;
    bench
        .socket
        .client(DATABASE)
        .await?
        .batch_execute(&format!("create schema apart; set search_path = apart; {LEDGER}"))
        .await?;
    let before = List::new(BEFORE)?;
    for (title, text, later, counts) in [
        ("mixed, a later block of a boot", MIXED, true, true),
        ("mixed, the first block in a new session", MIXED, false, false),
        ("a row each, a later block", SINGLE, true, false),
        ("schema, a later block", SCHEMA, true, true),
    ] {
        eprintln!("  20 statements, {title} …");
        let list = List::new(text)?;
        ensure!(list.len() == 20, "{title} has {} statements", list.len());
        let before = later.then_some(&before);
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("statements.wasm"), component(&list)?)?;
        if let Some(before) = before {
            beside(folder.path(), "bench_statement0", before)?;
        }
        follow(folder.path(), AFTER)?;
        let mut rounds = Rounds::default();
        for round in 0..=bench.arguments.many() {
            for place in 0..Way::ALL.len() {
                let way = Way::ALL[(round + place) % Way::ALL.len()];
                bench.socket.client(DATABASE).await?.batch_execute(TABLES).await?;
                let took = match way {
                    Way::Block => block(bench, DATABASE, &format!("{title} {round}"), folder.path()).await?,
                    Way::Native(how, disk) => native(&bench.socket, DATABASE, &list, before, how, disk).await?,
                };
                if round > 0 {
                    rounds.add(way.name(), took.as_secs_f64() * 1e3);
                }
            }
        }
        let spread = |way: Way| rounds.spread(way.name()).context("no rounds");
        for way in Way::ALL.into_iter().filter(|way| *way != Way::Block) {
            let figure =
                Figure::time(3, format!("20 statements, {title}"), spread(Way::Block)?).against(way.name(), spread(way)?);
            let counts = counts && !matches!(way, Way::Native(_, Disk::Waited) | Way::Native(Native::AtOnce, _));
            all.figures.push(if counts { figure.goal(Goal::AtMost(1.05)) } else { figure });
        }
    }
    Ok(())
}

const MANIFEST: &str = include_str!("../guests/statements/block.toml");

/// Puts a block behind the one that is measured, since the last one of a boot also ends that, and waits for the disk.
pub fn follow(folder: &Path, text: &str) -> Result<()> {
    beside(folder, "bench_statementz", &List::new(text)?)
}

fn beside(folder: &Path, id: &str, list: &List) -> Result<()> {
    let component = guests::copy(&component(list)?, &[(STATEMENTS_MANIFEST, &MANIFEST.replace("bench_statements", id))])?;
    Ok(fs::write(folder.join(format!("{id}.wasm")), component)?)
}

/// A component that sends them.
pub fn component(list: &List) -> Result<Vec<u8>> {
    guests::copy(&guests::built(STATEMENTS)?, &[(STATEMENTS_TEXT, &list.text)])
}

/// Makes a database in which no COMMIT waits for the disk, natively no more than in a block: a boot waits once, at its end, which
/// is no part of a block's time.
pub async fn without_waiting(bench: &Bench, database: &str) -> Result<()> {
    let admin = bench.socket.client("postgres").await?;
    admin.batch_execute(&format!("create database {database}")).await?;
    admin.batch_execute(&format!("alter database {database} set synchronous_commit = off")).await?;
    Ok(())
}

/// By the report: from before BEGIN to after COMMIT, with all that the host measures and records. The application is new each
/// time, so the block is pending.
pub async fn block(bench: &Bench, database: &str, application: &str, folder: &Path) -> Result<Duration> {
    let host = Host::new(bench.socket.config(database)).application(application).folder(folder).cache(bench.cache.path());
    let report = host.boot().await?;
    let block = report.block("bench_statements").context("no block")?;
    ensure!(block.outcome == Outcome::Applied, "{report:?}");
    Ok(Duration::from_secs_f64(block.duration_ms / 1e3))
}

/// The same in a session that may have done something before.
pub async fn native(
    socket: &Socket,
    database: &str,
    list: &List,
    before: Option<&List>,
    native: Native,
    disk: Disk,
) -> Result<Duration> {
    let client = socket.client(database).await?;
    let waits = if disk == Disk::Waited { "on" } else { "off" };
    client.batch_execute(&format!("set search_path = public, apart; set synchronous_commit = {waits}")).await?;
    if let Some(before) = before {
        before.run(&client, native).await?;
    }
    let start = Instant::now();
    list.run(&client, native).await?;
    Ok(start.elapsed())
}
