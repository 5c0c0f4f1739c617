//! The second tier: the component that will be shipped, in a host's sandbox, on a test's database.

use crate::TestDatabase;
use plinth::{BootError, Database, Host, Report};
use std::path::Path;

impl TestDatabase {
    /// Boots a host with some component files on this database.
    ///
    /// # Panics
    ///
    /// If the boot fails, with its report's words.
    #[track_caller]
    pub fn boot<P: AsRef<Path>>(&self, components: &[P]) -> Report {
        match self.try_boot(components) {
            Ok(report) => report,
            Err(error) => panic!("{}", error.report().and_then(Report::failure).unwrap_or_else(|| error.to_string())),
        }
    }

    /// Like [`TestDatabase::boot`], for a boot that is to fail.
    ///
    /// # Errors
    ///
    /// As [`Host::boot`].
    ///
    /// # Panics
    ///
    /// If a file cannot be read.
    pub fn try_boot<P: AsRef<Path>>(&self, components: &[P]) -> Result<Report, BootError> {
        let mut host = self.host();
        for component in components {
            let file = component.as_ref();
            let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            host = host.component(file.display().to_string(), bytes);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.unwrap_or_else(|error| panic!("{error}")).block_on(host.boot())
    }

    /// A host for this database, without components.
    ///
    /// # Panics
    ///
    /// Never: the address is one that Plinth made.
    pub fn host(&self) -> Host {
        Host::new(Database::from_url(self.url()).unwrap_or_else(|error| panic!("{error}"))).show_values()
    }
}
