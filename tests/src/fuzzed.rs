//! What must hold for any bytes. `make fuzz` looks for bytes for which it does not; the tests run over those that it found.

use crate::{TestDatabase, server};
use plinth::{Components, Database, Host, Keys, Limits, manifest::Manifest};
use plinth_block::{
    Backend, BackendSavepoint, Db, Level, SqlError,
    bulk::BackendCursor,
    types::{BulkColumn, ContractError, ContractRows, Refusal},
};
use plinth_values::{decode, parameters, type_name};
use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, OnceLock},
};
use tokio_postgres::{
    Client,
    types::{Format, ToSql, Type, private::BytesMut},
};

/// What a fuzzer feeds: its name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// The targets, by name.
pub const TARGETS: [Target; 4] = [("component", component), ("manifest", manifest), ("values", values), ("policy", policy)];

/// What is committed for a target, by file.
pub fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = crate::root().join("tests/fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Loading never panics, and what it takes is what a lock file can be written of and read again.
pub fn component(data: &[u8]) {
    let Ok(components) = Components::from_bytes([("fuzzed", data.to_vec())]) else { return };
    for component in components.iter() {
        component.interfaces().unwrap();
    }
    let lock = components.lock_file();
    let host = Host::new(nowhere()).component("fuzzed", data.to_vec());
    let host = host.limits(Limits { component_bytes: u64::MAX, ..Limits::default() });
    host.locked_to(lock).load().unwrap();
}

/// No text makes reading a manifest, a keys file or a lock file panic, and a manifest's names mean themselves.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Keys::from_text(text);
    let _ = Host::new(nowhere()).locked_to(text.to_owned()).load();
    let Ok(manifest) = Manifest::parse(text) else { return };
    let _ = (manifest.needs(&manifest), manifest.reads_from(&manifest));
    for object in &manifest.provides {
        assert!(!object.to_string().is_empty());
    }
}

fn nowhere() -> Database {
    Database::from_url("postgres://nowhere@localhost/none").unwrap()
}

/// Types that the contract has a case for.
const TYPES: [Type; 24] = [
    Type::BOOL,
    Type::INT2,
    Type::INT4,
    Type::INT8,
    Type::OID,
    Type::FLOAT4,
    Type::FLOAT8,
    Type::NUMERIC,
    Type::TEXT,
    Type::BYTEA,
    Type::UUID,
    Type::DATE,
    Type::TIME,
    Type::TIMESTAMP,
    Type::TIMESTAMPTZ,
    Type::INTERVAL,
    Type::JSON,
    Type::JSONB,
    Type::INT4_ARRAY,
    Type::TEXT_ARRAY,
    Type::NUMERIC_ARRAY,
    Type::FLOAT8_ARRAY,
    Type::JSONB_ARRAY,
    Type::INTERVAL_ARRAY,
];

/// Bytes of a type are read or refused. What is read goes back as a parameter of the type, to the same value; and a component, which
/// reads them by code of its own, reads the same.
pub fn values(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let of = &TYPES[usize::from(*first) % TYPES.len()];
    let read = decode(of, Some(bytes));
    let by_component = read_in_bulk(of, bytes);
    let Ok(value) = read else {
        assert!(by_component.is_err(), "{of}: a component reads what the host does not: {by_component:?}");
        return;
    };
    let by_component = by_component.unwrap_or_else(|error| panic!("{of}: {value:?}, but for a component {error}"));
    // Not by ==: NaN is a value like any other here.
    let told = format!("{value:?}");
    assert_eq!(told, format!("{:?}", from_contract(by_component)), "{of}");
    let fitted = match parameters(&[value], std::slice::from_ref(of)) {
        Ok(mut fitted) => fitted.remove(0),
        // A server keeps no NUL in a text, and so sends none.
        Err(misfit) if told.contains("\\0") => return assert!(misfit.message.contains("NUL"), "{misfit}"),
        Err(misfit) => panic!("{of}: {told}: {misfit}"),
    };
    if matches!(fitted.encode_format(of), Format::Binary) {
        let mut out = BytesMut::new();
        fitted.to_sql_checked(of, &mut out).unwrap();
        assert_eq!(told, format!("{:?}", decode(of, Some(&out)).unwrap()), "{of}");
    }
}

plinth_values::contract!(plinth_block::types);

/// A row of one column, as a component reads it.
fn read_in_bulk(of: &Type, bytes: &[u8]) -> Result<plinth_block::types::Value, SqlError> {
    let mut row = 1_i16.to_be_bytes().to_vec();
    row.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
    row.extend(bytes);
    let db = Db::with_backend(Rows { of: of.clone(), row });
    let mut rows = db.read_bulk("", &[])?;
    let row = rows.next()?.unwrap();
    row.get(0)
}

