//! What most boots are that do anything at all: a deploy of a set of which all is applied but one block.

use crate::{
    Bench,
    boots::{MOST_OF_PEERS, adopted},
    far::{Far, WAY},
    folders::{Folders, Migration},
    numbers::{All, Figure, Rounds, Spread},
    proxy::Proxy,
    subjects::{self, From, Socket, Subject, Took, boot},
};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// The database that a round gets.

/// A set of which all but the last block is applied, in a database for each subject.
struct Deploy<'a> {
    bench: &'a Bench,
    folders: Folders,
    bundle: From,
}

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let subjects = bench.arguments.subjects.as_slice();
    let deploy = Deploy::prepare(bench, MOST_OF_PEERS, subjects).await?;
    let far = Far::start(&bench.socket, WAY)?;
    for (away, socket) in [("", bench.socket.clone()), (", the server a millisecond away", far.socket())] {
        let rounds = deploy.rounds(subjects, &socket).await?;
        for (part, rounds) in ["after connecting", "in total"].into_iter().zip(&rounds) {
            let Some(plinth) = rounds.spread(Subject::Plinth.name()) else { continue };
            for other in subjects.iter().filter(|subject| **subject != Subject::Plinth) {
                let what = format!("a deploy, one of {} blocks pending, bundle, {part}{away}", deploy.folders.count);
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
    if subjects.contains(&Subject::Plinth) {
        let deploy = Deploy::prepare(bench, 10 * MOST_OF_PEERS, &[Subject::Plinth]).await?;
        let [after, _] = deploy.rounds(&[Subject::Plinth], &bench.socket).await?;
        let what = format!("a deploy, one of {} blocks pending, bundle, after connecting", deploy.folders.count);
        all.figures.push(Figure::time(2, what, after.spread(Subject::Plinth.name()).context("no rounds")?));
    }
    Ok(())
}

impl Deploy<'_> {
    async fn prepare<'a>(bench: &'a Bench, applied: usize, subjects: &[Subject]) -> Result<Deploy<'a>> {
        eprintln!("  {applied} blocks that are applied, and one that is not …");
        let mut folders = Folders::write(applied, bench)?;
        let admin = bench.socket.client("postgres").await?;
        for subject in subjects {
            let name = &template(*subject, applied);
            admin.batch_execute(&format!("create database {name}")).await?;
            match subject {
                Subject::Sqlx => drop(subjects::sqlx(&bench.socket, name, &folders.sqlx, false).await?),
                Subject::Refinery => drop(subjects::refinery(&bench.socket, name, &folders.refinery, false).await?),
                Subject::Plinth | Subject::Floor => adopted(&bench.socket, name, applied, &folders.bundle(false).await?).await?,
            }
            bench.socket.client(name).await?.batch_execute("vacuum analyze").await?;
        }
        folders.add(&bench.component)?;
        let bundle = folders.bundle(false).await?;
        Ok(Deploy { bench, folders, bundle })
    }

    /// Subjects that take turns: what they needed after connecting, and in total.
    async fn rounds(&self, subjects: &[Subject], socket: &Socket) -> Result<[Rounds; 2]> {
        let mut rounds = [Rounds::default(), Rounds::default()];
        for round in 0..=self.bench.arguments.few() {
            for place in 0..subjects.len() {
                let subject = subjects[(round + place) % subjects.len()];
                let took = self.once(subject, socket).await.with_context(|| subject.name())?;
                // The first warms up.
                if round > 0 {
                    for (rounds, part) in rounds.iter_mut().zip([took.run, took.wall]) {
                        rounds.add(subject.name(), part.as_secs_f64() * 1e3);
                    }
                }
            }
        }
        Ok(rounds)
    }

    /// One deploy, on a database of its own.
    async fn once(&self, subject: Subject, socket: &Socket) -> Result<Took> {
        let admin = self.bench.socket.client("postgres").await?;
        let (template, database) = (template(subject, self.folders.count - 1), &*self.bench.database());
        admin.batch_execute(&format!("create database {database} template {template} strategy file_copy")).await?;
        // Its files are the server's to write, and not a part of what is measured.
        admin.batch_execute("checkpoint").await?;
        match subject {
            Subject::Floor => floor(socket, database, self.folders.count).await,
            // The code is in the cache, as it is in an image that carries it.
            Subject::Plinth => boot(socket, database, &self.bundle, Some(self.bench.cache.path())).await.map(|(took, _)| took),
            Subject::Sqlx => subjects::sqlx(socket, database, &self.folders.sqlx, false).await,
            Subject::Refinery => subjects::refinery(socket, database, &self.folders.refinery, false).await,
        }
    }
}

fn template(subject: Subject, applied: usize) -> String {
    format!("applied_{}_{applied}", subject.name())
}

async fn floor(socket: &Socket, database: &str, number: usize) -> Result<Took> {
    let begin = Instant::now();
    let mut client = socket.client(database).await?;
    let start = Instant::now();
    let transaction = client.transaction().await?;
    transaction.batch_execute(&Migration::new(number).statement).await?;
    transaction.commit().await?;
    Ok(Took { load: Duration::ZERO, run: start.elapsed(), again: None, wall: begin.elapsed() })
}
