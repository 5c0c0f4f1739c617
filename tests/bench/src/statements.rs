//! Lists of statements that run both in a block and natively.

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

/// A parameter, as the guest reads it.
enum Param {
    Number(i64),
    Text(String),
}

impl Param {
    fn typed(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Param::Number(number) => (number, Type::INT8),
            Param::Text(text) => (text, Type::TEXT),
        }
    }
}

/// A statement and its parameters.
struct Statement {
    text: String,
    params: Vec<Param>,
}

/// Statements, and what they need to run once more.
pub struct List {
    /// A line each, with parameters after tabs: a number, or a text behind a quote.
    pub text: String,
    statements: Vec<Statement>,
}

/// How a native client sends a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Native {
    /// `client.execute(&str, …)`, as most people write it: prepared each time, so two round trips.
    Prepared,
    /// `execute_typed`, all of them on their way at once, by who takes the trouble.
    AtOnce,
    /// `execute_typed`: one round trip, for those who name the parameters' types.
    Typed,
}

impl List {
    pub fn new(text: &str) -> Result<List> {
        let statements = text
            .lines()
            .map(|line| {
                let mut fields = line.split('\t');
                let text = fields.next().context("an empty line")?.to_owned();
                let param = |field: &str| -> Result<Param> {
                    Ok(match field.strip_prefix('\'') {
                        Some(text) => Param::Text(text.to_owned()),
                        None => Param::Number(field.parse()?),
                    })
                };
                Ok(Statement { text, params: fields.map(param).collect::<Result<_>>()? })
            })
            .collect::<Result<_>>()?;
        Ok(List { text: text.to_owned(), statements })
    }

    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// In one transaction with a row for a ledger, as a tool does that runs somebody's SQL.
    pub async fn run(&self, client: &Client, native: Native) -> Result<()> {
        client.batch_execute("begin").await?;
        let typed = async |Statement { text, params }: &Statement| {
            let params: Vec<_> = params.iter().map(Param::typed).collect();
            client.execute_typed(text, &params).await.with_context(|| text.clone())
        };
        match native {
            Native::AtOnce => drop(try_join_all(self.statements.iter().map(typed)).await?),
            Native::Typed => {
                for statement in &self.statements {
                    typed(statement).await?;
                }
            }
            Native::Prepared => {
                for Statement { text, params } in &self.statements {
                    let params: Vec<_> = params.iter().map(|param| param.typed().0).collect();
                    client.execute(text, &params).await.with_context(|| text.clone())?;
                }
            }
        }
        Self::end(client).await
    }

    async fn end(client: &Client) -> Result<()> {
        let insert = "insert into bench_ledger (description, checksum, execution_time) values ($1, $2, $3)";
        let checksum: &[u8] = &[7; 32];
        let rows =
            client.execute_typed(insert, &[(&"a migration", Type::TEXT), (&checksum, Type::BYTEA), (&1_i64, Type::INT8)]).await?;
        ensure!(rows == 1, "the ledger's row is missing");
        client.batch_execute("commit").await?;
        Ok(())
    }
}

/// The ledger of the native ones, like that of sqlx.
pub const LEDGER: &str = "create table bench_ledger (version bigint generated always as identity primary key, description text not null,
    installed_on timestamptz not null default now(), success boolean not null default true, checksum bytea not null, execution_time bigint not null)";
