//! Objects of the database that a block requires or provides.

use crate::{ColumnName, TableName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// An object of the database, as a block requires or provides it. What a manifest leaves out is not compared.
///
/// ```toml
/// provides = [
///   { table = "capabilities" },
///   { column = "test_suites.eligible", type = "boolean", nullable = false, default = "false" },
///   { index = "suites_idx", table = "test_suites", columns = ["capability_slug", "created_at DESC"], unique = false },
///   { enum = "mood", value = "happy" },
/// ]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Object {
    /// A table, ordinary or partitioned.
    Table(TableName),
    /// A column of a table.
    Column {
        /// Where it is.
        name: ColumnName,
        /// Its type, such as `character varying(20)` or `varchar(20)`.
        data_type: Option<String>,
        /// Whether it takes NULL.
        nullable: Option<bool>,
        /// Its default as `pg_get_expr` prints it, such as `now()` or `'draft'`; empty if it must have none.
        default: Option<String>,
    },
    /// An index, valid.
    Index {
        /// Its name, with its schema.
        name: TableName,
        /// The table that it is on.
        table: Option<TableName>,
        /// Its columns and expressions in order, as `pg_get_indexdef` prints them, such as `executed_at DESC`.
        columns: Option<Vec<String>>,
        /// Whether it is unique.
        unique: Option<bool>,
        /// The predicate of a partial index as `pg_get_expr` prints it; empty if it must have none.
        predicate: Option<String>,
    },
    /// A constraint of a table.
    Constraint {
        /// Its name.
        name: String,
        /// The table.
        table: TableName,
        /// Its definition as `pg_get_constraintdef` prints it.
        definition: Option<String>,
    },
    /// A trigger of a table.
    Trigger {
        /// Its name.
        name: String,
        /// The table.
        table: TableName,
    },
    /// A function or procedure, by name.
    Function(TableName),
    /// A view, materialised or not.
    View(TableName),
    /// A sequence.
    Sequence(TableName),
    /// An extension.
    Extension(String),
    /// A type: an enum with one of its values, if one is given.
    Enum {
        /// The enum's name, with its schema.
        name: TableName,
        /// The label.
        value: Option<String>,
    },
}

impl Object {
    /// The word for what it is: `table`, `column`, …
    pub fn kind(&self) -> &'static str {
        match self {
            Object::Table(_) => "table",
            Object::Column { .. } => "column",
            Object::Index { .. } => "index",
            Object::Constraint { .. } => "constraint",
            Object::Trigger { .. } => "trigger",
            Object::Function(_) => "function",
            Object::View(_) => "view",
            Object::Sequence(_) => "sequence",
            Object::Extension(_) => "extension",
            Object::Enum { .. } => "enum",
        }
    }

    /// Whether both name the same object, whatever else they say of it.
    pub fn same(&self, other: &Object) -> bool {
        self.to_string() == other.to_string()
    }
}

/// `column test_suites.eligible`, `trigger audit on transactions`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Object::Table(name) | Object::Function(name) | Object::View(name) | Object::Sequence(name) => {
                write!(f, "{kind} {name}")
            }
            Object::Column { name, .. } => write!(f, "{kind} {name}"),
            Object::Index { name, .. } => write!(f, "{kind} {name}"),
            Object::Constraint { name, table, .. } | Object::Trigger { name, table } => write!(f, "{kind} {name} on {table}"),
            Object::Extension(name) => write!(f, "{kind} {name}"),
            Object::Enum { name, value: Some(value) } => write!(f, "{kind} {name} value {value}"),
            Object::Enum { name, value: None } => write!(f, "{kind} {name}"),
        }
    }
}

/// The form in `block.toml`: a table whose one naming key says what it is.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    constraint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<TableName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<String>,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    enumeration: Option<TableName>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    data_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nullable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique: Option<bool>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    predicate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl TryFrom<Written> for Object {
    type Error = String;

    fn try_from(mut w: Written) -> Result<Object, String> {
        let object = if let Some(name) = w.column.take() {
            Object::Column {
                name: name.parse()?,
                data_type: w.data_type.take(),
                nullable: w.nullable.take(),
                default: w.default.take(),
            }
        } else if let Some(name) = w.index.take() {
            let (columns, unique, predicate) = (w.columns.take(), w.unique.take(), w.predicate.take());
            Object::Index { name, table: w.table.take(), columns, unique, predicate }
        } else if let Some(name) = w.constraint.take() {
            let table =
                w.table.take().ok_or_else(|| format!("constraint `{name}` needs the table that it is on: `table = \"…\"`"))?;
            Object::Constraint { name, table, definition: w.definition.take() }
        } else if let Some(name) = w.trigger.take() {
            let table =
                w.table.take().ok_or_else(|| format!("trigger `{name}` needs the table that it is on: `table = \"…\"`"))?;
            Object::Trigger { name, table }
        } else if let Some(name) = w.enumeration.take() {
            Object::Enum { name, value: w.value.take() }
        } else if let Some(name) = w.function.take() {
            Object::Function(name)
        } else if let Some(name) = w.view.take() {
            Object::View(name)
        } else if let Some(name) = w.sequence.take() {
            Object::Sequence(name)
        } else if let Some(name) = w.extension.take() {
            Object::Extension(name)
        } else if let Some(name) = w.table.take() {
            Object::Table(name)
        } else {
            return Err(
                "an object needs one of: table, column, index, constraint, trigger, function, view, sequence, extension, enum"
                    .into(),
            );
        };
        match w.left_over() {
            Some(field) => Err(format!("{object}: `{field}` does not belong to {} {}", article(object.kind()), object.kind())),
            None => Ok(object),
        }
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

impl Written {
    /// A key that the object's kind has no use for.
    fn left_over(&self) -> Option<&'static str> {
        let fields = [
            ("table", self.table.is_some()),
            ("index", self.index.is_some()),
            ("constraint", self.constraint.is_some()),
            ("trigger", self.trigger.is_some()),
            ("function", self.function.is_some()),
            ("view", self.view.is_some()),
            ("sequence", self.sequence.is_some()),
            ("extension", self.extension.is_some()),
            ("enum", self.enumeration.is_some()),
            ("type", self.data_type.is_some()),
            ("nullable", self.nullable.is_some()),
            ("default", self.default.is_some()),
            ("columns", self.columns.is_some()),
            ("unique", self.unique.is_some()),
            ("where", self.predicate.is_some()),
            ("definition", self.definition.is_some()),
            ("value", self.value.is_some()),
        ];
        fields.into_iter().find(|(_, there)| *there).map(|(field, _)| field)
    }
}

impl From<Object> for Written {
    fn from(object: Object) -> Written {
        let empty = Written::default();
        match object {
            Object::Table(name) => Written { table: Some(name), ..empty },
            Object::Column { name, data_type, nullable, default } => {
                Written { column: Some(name.to_string()), data_type, nullable, default, ..empty }
            }
            Object::Index { name, table, columns, unique, predicate } => {
                Written { index: Some(name), table, columns, unique, predicate, ..empty }
            }
            Object::Constraint { name, table, definition } => {
                Written { constraint: Some(name), table: Some(table), definition, ..empty }
            }
            Object::Trigger { name, table } => Written { trigger: Some(name), table: Some(table), ..empty },
            Object::Function(name) => Written { function: Some(name), ..empty },
            Object::View(name) => Written { view: Some(name), ..empty },
            Object::Sequence(name) => Written { sequence: Some(name), ..empty },
            Object::Extension(name) => Written { extension: Some(name), ..empty },
            Object::Enum { name, value } => Written { enumeration: Some(name), value, ..empty },
        }
    }
}
