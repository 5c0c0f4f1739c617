//! A plan of ten thousand blocks: components without code, since planning runs none.

use crate::{numbers::Spread, subjects::Socket};
use anyhow::{Result, ensure};
use plinth::Host;
use std::time::Instant;

/// Enough that a quadratic step would show.
pub const BLOCKS: usize = 10_000;
const ROUNDS: usize = 9;

/// Milliseconds for `Host::plan()`: load, order, conflicts, look at ledger and catalog, requirements; and for loading alone.
pub async fn measure(socket: &Socket) -> Result<(Spread, Spread)> {
    let mut host = Host::new(socket.config("postgres"));
    for number in 0..BLOCKS {
        host = host.component(format!("{number}.wasm"), component(number)?);
    }
    let (mut plans, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let loaded = host.load()?;
        loads.push(start.elapsed());
        let start = Instant::now();
        let preview = host.plan().await?;
        plans.push(start.elapsed());
        ensure!(loaded.len() == BLOCKS && preview.blocks.len() == BLOCKS, "every block is planned");
    }
    let spread = |times: Vec<_>| Spread::of(times.into_iter()).ok_or_else(|| anyhow::anyhow!("no rounds"));
    Ok((spread(plans)?, spread(loads)?))
}

/// Nine migrations, each with a table that the next one requires, to one rule that reads what the rule before it writes.
fn component(number: usize) -> Result<Vec<u8>> {
    let (kind, interface) = if number % 10 == 9 { ("rule", "reconcile") } else { ("migration", "migrate") };
    let needs = match (kind, number % 10) {
        ("rule", _) => format!("reads = [\"t{}.a\"]\nwrites = [\"t{number}.a\"]", number.wrapping_sub(10)),
        (_, 0) => format!("provides = [{{ table = \"t{number}\" }}]"),
        _ => format!("provides = [{{ table = \"t{number}\" }}]\nrequires = [{{ table = \"t{}\" }}]", number - 1),
    };
    // Ids run against the order, so that names do not give it.
    let id = format!("block_{:05}", BLOCKS - number);
    let manifest =
        format!("id = \"{id}\"\nkind = \"{kind}\"\ntitle = \"t\"\n{needs}\n").replace('"', "\\\"").replace('\n', "\\n");
    let text = format!(
        "(component (core module (@custom \"plinth:manifest\" \"{manifest}\")) (instance $i) (export \"plinth:block/{interface}@0.1.0\" (instance $i)))"
    );
    Ok(wat::parse_str(text)?)
}
