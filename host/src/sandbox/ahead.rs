//! Compiles blocks ahead of the one that runs, while the database works.

use super::Sandbox;
use crate::load::Component;
use std::thread;

/// The blocks that are to run, in their order.
pub(crate) struct Ahead<I> {
    sandbox: Sandbox,
    coming: I,
    /// How many are compiled, or are being compiled, before they run.
    window: usize,
    started: usize,
}

impl<I: Iterator<Item = Component>> Ahead<I> {
    pub(crate) fn new(sandbox: Sandbox, coming: I) -> Ahead<I> {
        let window = thread::available_parallelism().map_or(1, usize::from) + 1;
        Ahead { sandbox, coming, window, started: 0 }
    }

    /// The block at a place, counted from 0, is about to run. Those behind it are begun; what cannot be compiled is told when it is its turn.
    pub(crate) fn reached(&mut self, place: usize) {
        while self.started <= place + self.window {
            let Some(block) = self.coming.next() else { return };
            self.started += 1;
            if self.started <= place + 1 {
                continue;
            }
            let sandbox = self.sandbox.clone();
            tokio::task::spawn_blocking(move || sandbox.block(&block).map(drop));
        }
    }
}
