//! Medians, a table for people, and what `--json` writes.

use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// Milliseconds over all rounds.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(durations: impl Iterator<Item = Duration>) -> Option<Spread> {
        let mut all: Vec<f64> = durations.map(|duration| duration.as_secs_f64() * 1e3).collect();
        all.sort_unstable_by(f64::total_cmp);
        let middle = all.len() / 2;
        let median = if all.len() % 2 == 0 {
            f64::midpoint(*all.get(middle.wrapping_sub(1))?, *all.get(middle)?)
        } else {
            *all.get(middle)?
        };
        Some(Spread { median, least: *all.first()?, most: *all.last()? })
    }
}

/// What was found out about a subject at one size. Milliseconds.
#[derive(Serialize)]
pub struct Measured {
    /// With everything loaded and connected.
    pub after_connecting: Spread,
    /// The same on a connection that did it before.
    pub again: Option<Spread>,
    pub load: Spread,
    /// Load, connect and run.
    pub wall: Spread,
    pub round_trips: u64,
    /// The first run, which applies everything. Measured once.
    pub first: f64,
}

#[derive(Serialize)]
pub struct Size {
    pub applied: usize,
    pub subjects: BTreeMap<&'static str, Measured>,
    /// Plinth's median after connecting as a multiple of the floor's and of each peer's: below 1 it is ahead.
    pub ratios: BTreeMap<&'static str, f64>,
    /// The same with load and connect, which is what an API waits for.
    pub wall_ratios: BTreeMap<&'static str, f64>,
    /// What Plinth's own report counted, to compare with what passed the proxy.
    pub reported_round_trips: u64,
}

#[derive(Serialize)]
pub struct Machine {
    pub processors: usize,
    pub model: String,
    pub load_before: String,
    pub postgres: String,
    pub component_bytes: usize,
}

#[derive(Serialize)]
pub struct All {
    pub machine: Machine,
    pub rounds: usize,
    pub sizes: Vec<Size>,
    /// A plan of many blocks, and loading them alone.
    pub planning: Option<(Spread, Spread)>,
    /// Many rows, out and in.
    pub bulk: Option<crate::bulk::Bulk>,
}

const SUBJECTS: [(&str, &str); 4] =
    [("floor", "one SELECT 1"), ("plinth", "Plinth"), ("sqlx", "sqlx 0.9"), ("refinery", "refinery 0.10")];

impl All {
    pub fn print(&self) {
        let Machine { processors, model, load_before, postgres, component_bytes } = &self.machine;
        println!("PostgreSQL {postgres}, {processors} processors ({model}), load average before: {load_before}");
        println!(
            "Nothing to do; median of {} rounds, least in brackets; milliseconds. A component has {component_bytes} bytes.",
            self.rounds
        );
        for size in &self.sizes {
            println!("\n{} applied migrations", size.applied);
            self.row("", SUBJECTS.map(|(_, title)| title.to_owned()));
            let of = |cell: &dyn Fn(&str, &Measured) -> String| {
                SUBJECTS.map(|(name, _)| size.subjects.get(name).map(|measured| cell(name, measured)).unwrap_or_default())
            };
            let spread = |spread: Spread| format!("{:.2} [{:.2}]", spread.median, spread.least);
            let not_floor = |name: &str, text: String| if name == "floor" { String::new() } else { text };
            self.row("run after connecting, all loaded", of(&|_, measured| spread(measured.after_connecting)));
            self.row("  once more on that connection", of(&|_, measured| measured.again.map(spread).unwrap_or_default()));
            self.row("load of the folder", of(&|name, measured| not_floor(name, spread(measured.load))));
            self.row("load + connect + run (wall)", of(&|_, measured| spread(measured.wall)));
            self.row("round trips after connecting", of(&|_, measured| measured.round_trips.to_string()));
            self.row("first run, applying all (once)", of(&|name, measured| not_floor(name, format!("{:.0}", measured.first))));
            for (title, ratios) in [("after connecting", &size.ratios), ("load + connect + run", &size.wall_ratios)] {
                let ratios: Vec<String> = ratios.iter().map(|(name, ratio)| format!("{ratio:.2} x {name}")).collect();
                println!("  Plinth, {title}: {}", ratios.join(", "));
            }
            if size.subjects.get("plinth").is_some_and(|plinth| plinth.round_trips != size.reported_round_trips) {
                println!("  Plinth's report counts {} round trips: that is wrong", size.reported_round_trips);
            }
        }
        if let Some((plan, load)) = self.planning {
            println!(
                "\nplan of {} blocks that are not applied yet: {:.0} ms [{:.0}], of which loading them {:.0} ms",
                crate::planning::BLOCKS,
                plan.median,
                plan.least,
                load.median
            );
        }
        if let Some(bulk) = &self.bulk {
            bulk.print();
        }
    }

    fn row(&self, title: &str, cells: [String; 4]) {
        let cells: String = cells.iter().map(|cell| format!("{cell:>18}")).collect();
        println!("  {title:<34}{cells}");
    }
}
