//! What was measured, as numbers: medians and ratios, and what `--json` writes.

use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// All rounds of something, in its unit.
#[derive(Clone, Copy, Serialize)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// In milliseconds.
    pub fn of(durations: impl IntoIterator<Item = Duration>) -> Option<Spread> {
        Spread::of_numbers(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e3))
    }

    pub fn of_numbers(numbers: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut all: Vec<f64> = numbers.into_iter().collect();
        all.sort_unstable_by(f64::total_cmp);
        let middle = all.len() / 2;
        let median = if all.len() % 2 == 0 {
            f64::midpoint(*all.get(middle.wrapping_sub(1))?, *all.get(middle)?)
        } else {
            *all.get(middle)?
        };
        Some(Spread { median, least: *all.first()?, most: *all.last()? })
    }

    /// Of something that was measured once.
    pub fn once(number: f64) -> Spread {
        Spread { median: number, least: number, most: number }
    }
}

/// Rounds of several subjects, by name.
#[derive(Default)]
pub struct Rounds(BTreeMap<&'static str, Vec<f64>>);

impl Rounds {
    pub fn add(&mut self, subject: &'static str, milliseconds: f64) {
        self.0.entry(subject).or_default().push(milliseconds);
    }

    pub fn spread(&self, subject: &str) -> Option<Spread> {
        Spread::of_numbers(self.0.get(subject)?.iter().copied())
    }
}

/// What is to be reached.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Below the other: at most 1, and better said.
    Ahead,
}

impl Goal {
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Goal::AtMost(most) => value <= most,
            Goal::AtLeast(least) => value >= least,
            Goal::Ahead => value < 1.0,
        }
    }
}

/// One line of the table: something that was measured, and what it is compared with.
#[derive(Clone, Serialize)]
pub struct Figure {
    /// The number of the aim that it belongs to.
    pub aim: u8,
    pub what: String,
    pub unit: &'static str,
    pub measured: Spread,
    /// Who else did it, and what it took there.
    pub against: Option<(String, Spread)>,
    /// This one to the other; of throughputs, if the goal is a least one.
    pub ratio: Option<f64>,
    /// Of the ratio if there is one, else of the median.
    pub goal: Option<Goal>,
    pub met: Option<bool>,
}

impl Figure {
    pub fn new(aim: u8, what: impl Into<String>, unit: &'static str, measured: Spread) -> Figure {
        Figure { aim, what: what.into(), unit, measured, against: None, ratio: None, goal: None, met: None }
    }

    /// In milliseconds.
    pub fn time(aim: u8, what: impl Into<String>, measured: Spread) -> Figure {
        Figure::new(aim, what, "ms", measured)
    }

    #[must_use]
    pub fn against(mut self, other: impl Into<String>, spread: Spread) -> Figure {
        self.ratio = Some(self.measured.median / spread.median);
        self.against = Some((other.into(), spread));
        self
    }

    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Figure {
        if let Goal::AtLeast(_) = goal {
            self.ratio = self.ratio.map(f64::recip);
        }
        self.met = Some(goal.is_met(self.ratio.unwrap_or(self.measured.median)));
        self.goal = Some(goal);
        self
    }
}

/// A curve: how something grows.
#[derive(Clone, Serialize)]
pub struct Curve {
    /// What it grows with: the plot that it is drawn in.
    pub with: &'static str,
    pub what: String,
    pub unit: &'static str,
    pub points: Vec<(f64, f64)>,
    /// By how much the last decade grew, as an exponent: 1 is linear.
    pub exponent: Option<f64>,
}

impl Curve {
    pub fn new(with: &'static str, what: impl Into<String>, unit: &'static str, points: Vec<(f64, f64)>) -> Curve {
        let exponent = exponent(&points);
        Curve { with, what: what.into(), unit, points, exponent }
    }
}

/// From the largest point and the last one that is a decade below it, or the first if none is.
fn exponent(points: &[(f64, f64)]) -> Option<f64> {
    let (most, last) = *points.last()?;
    let below = points.iter().rev().find(|(size, _)| size * 10.0 <= most * 1.001).or_else(|| points.first())?;
    (below.0 < most && below.1 > 0.0).then(|| (last / below.1).ln() / (most / below.0).ln())
}

/// Where it was measured.
#[derive(Serialize)]
pub struct Machine {
    pub processors: usize,
    pub model: String,
    pub load_before: String,
    pub postgres: String,
    /// What decides what a COMMIT costs.
    pub durability: String,
    pub component_bytes: usize,
    pub rounds: usize,
}

/// A whole run.
#[derive(Serialize)]
pub struct All {
    pub machine: Machine,
    pub figures: Vec<Figure>,
    pub curves: Vec<Curve>,
    /// What could not be measured, and why.
    pub skipped: Vec<String>,
}

impl All {
    pub fn skip(&mut self, why: impl Into<String>) {
        let why = why.into();
        eprintln!("  {why}");
        self.skipped.push(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponent_is_that_of_the_last_decade() {
        let quadratic: Vec<(f64, f64)> = [1.0, 10.0, 100.0].map(|n| (n, n * n)).to_vec();
        assert!((exponent(&quadratic).unwrap() - 2.0).abs() < 1e-9);
        let fixed: Vec<(f64, f64)> = [1.0, 10.0, 100.0].map(|n| (n, 5.0)).to_vec();
        assert!(exponent(&fixed).unwrap().abs() < 1e-9);
        assert!(exponent(&[(1.0, 1.0)]).is_none());
    }

    #[test]
    fn a_goal_of_throughput_turns_the_ratio_round() {
        let figure = Figure::time(5, "rows", Spread::once(200.0)).against("native", Spread::once(150.0)).goal(Goal::AtLeast(0.8));
        assert_eq!((figure.ratio, figure.met), (Some(0.75), Some(false)));
    }
}
