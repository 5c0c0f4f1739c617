//! Instructions that a boot's process executes, counted by valgrind: repeatable where time is not.

use crate::{
    Bench,
    boots::{MOST_OF_PEERS, adopted},
    child::Order,
    folders::Folders,
    numbers::{All, Curve},
    rules::Rules,
    subjects::From,
};
use anyhow::{Context, Result, ensure};
use std::process::Command;
use tokio::process;

/// Under valgrind the code of a rule takes a second to load.
const RULES: [usize; 4] = [1, 3, 10, 30];

pub async fn measure(bench: &Bench, all: &mut All) -> Result<()> {
    let Ok(version) = Command::new("valgrind").arg("--version").output() else {
        all.skip("instructions are not counted: there is no valgrind");
        return Ok(());
    };
    ensure!(version.status.success(), "valgrind does not start");
    let admin = bench.socket.client("postgres").await?;
    let (mut bundles, mut in_folders) = (Vec::new(), Vec::new());
    for count in bench.arguments.sizes.iter().copied() {
        eprintln!("  {count} blocks …");
        let folders = Folders::write(count, bench)?;
        let database = format!("instructions_{count}");
        admin.batch_execute(&format!("create database {database}")).await?;
        adopted(&bench.socket, &database, count, &folders.folder()).await?;
        let counted = async |from| count_in(&Order::one(&bench.socket, &database, from)).await;
        bundles.push((count as f64, counted(folders.bundle(false).await?).await?));
        // To digest more files than that one instruction at a time takes minutes.
        if count <= MOST_OF_PEERS {
            in_folders.push((count as f64, counted(folders.folder()).await?));
        }
    }
    all.curves.push(Curve::new("blocks", "instructions, nothing to do, bundle", "", bundles));
    all.curves.push(Curve::new("blocks", "instructions, nothing to do, folder", "", in_folders));
    let mut points = Vec::new();
    for count in RULES {
        eprintln!("  {count} rules …");
        let rules = Rules::write(count)?;
        let database = format!("instructions_rules_{count}");
        rules.prepare(bench, &database, 100).await?;
        let from = From::Folder(rules.folder.path().into());
        let order = Order { cache: Some(bench.cache.path().into()), ..Order::one(&bench.socket, &database, from) };
        points.push((count as f64, count_in(&order).await?));
    }
    all.curves.push(Curve::new("rules", "instructions, rules that change nothing", "", points));
    Ok(())
}

/// All threads of a child, from its start to its end.
async fn count_in(order: &Order) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("counts");
    let under = ["valgrind", "--tool=callgrind", &format!("--callgrind-out-file={}", file.display())].map(str::to_owned);
    let output = process::Command::from(order.command(&under)?).output().await?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{}", complaint.lines().last().unwrap_or_default());
    let counts = std::fs::read_to_string(&file)?;
    let total = counts.lines().rev().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    Ok(total.context("callgrind counted nothing")?.trim().parse()?)
}
