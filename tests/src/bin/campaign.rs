//! `make campaign`: hundreds of kills, cuts and crashes, and crowds of replicas, with their figures.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use plinth_tests::campaign::{
    Found, crashes_of_the_server, crowd, cuts_at_every_boundary, kills_at_every_boundary, kills_at_random, old_and_new,
};
use std::{process::ExitCode, time::Duration};

fn told(what: &str, found: &Found) -> bool {
    let each = found.took / u32::try_from(found.times.max(1)).unwrap_or(1);
    println!(
        "{what:<64} {:>5} times, {:>6.1} s, {:>6.0} ms each, {} wrong",
        found.times,
        found.took.as_secs_f64(),
        each.as_secs_f64() * 1e3,
        found.wrong.len()
    );
    for wrong in &found.wrong {
        println!("  {wrong}");
    }
    found.wrong.is_empty()
}

fn together(all: impl IntoIterator<Item = Found>) -> Found {
    all.into_iter().fold(Found::default(), |mut sum, found| {
        sum.times += found.times;
        sum.took += found.took;
        sum.wrong.extend(found.wrong);
        sum
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = plinth_tests::server();
    let mut right = true;
    right &= told("SIGKILL of the host before and after each message", &kills_at_every_boundary(server, 1).await);
    right &= told("SIGKILL of the host at random moments", &kills_at_random(server, 150).await);
    right &= told("immediate stop and restart of PostgreSQL during a boot", &crashes_of_the_server(60).await);
    right &= told("network cut before and after each message", &cuts_at_every_boundary(server, 1).await);
    let (mut empty, mut pending, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..50 {
        empty.push(crowd(server, 32, false).await);
        pending.push(crowd(server, 32, true).await);
    }
    for _ in 0..10 {
        sets.push(old_and_new(server, 16).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    right &= told("32 replicas at once, nothing applied yet", &together(empty));
    right &= told("32 replicas at once, three blocks pending", &together(pending));
    right &= told("16 replicas at once, half of them with the old set", &together(sets));
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
