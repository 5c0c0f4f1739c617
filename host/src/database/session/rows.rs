//! The rows of a query: described, decoded, held against the limits.

use super::{DRAINED, Session, budget, look::Answer, told};
use crate::{
    contract::{Column, Error, Rows, ValueError, to_contract},
    database::{described::Columned, policy::Wraps},
};
use plinth_values::{Raw, decode, is_native, type_name};
use tokio_postgres::types::Type;

/// The columns of a query, as the contract has them and as the database does.
pub(super) struct Described {
    pub(super) columns: Vec<Column>,
    pub(super) types: Vec<Type>,
}

impl Described {
    pub(super) fn of(columns: &[tokio_postgres::Column]) -> Described {
        let told =
            |column: &tokio_postgres::Column| Column { name: column.name().to_owned(), type_name: type_name(column.type_()) };
        Described {
            columns: columns.iter().map(told).collect(),
            types: columns.iter().map(|column| column.type_().clone()).collect(),
        }
    }
}

impl Session {
    /// Reads the rows of a query. Without a description they describe themselves; then none if one cannot be decoded.
    pub(super) async fn receive(
        &mut self,
        stream: &mut Columned,
        mut described: Option<Described>,
        mut answer: Option<&mut Answer>,
    ) -> Result<Option<Rows>, Error> {
        let (mut values, mut bytes) = (Vec::new(), 0_usize);
        while let Some(row) = stream.next().await {
            let row = row.map_err(|error| told(&error))?;
            let Described { columns, types } = match &described {
                Some(described) => described,
                None => {
                    let own = Described::of(row.columns());
                    if !own.types.iter().all(is_native) {
                        while stream.next().await.transpose().map_err(|error| told(&error))?.is_some() {}
                        return Ok(None);
                    }
                    described.insert(own)
                }
            };
            bytes = bytes.saturating_add(row.raw_size_bytes());
            self.rows_read += 1;
            self.bytes_read = self.bytes_read.saturating_add(row.raw_size_bytes() as u64);
            if let Err(error) = self.too_much(values.len(), bytes) {
                // Whoever stops reading would be sent all the rest before the next answer.
                self.connection.canceller().cancel().await;
                let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                let _ = tokio::time::timeout(DRAINED, rest).await;
                return Err(error);
            }
            if let Some(answer) = answer.as_deref_mut() {
                answer.row(&row).map_err(|error| told(&error))?;
            }
            let mut fields = Vec::with_capacity(types.len());
            for (place, of) in types.iter().enumerate() {
                let raw: Raw<'_> = row.try_get(place).map_err(|error| told(&error))?;
                let value = decode(of, raw.0).map_err(|error| {
                    let column = columns.get(place).map(|column| column.name.clone());
                    Error::Value(ValueError { parameter: None, column, message: error.to_string(), extra: Vec::new() })
                });
                fields.push(to_contract(value?));
            }
            values.push(fields);
        }
        let Described { columns, .. } = described.unwrap_or_else(|| Described::of(stream.columns()));
        Ok(Some(Rows { columns, values, extra: Vec::new() }))
    }

    /// Holds what a query and the block have read against the limits. `rows` were read before this one.
    pub(super) fn too_much(&self, rows: usize, bytes: usize) -> Result<(), Error> {
        let limits = &self.limits;
        let over = |limit: &str, most: u64, what: &str| {
            Err(budget(
                limit,
                format!(
                    "{what} more than {most} {}: narrow it, or read it in parts",
                    if limit.starts_with("rows") { "rows" } else { "bytes" }
                ),
            ))
        };
        if rows >= limits.rows_per_query {
            return over("rows-per-query", limits.rows_per_query as u64, "the query returns");
        }
        if bytes > limits.bytes_per_query {
            return over("bytes-per-query", limits.bytes_per_query as u64, "the query returns");
        }
        if self.rows_read > limits.rows_per_block {
            return over("rows-per-block", limits.rows_per_block, "the block's queries return");
        }
        if self.bytes_read > limits.bytes_per_block {
            return over("bytes-per-block", limits.bytes_per_block, "the block's queries return");
        }
        Ok(())
    }
}

/// The statement inside another one that turns the columns without a case in the contract into text; none if there are none.
pub(super) fn as_text(statement: &str, types: &[Type], wraps: Wraps) -> Result<Option<String>, Error> {
    if types.iter().all(is_native) {
        return Ok(None);
    }
    let statement = statement.trim_end().trim_end_matches(';');
    let names: Vec<String> = (0..types.len()).map(|place| format!("c{place}")).collect();
    let columns: Vec<String> = names
        .iter()
        .zip(types)
        .map(|(name, of)| match (is_native(of), of.kind()) {
            (true, _) => name.clone(),
            (false, tokio_postgres::types::Kind::Array(_)) => format!("{name}::text[]"),
            (false, _) => format!("{name}::text"),
        })
        .collect();
    let (columns, names) = (columns.join(", "), names.join(", "));
    // The line break ends a comment at the end of the statement.
    match wraps {
        Wraps::Subquery => Ok(Some(format!("select {columns} from ({statement}\n) as q ({names})"))),
        Wraps::With => Ok(Some(format!("with q ({names}) as ({statement}\n) select {columns} from q"))),
        Wraps::No => Err(Error::Value(ValueError {
            parameter: None,
            column: None,
            message: "a column of the statement has a type that can only be read as text: cast it with ::text".into(),
            extra: Vec::new(),
        })),
    }
}
