//! What most boots are that do anything at all: a deploy of a set of which all is applied but one block.

use crate::{
    Bench,
    boots::adopted,
    far::{Far, WAY},
    folders::{Folders, Migration},
    numbers::{All, Figure, Rounds, Spread},
    proxy::Proxy,
    subjects::{self, From, Socket, Subject, Took, boot},
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Blocks that are applied already.
const APPLIED: usize = 1000;
/// The database that a round gets.
const DATABASE: &str = "deployed";

/// A set, and a database for each subject in which all of it but the last block is applied.
struct Deploy<'a> {
    bench: &'a Bench,
    folders: Folders,
    bundle: From,
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let deploy = Deploy::prepare(bench).await?;
    let subjects: Vec<Subject> = bench.arguments.subjects.clone();
    let far = Far::start(&bench.socket, WAY)?;
    for (where_, socket) in [("", bench.socket.clone()), (", the server a millisecond away", far.socket())] {
        let (mut after, mut total) = (Rounds::default(), Rounds::default());
        for round in 0..=bench.arguments.few() {
            for place in 0..subjects.len() {
                let subject = subjects[(round + place) % subjects.len()];
                let took = deploy.once(subject, &socket).await.with_context(|| subject.name())?;
                // The first warms up.
                if round > 0 {
                    after.add(subject.name(), took.run.as_secs_f64() * 1e3);
                    total.add(subject.name(), took.wall.as_secs_f64() * 1e3);
                }
            }
        }
        for (part, rounds) in [("after connecting", &after), ("in total", &total)] {
            let Some(plinth) = rounds.spread(Subject::Plinth.name()) else { continue };
            for other in subjects.iter().filter(|subject| **subject != Subject::Plinth) {
                let what = format!("a deploy: one of {} blocks pending, bundle, {part}{where_}", APPLIED + 1);
                let name = if *other == Subject::Floor { "its statement in a transaction" } else { other.title() };
                all.figures.push(Figure::time(2, what, plinth).against(name, rounds.spread(other.name()).context("no rounds")?));
            }
        }
    }
    let proxy = Proxy::start(&bench.socket)?;
    for subject in subjects.iter().filter(|subject| **subject != Subject::Floor) {
        proxy.take();
        deploy.once(*subject, &proxy.socket()).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        let what = format!("round trips of a deploy, those of connecting included, {}", subject.title());
        all.figures.push(Figure::new(2, what, "", Spread::once(proxy.take() as f64)));
    }
    Ok(())
}

impl Deploy<'_> {
    async fn prepare(bench: &Bench) -> Result<Deploy<'_>> {
        eprintln!("  {APPLIED} blocks that are applied …");
        let mut folders = Folders::write(APPLIED, &bench.component)?;
        let admin = bench.socket.client("postgres").await?;
        for subject in &bench.arguments.subjects {
            let name = &template(*subject);
            admin.batch_execute(&format!("create database {name}")).await?;
            match subject {
                Subject::Sqlx => drop(subjects::sqlx(&bench.socket, name, folders.sqlx.path(), false).await?),
                Subject::Refinery => drop(subjects::refinery(&bench.socket, name, folders.refinery.path(), false).await?),
                Subject::Plinth | Subject::Floor => adopted(&bench.socket, name, APPLIED, &folders.bundle(false).await?).await?,
            }
            bench.socket.client(name).await?.batch_execute("vacuum analyze").await?;
        }
        folders.add(&bench.component)?;
        let bundle = folders.bundle(false).await?;
        Ok(Deploy { bench, folders, bundle })
    }

    /// One deploy, on a database of its own.
    async fn once(&self, subject: Subject, socket: &Socket) -> Result<Took> {
        let admin = self.bench.socket.client("postgres").await?;
        admin.batch_execute(&format!("create database {DATABASE} template {} strategy file_copy", template(subject))).await?;
        // Its files are the server's to write, and not a part of what is measured.
        admin.batch_execute("checkpoint").await?;
        let took = match subject {
            Subject::Floor => floor(socket, self.folders.count).await,
            // The code is in the cache, as it is in an image that carries it.
            Subject::Plinth => boot(socket, DATABASE, &self.bundle, Some(self.bench.cache.path())).await.map(|(took, _)| took),
            Subject::Sqlx => subjects::sqlx(socket, DATABASE, self.folders.sqlx.path(), false).await,
            Subject::Refinery => subjects::refinery(socket, DATABASE, self.folders.refinery.path(), false).await,
        };
        admin.batch_execute(&format!("drop database {DATABASE} with (force)")).await?;
        took
    }
}

fn template(subject: Subject) -> String {
    format!("applied_{}", subject.name())
}

async fn floor(socket: &Socket, number: usize) -> Result<Took> {
    let begin = Instant::now();
    let mut client = socket.client(DATABASE).await?;
    let start = Instant::now();
    let transaction = client.transaction().await?;
    transaction.batch_execute(&Migration::new(number).statement).await?;
    transaction.commit().await?;
    Ok(Took { load: Duration::ZERO, run: start.elapsed(), again: None, wall: begin.elapsed() })
}
