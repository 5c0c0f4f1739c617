//! Compiles blocks ahead of the one that runs, while the database works.

use super::Sandbox;
use crate::load::Component;
use std::thread;

/// The blocks that are to run, in their order.
pub(crate) struct Ahead {
    sandbox: Sandbox,
    coming: std::vec::IntoIter<Component>,
    /// How many are compiled, or are being compiled, before they run.
    window: usize,
    started: usize,
}

impl Ahead {
    /// Begins with the first.
    pub(crate) fn new(sandbox: Sandbox, coming: Vec<Component>) -> Ahead {
        let window = thread::available_parallelism().map_or(1, usize::from) + 1;
        let mut ahead = Ahead { sandbox, coming: coming.into_iter(), window, started: 0 };
        ahead.reached(0);
        ahead
    }

    /// The block at a place, counted from 0, is about to run. Those behind it are begun; what cannot be compiled is told when it is its turn.
    pub(crate) fn reached(&mut self, place: usize) {
        while self.started <= place + self.window {
            let Some(block) = self.coming.next() else { return };
            self.started += 1;
            let sandbox = self.sandbox.clone();
            tokio::task::spawn_blocking(move || sandbox.block(&block).map(drop));
        }
    }
}
