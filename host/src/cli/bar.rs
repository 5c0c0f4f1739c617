//! A bar on standard error while a backfill runs. Only on a terminal: a log has lines.

use crate::{Event, Host};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use std::io::{self, IsTerminal};
use tokio::{sync::broadcast::error::RecvError, task::JoinHandle};

/// How often the bar is drawn, at most, a second.
const RATE: u8 = 5;

/// A bar that shows as soon as a batch was done.
pub(super) struct Bar(Option<JoinHandle<()>>);

/// Shows what a host's backfills do from here on.
pub(super) fn show(host: &Host) -> Bar {
    if !io::stderr().is_terminal() {
        return Bar(None);
    }
    let mut events = host.events();
    Bar(Some(tokio::spawn(async move {
        let mut shown: Option<ProgressBar> = None;
        loop {
            match events.recv().await {
                Ok(Event::Batch { block, number, rows, done, total, next_rows, .. }) => {
                    let bar = shown.get_or_insert_with(|| bar(total.is_some()));
                    if let Some(total) = total {
                        bar.set_length(total);
                    }
                    bar.set_position(done.unwrap_or(rows));
                    bar.set_message(format!("{block}: {rows} rows in {number} batches, the next of {next_rows}"));
                }
                Ok(Event::Ended { .. } | Event::Finished { .. }) | Err(RecvError::Closed) => {
                    if let Some(bar) = shown.take() {
                        bar.finish_and_clear();
                    }
                }
                // A bar that misses some of the steps is none the worse.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
            }
        }
    })))
}

impl Bar {
    /// Takes it away.
    pub(super) async fn end(self) {
        if let Some(task) = self.0 {
            task.abort();
            // Dropped with its task, unless the last event took it away before.
            let _ = task.await;
        }
    }
}

fn bar(sized: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(RATE)).with_finish(ProgressFinish::AndClear);
    let form = if sized { "{bar:30} {percent:>3} % {msg}, {eta} left" } else { "{spinner} {msg}, {per_sec}" };
    // The form is right, and without one there is a plain bar.
    if let Ok(style) = ProgressStyle::with_template(form) {
        bar.set_style(style);
    }
    bar
}
