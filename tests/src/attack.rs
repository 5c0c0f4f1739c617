//! An attack: a hostile block on a database of its own, and what must be true after it whatever it did.

use crate::{TestDatabase, guest, guests, root};
use plinth::{BootError, ErrorClass, Limits, Report, ReportError};
use std::time::Duration;

/// Short limits: an attack is over in seconds.
pub fn limits() -> Limits {
    Limits { cpu: Duration::from_secs(1), wall: Duration::from_secs(4), statements: u64::MAX, ..Limits::default() }
}

/// What an attack may take at most, all in all.
const BOUND: Duration = Duration::from_secs(60);

/// An attack that is set up.
pub struct Attack {
    /// Where.
    pub database: TestDatabase,
    /// Under which limits.
    pub limits: Limits,
}

impl Attack {
    /// A database with the table `t`, and short limits.
    pub async fn new() -> Attack {
        Attack { database: TestDatabase::with_t().await, limits: limits() }
    }

    /// Runs something there first, as the role that owns everything.
    pub async fn after(self, sql: &str) -> Attack {
        self.database.client().await.batch_execute(sql).await.unwrap();
        self
    }

    /// By a guest, by its folder in `tests/guests`.
    pub async fn by_guest(self, name: &str) -> ReportError {
        let bytes = std::fs::read(guest(name)).unwrap();
        self.by_component(name, &bytes).await
    }

    /// By statements, which the guest `sends` or `sends_declared` sends after a write.
    pub async fn by_statements(self, name: &str, statements: &[&str]) -> ReportError {
        self.prepared(statements).await.by_guest(name).await
    }

    async fn prepared(self, statements: &[&str]) -> Attack {
        let attack = self.after("create table attack (n int generated always as identity, statement text, reads boolean)").await;
        let client = attack.database.client().await;
        for statement in statements {
            let reads = statement.trim_start().starts_with("select");
            client.execute("insert into attack (statement, reads) values ($1, $2)", &[statement, &reads]).await.unwrap();
        }
        attack
    }

    /// Statements that are allowed after all: the report.
    pub async fn succeeds(self, name: &str, statements: &[&str]) -> Report {
        let attack = self.prepared(statements).await;
        attack.database.host().limits(attack.limits).folder(guests(&[name]).path()).boot().await.unwrap()
    }

    /// By a component: it fails in bounded time, the error names its block, tables are as before, no session or lock is left, the
    /// ledger has it as failed, and the next boot works.
    pub async fn by_component(self, id: &str, bytes: &[u8]) -> ReportError {
        let Attack { database, limits } = self;
        let before = database.snapshot().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{id}.wasm")), bytes).unwrap();
        let host = database.host().limits(limits);
        let booted = tokio::time::timeout(BOUND, host.clone().folder(folder.path()).boot()).await;
        let report = match booted.expect("the boot ends in bounded time") {
            Err(BootError::Failed(report)) => report,
            other => panic!("{id} was to fail: {other:?}"),
        };
        assert!(report.failure().unwrap().starts_with(&format!("{id}: ")), "the error names the block: {:?}", report.failure());
        assert_eq!(database.snapshot().await, before, "tables are as before");
        assert_eq!(database.left_behind().await, 0, "no session or lock is left");
        let ledger = database
            .text(&format!("select last_outcome || ' ' || (first_applied is null) from plinth.blocks where id = '{id}'"))
            .await;
        assert_eq!(ledger.as_deref(), Some("failed true"), "the ledger has it as failed and not as applied");
        let of_ledger = "select string_agg(tablename, ' ' order by tablename) from pg_tables where schemaname = 'plinth'
                         and not exists (select from pg_trigger t join pg_class c on c.oid = t.tgrelid
                                         where c.relnamespace = 'plinth'::regnamespace and not t.tgisinternal)";
        let tables = database.text(of_ledger).await.unwrap_or_default();
        assert!(tables.starts_with("backfills blocks boots ledger look outcomes"), "the ledger is whole: {tables}");
        // What was begun outside a transaction is not dropped without a word.
        let accepted = id.starts_with("outside").then_some(id);
        let next = database.host().accept_removal(accepted).folder(guests(&["claims"]).path()).boot().await.unwrap();
        assert_eq!(next.boot.ran, 1, "the next boot works");
        report.block(id).unwrap().error.clone().unwrap()
    }
}

/// By a guest on a database of its own.
pub async fn attack(name: &str) -> ReportError {
    Attack::new().await.by_guest(name).await
}

/// Statements of a block that declares no need, the last of which is refused before it is sent: the rule.
pub async fn refused(statements: &[&str]) -> String {
    rule(Attack::new().await.by_statements("sends", statements).await)
}

/// Statements of a block that declares every need there is, the last of which is refused all the same: the rule.
pub async fn refused_though_declared(statements: &[&str]) -> String {
    rule(Attack::new().await.by_statements("sends_declared", statements).await)
}

/// Statements of a block that declares every need, all of which are sent, and that fails.
pub async fn declared(statements: &[&str]) -> ReportError {
    Attack::new().await.by_statements("sends_declared", statements).await
}

fn rule(error: ReportError) -> String {
    assert_eq!(error.class, ErrorClass::Refused, "{error}");
    let rule = error.message.rsplit_once('(').and_then(|(_, rule)| rule.strip_suffix(')'));
    rule.unwrap_or_else(|| panic!("the message ends with its rule: {error}")).to_owned()
}

/// A component of `tests/guests/raw`, which no SDK would build.
pub fn raw(name: &str) -> Vec<u8> {
    let text = std::fs::read_to_string(root().join("tests/guests/raw").join(format!("{name}.wat"))).unwrap();
    component(&text)
}

/// A component from its text.
pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What loading a file says. Nothing runs.
pub async fn refused_file(file: &str, bytes: &[u8]) -> String {
    let database = TestDatabase::with_t().await;
    let before = database.snapshot().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(file), bytes).unwrap();
    std::fs::copy(guest("claims"), folder.path().join("claims.wasm")).unwrap();
    let Err(error @ BootError::Load(_)) = database.host().folder(folder.path()).boot().await else {
        panic!("{file} was to be refused")
    };
    assert!(error.is_usage());
    assert!(error.to_string().contains(file), "the error names the file: {error}");
    assert_eq!(database.snapshot().await, before, "no other block ran");
    error.to_string()
}
