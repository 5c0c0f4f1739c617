//! What the tests share: one PostgreSQL server per test program, in memory, a database for each test, the real components
//! and the real command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod attack;
pub mod campaign;
pub mod crash;
pub mod fuzzed;
pub mod pooler;
pub mod proxy;
pub mod service;

use plinth::{Database, Host, embedded::Server};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio_postgres::{Client, NoTls};

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folder that components are built into: `target/blocks` or `target/guests`.
fn built(folder: &str) -> PathBuf {
    let path = root().join("target").join(folder);
    assert!(path.is_dir(), "{} is not there: `make blocks guests` builds it, `make test` does all of it", path.display());
    path
}

/// The eleven blocks of the reference service.
pub fn blocks() -> PathBuf {
    built("blocks")
}

/// A guest of the tests, by its folder in `tests/guests`.
pub fn guest(name: &str) -> PathBuf {
    let path = built("guests").join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is not there: `make guests` builds it", path.display());
    path
}

/// A folder with some guests, for a boot of their own.
pub fn guests(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(guest(name), folder.path().join(format!("{name}.wasm"))).unwrap();
    }
    folder
}

/// A copy of the eleven blocks, to take some out.
pub fn copy_of_blocks() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(blocks()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

/// The command, as built by this workspace.
pub fn plinth() -> Command {
    // A program of the tests lies beside it, a test one folder below.
    let us = std::env::current_exe().unwrap();
    let path = us.ancestors().skip(1).take(2).map(|folder| folder.join("plinth")).find(|path| path.is_file());
    let path = path.unwrap_or_else(|| us.with_file_name("plinth"));
    assert!(path.is_file(), "{} is not there: `cargo build` makes it", path.display());
    let mut command = Command::new(path);
    command.env_remove("DATABASE_URL").env("PLINTH_CACHE", cache()).env("NO_COLOR", "1");
    command
}

/// Compiled code is shared by all tests: a component is compiled once.
pub fn cache() -> PathBuf {
    root().join("target/test-cache")
}

/// The server of this test program. It ends with it.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let builder = Server::builder().in_memory(true).durable(false).setting("max_connections", "200");
        builder.start().unwrap_or_else(|error| panic!("{error}"))
    })
}

/// A database of a test's own.
pub struct TestDatabase {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
}

impl TestDatabase {
    /// An empty database.
    pub async fn empty() -> TestDatabase {
        TestDatabase::from_template("template0").await
    }

    /// The reference service's tables with production-like data, before any block.
    pub async fn production_like() -> TestDatabase {
        static TEMPLATE: tokio::sync::OnceCell<String> = tokio::sync::OnceCell::const_new();
        let template = TEMPLATE
            .get_or_init(|| async {
                let database = TestDatabase::empty().await;
                let client = database.client().await;
                for file in ["tables.sql", "production_like.sql"] {
                    let sql = std::fs::read_to_string(root().join("tests/data").join(file)).unwrap();
                    client.batch_execute(&sql).await.unwrap();
                }
                database.name
            })
            .await;
        TestDatabase::from_template(template).await
    }

    /// A database with the guests' table `t (id, a, b, updated_at)` and ten rows: ids 101 to 110, a and b 0.
    pub async fn with_t() -> TestDatabase {
        let database = TestDatabase::empty().await;
        let sql = "create table t (id int primary key, a int, b int, updated_at timestamptz);
                   insert into t (id, a, b) select i, 0, 0 from generate_series(101, 110) i";
        database.client().await.batch_execute(sql).await.unwrap();
        database
    }

    /// The same on a server of the test's own.
    pub async fn with_t_on(server: &Server) -> TestDatabase {
        let database = TestDatabase::made_on(server, "template0").await;
        let sql = "create table t (id int primary key, a int, b int, updated_at timestamptz);
                   insert into t (id, a, b) select i, 0, 0 from generate_series(101, 110) i";
        database.client().await.batch_execute(sql).await.unwrap();
        database
    }

    /// [`TestDatabase::production_like`] on a server of the test's own.
    pub async fn production_like_on(server: &Server) -> TestDatabase {
        let database = TestDatabase::made_on(server, "template0").await;
        let client = database.client().await;
        for file in ["tables.sql", "production_like.sql"] {
            client.batch_execute(&std::fs::read_to_string(root().join("tests/data").join(file)).unwrap()).await.unwrap();
        }
        database
    }