/// A backend that has one row.
#[derive(Clone)]
struct Rows {
    of: Type,
    row: Vec<u8>,
}

struct Cursor(Rows, std::cell::Cell<bool>);

impl BackendCursor for Cursor {
    fn columns(&self) -> Vec<BulkColumn> {
        let name = type_name(&self.0.of);
        vec![BulkColumn { name: "c".into(), type_name: name.clone(), encoded_as: name, extra: Vec::new() }]
    }

    fn read(&self, _: u32) -> Result<Vec<u8>, SqlError> {
        Ok(if self.1.replace(true) { Vec::new() } else { self.0.row.clone() })
    }
}

impl Backend for Rows {
    fn execute(&self, _: &str, _: &[plinth_block::types::Value]) -> Result<u64, SqlError> {
        Err(nothing())
    }

    fn query(&self, _: &str, _: &[plinth_block::types::Value]) -> Result<ContractRows, SqlError> {
        Err(nothing())
    }

    fn savepoint(&self) -> Result<Box<dyn BackendSavepoint>, SqlError> {
        Err(nothing())
    }

    fn log(&self, _: Level, _: &str) {}

    fn bulk_cursor(&self, _: &str, _: &[plinth_block::types::Value]) -> Result<Box<dyn BackendCursor>, SqlError> {
        Ok(Box::new(Cursor(self.clone(), std::cell::Cell::new(false))))
    }
}

fn nothing() -> SqlError {
    ContractError::Other(Refusal { rule: String::new(), message: String::new(), extra: Vec::new() }).into()
}

/// What a block may send neither ends its transaction nor changes the session that is around it. PostgreSQL is the judge: whatever the
/// policy lets through is sent to one, inside a transaction, and then that transaction is looked for.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (plain, declared) = (plinth::is_sent(text, false), plinth::is_sent(text, true));
    assert!(declared || !plain, "declaring more forbids more: {text}");
    if declared {
        let mut judge = judge().lock().unwrap();
        let Judge { runtime, client } = &mut *judge;
        if let Err(why) = runtime.block_on(judged(client, text, plain)) {
            panic!("{why}: {text:?}");
        }
    }
}

struct Judge {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

fn judge() -> &'static Mutex<Judge> {
    static JUDGE: OnceLock<Mutex<Judge>> = OnceLock::new();
    JUDGE.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let database = TestDatabase::made_on(server(), "template0").await;
            let client = database.client().await;
            let tables = "create role judged nosuperuser; grant create on schema public to judged; set role judged;
                          create table t (id int primary key, a int, b int, updated_at timestamptz); insert into t values (1, 2, 3)";
            client.batch_execute(tables).await.unwrap();
            client
        });
        Mutex::new(Judge { runtime, client })
    })
}

/// The session around a transaction, as one text.
const SESSION: &str = "select concat_ws('|', current_user, session_user, current_setting('search_path'), current_setting('statement_timeout'),
    current_setting('transaction_read_only'), (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
    (select count(*) from pg_cursors),
    (select count(*) from pg_listening_channels()))";

async fn judged(client: &Client, text: &str, plain: bool) -> Result<(), String> {
    let lost = |error: tokio_postgres::Error| format!("the session is lost: {error:?}");
    let before = crate::value(client, SESSION).await;
    client.batch_execute("begin; set local statement_timeout = 200").await.map_err(lost)?;
    let transaction = crate::value(client, "select pg_current_xact_id()").await;
    // By the protocol that blocks' statements go by.
    let sent = client.execute_typed(text, &[]).await;
    let still = client.simple_query("select pg_current_xact_id_if_assigned()").await;
    let ended = match (&sent, still) {
        // It failed, and the transaction with it: the server takes nothing more until it is rolled back.
        (Err(_), Err(error)) => error.code().is_none_or(|code| code.code() != "25P02"),
        // One that cannot be sent, with a NUL in it, ends nothing.
        (Err(error), Ok(_)) => error.as_db_error().is_some(),
        (Ok(_), Ok(messages)) => !messages.iter().any(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0) == transaction.as_deref(),
            _ => false,
        }),
        (Ok(_), Err(_)) => true,
    };
    client.batch_execute("rollback").await.map_err(lost)?;
    if ended {
        return Err("it ended its transaction".into());
    }
    // What is declared may reach the session, and is found out by the comparison around the block.
    let after = crate::value(client, SESSION).await;
    if plain && after != before { Err(format!("it changed the session, {before:?} to {after:?}")) } else { Ok(()) }
}
