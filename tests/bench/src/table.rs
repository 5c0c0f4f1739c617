//! A run as a table, for people and for documents: figures are never typed by hand.

use crate::numbers::{All, Curve, Figure, Goal};
use anyhow::{Context, Result};
use std::{fmt::Write as _, fs, path::Path};

/// Where a document's table begins and ends.
fn marks(name: &str) -> (String, String) {
    (format!("<!-- measured: {name} -->"), "<!-- end of measured -->".to_owned())
}

impl All {
    /// How it was measured, in a sentence or two.
    pub fn said(&self) -> String {
        let machine = &self.machine;
        let postgres = machine.postgres.split(' ').next().unwrap_or_default();
        format!(
            "{} processors ({}), load average {} before, PostgreSQL {postgres} with {}. Medians of {} rounds ({} of 3 and 4) and least values in brackets; a component has {} KB.",
            machine.processors,
            machine.model,
            machine.load_before,
            machine.durability,
            machine.rounds,
            3 * machine.rounds,
            machine.component_bytes / 1000,
        )
    }

    /// What has a goal, or everything.
    pub fn table(&self, everything: bool) -> String {
        let mut text = "| | | Plinth | against | ratio | goal |\n|---|---|---|---|---|---|\n".to_owned();
        for figure in self.figures.iter().filter(|figure| everything || figure.goal.is_some()) {
            let _ = writeln!(text, "{}", row(figure));
        }
        for why in &self.skipped {
            let _ = writeln!(text, "| | {why} | | | | |");
        }
        text
    }

    /// How it grows.
    pub fn growth(&self) -> String {
        let mut text = "| with | what | from | to | exponent of the last decade |\n|---|---|---|---|---|\n".to_owned();
        for curve in &self.curves {
            let Curve { with, what, unit, points, exponent } = curve;
            let at = |point: Option<&(f64, f64)>| {
                point.map_or_else(String::new, |(size, value)| format!("{} at {size}", number(*value, unit)))
            };
            let exponent = exponent.map_or_else(String::new, |exponent| format!("{exponent:.2}"));
            let _ = writeln!(text, "| {with} | {what} | {} | {} | {exponent} |", at(points.first()), at(points.last()));
        }
        text
    }

    /// Replaces what stands between the marks of a document.
    pub fn write_into(&self, document: &Path, name: &str, table: &str) -> Result<()> {
        let text = fs::read_to_string(document).with_context(|| document.display().to_string())?;
        let text = replaced(&text, name, table).with_context(|| document.display().to_string())?;
        Ok(fs::write(document, text)?)
    }
}

fn replaced(text: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = marks(name);
    let (before, rest) = text.split_once(&begin).with_context(|| format!("{begin} is not there"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("{end} is not there"))?;
    Ok(format!("{before}{begin}\n{}\n{end}{after}", table.trim_end()))
}

fn row(figure: &Figure) -> String {
    let unit = figure.unit;
    let spread = |spread: crate::numbers::Spread| {
        if spread.least < spread.most {
            format!("{} [{}]", number(spread.median, unit), bare(spread.least))
        } else {
            number(spread.median, unit)
        }
    };
    let against = figure.against.as_ref().map_or_else(String::new, |(who, took)| format!("{who}: {}", spread(*took)));
    let ratio = figure.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let unit = if figure.ratio.is_none() { format!(" {unit}") } else { String::new() };
    let goal = figure.goal.map_or_else(String::new, |goal| match goal {
        Goal::AtMost(most) => format!("≤ {most}{unit}"),
        Goal::AtLeast(least) => format!("≥ {least}{unit}"),
        Goal::Ahead => "< 1".to_owned(),
    });
    let goal = match figure.met {
        Some(false) => format!("{goal}, missed"),
        _ => goal,
    };
    format!("| {} | {} | {} | {against} | {ratio} | {goal} |", figure.aim, figure.what, spread(figure.measured))
}

fn number(value: f64, unit: &str) -> String {
    if unit.is_empty() { bare(value) } else { format!("{} {unit}", bare(value)) }
}

/// Three digits that matter.
fn bare(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.1} million", value / 1e6),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_all_but_what_stands_between_the_marks() {
        let text = "a\n<!-- measured: x -->\nold\n<!-- end of measured -->\nb\n";
        assert_eq!(replaced(text, "x", "new\n").unwrap(), "a\n<!-- measured: x -->\nnew\n<!-- end of measured -->\nb\n");
        assert!(replaced(text, "y", "new").is_err());
    }
}