    /// Drops the database, so that a long campaign does not fill the memory.
    pub async fn remove(self, server: &Server) {
        let admin = connect(&server.url("postgres")).await;
        admin.batch_execute(&format!("drop database {} with (force)", self.name)).await.unwrap();
    }

    async fn from_template(template: &str) -> TestDatabase {
        TestDatabase::made_on(server(), template).await
    }

    async fn made_on(server: &Server, template: &str) -> TestDatabase {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&server.url("postgres")).await;
        // CREATE DATABASE wants its template unused; the connection that filled it may still be closing.
        for _ in 0..50 {
            match admin.batch_execute(&format!("create database {name} template {template} strategy file_copy")).await {
                Ok(()) => return TestDatabase { url: server.url(&name), name },
                Err(error) if error.code().is_some_and(|code| code.code() == "55006") => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the template {template} stays in use")
    }

    /// A connection of the test's own.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// A host for this database, without components.
    pub fn host(&self) -> Host {
        Host::new(Database::from_url(&self.url).unwrap()).cache(cache())
    }

    /// One value, as text.
    pub async fn text(&self, query: &str) -> Option<String> {
        value(&self.client().await, query).await
    }

    /// One number.
    pub async fn number(&self, query: &str) -> i64 {
        self.text(query).await.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no number: {query}"))
    }

    /// Everything in the database but the ledger: every table's rows, every column, index and constraint. Equal before and
    /// after means that nothing was left behind.
    pub async fn snapshot(&self) -> BTreeMap<String, String> {
        let client = self.client().await;
        let tables: Vec<String> = texts(
            &client,
            "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'plinth')",
        )
        .await;
        let mut all = BTreeMap::new();
        for table in tables {
            let rows = format!(
                "select coalesce(md5(string_agg(r::text, E'\\n' order by r::text)), '') || ' ' || count(*) from {table} r"
            );
            all.insert(table.clone(), value(&client, &rows).await.unwrap());
        }
        let schema = "select string_agg(line, E'\\n' order by line) from (
            select format('%s.%s.%s %s %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                          pg_get_expr(d.adbin, d.adrelid)) as line
            from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
            left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
            where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and n.nspname not in ('pg_catalog', 'information_schema', 'plinth')
            union all
            select pg_get_indexdef(i.indexrelid) || i.indisvalid from pg_index i join pg_class c on c.oid = i.indrelid
            join pg_namespace n on n.oid = c.relnamespace where n.nspname not in ('pg_catalog', 'pg_toast', 'plinth')
            union all
            select conrelid::regclass || pg_get_constraintdef(k.oid) from pg_constraint k join pg_namespace n on n.oid = k.connamespace
            where n.nspname not in ('pg_catalog', 'information_schema', 'plinth')) lines";
        all.insert("schema".into(), value(&client, schema).await.unwrap_or_default());
        all
    }

    /// Sessions of hosts that are still there, and advisory locks: none once a boot is over.
    pub async fn left_behind(&self) -> i64 {
        self.left("true").await
    }

    /// The same behind a pooler, which keeps connections that do nothing.
    pub async fn left_behind_in_a_pool(&self) -> i64 {
        self.left("state <> 'idle'").await
    }

    async fn left(&self, counts: &str) -> i64 {
        for _ in 0..100 {
            let left = self
                .number(&format!(
                    "select (select count(*) from pg_stat_activity where datname = '{0}' and application_name like 'plinth%' and {counts})
                          + (select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = '{0}'))
                          + (select count(*) from pg_prepared_xacts where database = '{0}')",
                    self.name
                ))
                .await;
            if left == 0 {
                return 0;
            }
            // A server process needs a moment to notice that its client is gone.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        self.number(&format!(
            "select count(*) from pg_stat_activity where datname = '{}' and application_name like 'plinth%' and {counts}",
            self.name
        ))
        .await
    }
}

/// Connects.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(connection);
    client
}

/// The first column of all rows, as text.
pub async fn texts(client: &Client, query: &str) -> Vec<String> {
    let messages = client.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let text = |message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.into_iter().filter_map(text).collect()
}

/// The first value, as text.
pub async fn value(client: &Client, query: &str) -> Option<String> {
    texts(client, query).await.into_iter().next()
}
