//! What PostgreSQL says in an error about the rows that it met, taken out: reports are mailed and ledgers are kept, and rows hold
//! people's data. The names of tables, columns and constraints stay, and with them what somebody needs to look it up.

use crate::contract::DatabaseError;

/// What stands in a message for a value.
const VALUE: &str = "\"…\"";

/// The same error without values: DETAIL shows rows ("Key (email)=(…) already exists", "Failing row contains (…)"), and the messages
/// of class 22, data exceptions, quote the value that is none. What a function raises by itself (P0001) is its author's word.
pub(crate) fn discreet(error: DatabaseError) -> DatabaseError {
    let message = if error.sqlstate.starts_with("22") { without_quoted(&error.message) } else { error.message };
    DatabaseError { message, detail: None, ..error }
}

/// From the first quotation mark to the last: a value may hold some itself.
fn without_quoted(message: &str) -> String {
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            let (before, after) = (message.get(..first), message.get(last + 1..));
            format!("{}{VALUE}{}", before.unwrap_or_default(), after.unwrap_or_default())
        }
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(sqlstate: &str, message: &str) -> DatabaseError {
        DatabaseError {
            sqlstate: sqlstate.to_owned(),
            message: message.to_owned(),
            detail: Some("Key (email)=(ada@example.org) already exists.".to_owned()),
            hint: None,
            schema: None,
            table: None,
            column: None,
            constraint: Some("users_email_key".to_owned()),
            position: None,
            extra: Vec::new(),
        }
    }

    #[test]
    fn values_go_and_names_stay() {
        let told = discreet(error("23505", "duplicate key value violates unique constraint \"users_email_key\""));
        assert_eq!((told.detail, told.constraint.as_deref()), (None, Some("users_email_key")));
        assert!(told.message.contains("\"users_email_key\""), "{}", told.message);
        for (message, shown) in [
            ("invalid input syntax for type integer: \"ada\"", "invalid input syntax for type integer: \"…\""),
            ("value \"a \"quoted\" one\" is out of range for type integer", "value \"…\" is out of range for type integer"),
            ("value too long for type character varying(3)", "value too long for type character varying(3)"),
            ("one \" alone", "one \" alone"),
        ] {
            assert_eq!(discreet(error("22P02", message)).message, shown);
        }
    }
}
