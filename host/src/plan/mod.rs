//! What a boot would do. Pure functions over manifests, ledger and catalog: no guest code, no database.

mod baseline;
mod conflicts;
mod diagram;
#[cfg(test)]
mod laws;
mod order;
mod preview;
mod removal;
mod requirements;
mod steps;

pub use baseline::{Adoption, Baseline, BaselineBlock};
pub(crate) use baseline::{Standing, baseline, provided};
pub(crate) use conflicts::conflicts;
use order::edges;
pub(crate) use order::order;
pub use order::{Edge, Reason};
pub use preview::{Preview, PreviewAction, PreviewBlock};
use removal::removals;
use requirements::requirements;
pub(crate) use requirements::wanted;
pub(crate) use steps::{Action, Plan, Step};

use crate::database::catalog::{Difference, Told};
use plinth_manifest::{BlockId, Columns, Object};
use std::fmt;

/// What is wrong with a set of blocks: all of it at once, before the first statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(pub(crate) Vec<PlanProblem>);

impl PlanError {
    /// The problems, one by one.
    pub fn problems(&self) -> &[PlanProblem] {
        &self.0
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for PlanError {}

/// One thing that is wrong with a set of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanProblem {
    /// The host was told that the build ships a block, and it is not there.
    Expected {
        /// The id.
        id: String,
    },
    /// A baseline was told to take for applied what is no migration of the set.
    Assumed {
        /// The id.
        id: String,
    },
    /// Blocks wait for each other.
    Cycle {
        /// The blocks in the order in which each must run before the next, the first once more at the end.
        path: Vec<BlockId>,
    },
    /// A migration is to run after a rule, but rules run after all migrations.
    MigrationAfterRule {
        /// The migration.
        migration: BlockId,
        /// The rule.
        rule: BlockId,
    },
    /// Two rules write the same rows of a column.
    Conflict {
        /// One rule.
        first: BlockId,
        /// The other.
        second: BlockId,
        /// The column, or the whole table.
        columns: Columns,
    },
    /// A component is gone that was the only one to provide what others require.
    RemovedProvider {
        /// The block whose component is gone.
        id: String,
        /// The object.
        object: Object,
        /// The blocks that require it.
        needed_by: Vec<BlockId>,
    },
    /// The component of a migration is gone that put its work off, or did not finish outside a transaction.
    RemovedUnapplied {
        /// The migration.
        id: String,
    },
    /// A component changed after it was applied, and its manifest says to refuse that.
    Changed {
        /// The migration.
        id: BlockId,
    },
    /// A block requires what is not there and what no block before it makes.
    Missing {
        /// The block.
        block: BlockId,
        /// The object.
        object: Object,
        /// A block that provides it, if there is one.
        provider: Option<Provider>,
    },
    /// A block requires something that is there, but is not as it requires it.
    Differs {
        /// The block.
        block: BlockId,
        /// The object.
        object: Object,
        /// In what.
        differences: Vec<Difference>,
        /// A block that provides it, if there is one.
        provider: Option<Provider>,
    },
}

/// A block that provides an object that is missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Provider {
    /// It runs after the block that needs it.
    Later(BlockId),
    /// The ledger says that it was applied, and the object is not there, or not as it made it.
    AppliedBefore(BlockId),
    /// It runs before the block that needs it, and says itself that it makes it otherwise.
    Otherwise(BlockId),
}

impl fmt::Display for PlanProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlanProblem::Expected { id } => {
                write!(
                    f,
                    "{id}: the build is to ship this block, and no component with this id was found: look at how the components are built and copied"
                )
            }
            PlanProblem::Assumed { id } => {
                write!(f, "{id}: is to be taken for applied, and no migration has this id: look at what `plinth baseline` lists")
            }
            PlanProblem::Cycle { path } => {
                let path: Vec<&str> = path.iter().map(|id| &**id).collect();
                write!(
                    f,
                    "{}: these blocks wait for each other: take one of `after`, `requires` or `reads` out",
                    path.join(" before ")
                )
            }
            PlanProblem::MigrationAfterRule { migration, rule } => {
                write!(f, "{migration}: a migration cannot run after the rule {rule}, since rules run after all migrations")
            }
            PlanProblem::Conflict { first, second, columns } => write!(
                f,
                "{first}, {second}: both rules write {columns}: let one of them own it, or state in both which rows are theirs: writes = [{{ column = \"{columns}\", rows = \"…\" }}]"
            ),
            PlanProblem::RemovedProvider { id, object, needed_by } => {
                let needed_by: Vec<&str> = needed_by.iter().map(|id| &**id).collect();
                write!(
                    f,
                    "{id}: its component is gone, and it was the only one to provide {object}, which {} requires: put it back, or let another block provide it (or accept the removal with --accept-removal {id})",
                    needed_by.join(", ")
                )
            }
            PlanProblem::RemovedUnapplied { id } => {
                write!(
                    f,
                    "{id}: its component is gone, and its work was begun or put off and never done: put it back, or accept that with --accept-removal {id}"
                )
            }
            PlanProblem::Changed { id } => {
                write!(
                    f,
                    "{id}: the component changed after it was applied, and its manifest says to refuse that: put the change into a new block"
                )
            }
            PlanProblem::Missing { block, object, provider } => {
                write!(f, "{block}: requires {object}, which does not exist")?;
                match provider {
                    Some(Provider::Later(id)) => write!(f, "; {id} provides it, but runs later: add it to `after`"),
                    Some(Provider::AppliedBefore(id)) => {
                        write!(f, "; {id} provided it and was applied, so somebody has removed it since")
                    }
                    Some(Provider::Otherwise(id)) => write!(f, "; {id} provides it"),
                    None => write!(f, ", and no block provides it: is a component missing?"),
                }
            }
            PlanProblem::Differs { block, object, differences, provider } => {
                write!(f, "{block}: requires {object} {}", Told(differences))?;
                match provider {
                    Some(Provider::Later(id)) => write!(f, "; {id} provides it, but runs later: add it to `after`"),
                    Some(Provider::AppliedBefore(id)) => {
                        write!(f, "; {id} provides it and was applied, so somebody has changed it since")
                    }
                    Some(Provider::Otherwise(id)) => write!(f, " once {id} has run, which provides it so"),
                    None => write!(f, ": change it in a migration that runs before, or what the manifest requires"),
                }
            }
        }
    }
}
