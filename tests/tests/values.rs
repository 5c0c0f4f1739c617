//! Every value crosses the boundary and back without loss: the guest `echo` reads rows and inserts them again under the negative
//! id; the guest `bulk_copies` reads them in bulk and puts them into another table. What goes in is written as SQL text and what
//! comes out is compared as SQL text, both by the server: the codec under test has no part in that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use plinth_tests::{TestDatabase, connect, guests, texts};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::select,
    strategy::Union,
    string::string_regex,
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};
use std::{
    fmt::Debug,
    sync::atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A value as the type's input function reads it.
type Text = BoxedStrategy<String>;

/// A type of the table: its name, what its values look like, and what stands between the elements of its arrays.
struct Tested {
    name: &'static str,
    values: Text,
    delimiter: char,
}

fn words(all: &'static [&'static str]) -> Text {
    select(all).prop_map(str::to_owned).boxed()
}

fn any_of(strategies: impl IntoIterator<Item = Text>) -> Text {
    Union::new(strategies).boxed()
}

fn integers<T: Arbitrary + Debug + ToString + 'static>(edges: [T; 3]) -> Text {
    let edges: Vec<String> = edges.iter().map(ToString::to_string).collect();
    any_of([any::<T>().prop_map(|v| v.to_string()).boxed(), select(edges).boxed()])
}

/// Any text but NUL: control characters, quotes, what arrays and JSON escape, and all of Unicode.
fn any_text(most: usize) -> Text {
    let special = "\u{1}\t\n\r\u{b}\u{1b}\u{7f} '\"\\{}(),;NUL%$\u{85}\u{a0}\u{200b}\u{301}\u{feff}\u{ffff}🦀é";
    let character = prop_oneof![
        3 => select(special.chars().collect::<Vec<_>>()),
        2 => any::<char>().prop_filter("PostgreSQL keeps no NUL", |c| *c != '\0'),
        2 => proptest::char::range('a', 'z'),
    ];
    let random = vec(character, 0..most).prop_map(|all| all.into_iter().collect::<String>());
    any_of([random.boxed(), words(&["", " ", "NULL", "null", "\\", "\"", "{}", "\\N"])])
}

fn numerics() -> Text {
    any_of([
        string_regex("-?[0-9]{1,60}").unwrap().boxed(),
        string_regex("-?[0-9]{1,40}\\.[0-9]{1,80}").unwrap().boxed(),
        string_regex("-?0\\.0{0,40}[0-9]{0,9}0{0,20}").unwrap().boxed(),
        string_regex("-?[1-9]0{0,60}\\.?0{0,20}").unwrap().boxed(),
        (any::<i32>(), -900_i32..900).prop_map(|(digits, exponent)| format!("{digits}e{exponent}")).boxed(),
        words(&[
            "0",
            "-0",
            "0.0000",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e131071",
            "-1e-16383",
            "9999",
            "10000",
            "0.0001",
            "0.00001",
            "1e-4",
        ]),
    ])
}

/// A date between two years; the years before 1 count as PostgreSQL prints them.
fn dates(last: u32) -> Text {
    (prop_oneof![3 => 1900_u32..2100, 1 => 1..last], 1_u32..13, 1_u32..29, prop::bool::weighted(0.1))
        .prop_map(|(year, month, day, before)| {
            let (year, before) = if before { (year.min(4700), " BC") } else { (year, "") };
            format!("{year:04}-{month:02}-{day:02}{before}")
        })
        .boxed()
}

fn times() -> Text {
    let clock =
        (0_u32..24, 0_u32..60, 0_u32..60, 0_u32..1_000_000).prop_map(|(h, m, s, us)| format!("{h:02}:{m:02}:{s:02}.{us:06}"));
    any_of([clock.boxed(), words(&["00:00:00", "23:59:59.999999", "24:00:00", "12:00:00.000001"])])
}

fn offsets() -> Text {
    words(&["+00", "-08", "+05:30", "+13:45", "-15:59", "+01:23:45"])
}

fn timestamps(zone: bool) -> Text {
    let zone = if zone { offsets() } else { Just(String::new()).boxed() };
    let random = (dates(294_000), times(), zone).prop_map(|(date, time, zone)| match date.strip_suffix(" BC") {
        Some(date) => format!("{date} {time}{zone} BC"),
        None => format!("{date} {time}{zone}"),
    });
    any_of([random.boxed(), words(&["infinity", "-infinity", "1999-12-31 23:59:59.999999", "2000-01-01", "epoch"])])
}

fn intervals() -> Text {
    let wide = (any::<i32>(), any::<i32>(), any::<i64>());
    let small = (-30_i32..30, -40_i32..40, -100_000_000_000_i64..100_000_000_000);
    let sql = |(months, days, us): (i32, i32, i64)| format!("{months} months {days} days {us} microseconds");
    // The outermost values are `infinity` since PostgreSQL 17.
    let wide = wide.prop_map(|(m, d, us)| (m / 2, d / 2, us / 2));
    any_of([
        wide.prop_map(sql).boxed(),
        small.prop_map(sql).boxed(),
        words(&["0", "1 month", "30 days", "24:00:00", "-1 day 00:00:00.000001"]),
    ])
}

fn json() -> Text {
    let leaf = any_of([
        words(&[
            "null",
            "true",
            "false",
            "1.2300",
            "-0",
            "1e400",
            "123456789012345678901234567890.5",
            "\"\"",
            "{}",
            "[]",
            "\"\\u00e9\\n\"",
        ]),
        any_text(8).prop_map(|text| serde_json::to_string(&text).unwrap()).boxed(),
    ]);
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|all| format!("[ {}]", all.join(" ,"))),
            // The same key twice and blanks: json keeps them, jsonb does not.
            (inner.clone(), inner).prop_map(|(one, two)| format!("{{\"k\" : {one},  \"a b\":{two}, \"k\":0}}")),
        ]
    })
    .boxed()
}

fn floats<T: Debug + ToString>(any: impl Strategy<Value = T> + 'static, edges: &'static [&'static str]) -> Text {
    let named = |text: String| match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ => text,
    };
    any_of([
        any.prop_map(move |v| named(v.to_string())).boxed(),
        words(&["0", "-0", "NaN", "Infinity", "-Infinity", "0.1"]),
        words(edges),
    ])
}

fn bounds(inner: Text, empty: bool) -> Text {
    let bounded = inner.prop_map(|bound| format!("[{bound},]"));
    let fixed: &'static [&'static str] = if empty { &["empty", "(,)"] } else { &["(,)"] };
    any_of([bounded.boxed(), words(fixed)])
}

/// All types. Whoever adds a case to the contract adds it here.
fn types() -> Vec<Tested> {
    let of = |name, values| Tested { name, values, delimiter: ',' };
    vec![
        of("boolean", words(&["true", "false"])),
        of("smallint", integers([i16::MIN, 0, i16::MAX])),
        of("integer", integers([i32::MIN, 0, i32::MAX])),
        of("bigint", integers([i64::MIN, 0, i64::MAX])),
        of("oid", integers([u32::MIN, 1, u32::MAX])),
        of("real", floats(prop::num::f32::ANY, &["1.1754944e-38", "3.4028235e38", "1e-45", "16777217"])),
        of(
            "double precision",
            floats(prop::num::f64::ANY, &["2.2250738585072014e-308", "1.7976931348623157e308", "5e-324", "0.30000000000000004"]),
        ),
        of("numeric", numerics()),
        of("numeric(30,7)", string_regex("-?[0-9]{1,20}(\\.[0-9]{0,9})?").unwrap().boxed()),
        of("text", any_text(40)),
        of("varchar(9)", any_text(9)),
        of("char(5)", any_text(5)),
        of("name", any_text(12)),
        of("\"char\"", words(&["a", "", "\\200", "\"", "\\", ","])),
        of(
            "bytea",
            vec(any::<u8>(), 0..40)
                .prop_map(|bytes| bytes.iter().fold("\\x".to_owned(), |all, byte| format!("{all}{byte:02x}")))
                .boxed(),
        ),
        of("uuid", any::<u128>().prop_map(|v| format!("{v:032x}")).boxed()),
        of("date", any_of([dates(5_874_000), words(&["infinity", "-infinity", "2000-01-01", "1999-12-31"])])),
        of("time", times()),
        of("timetz", (times(), offsets()).prop_map(|(time, zone)| format!("{time}{zone}")).boxed()),
        of("timestamp", timestamps(false)),
        of("timestamptz", timestamps(true)),
        of("interval", intervals()),
        of("json", json()),
        of("jsonb", json().prop_filter("jsonb's numbers are numerics", |text| !text.contains('\u{ffff}')).boxed()),
        of("mood", words(&["ok", "so so", "\"", "a\\b,{c}", "NULL", "großartig"])),
        of("positive", (1_i32..i32::MAX).prop_map(|v| v.to_string()).boxed()),
        of("label", any_text(9)),
        of("amount", numerics()),
        of("pair", words(&["(1,one)", "(,)", "(2,\"\")", "(3,\"a \"\"b\"\" \\\\ ,)(\")"])),
        of("inet", words(&["127.0.0.1", "10.1.2.3/8", "::1", "2001:db8::8a2e:370:7334/64", "0.0.0.0/0"])),
        of("cidr", words(&["10.0.0.0/8", "2001:db8::/32"])),
        of("macaddr", words(&["08:00:2b:01:02:03"])),
        of("money", words(&["$1.00", "-$92233720368547758.08", "$0.01"])),
        of("bit(5)", words(&["10101", "00000"])),
        of("bit varying", string_regex("[01]{0,40}").unwrap().boxed()),
        of("point", words(&["(1.5,-2)", "(NaN,Infinity)", "(0.1,1e-300)"])),
        Tested { name: "box", values: words(&["(1,1),(0,0)", "(2.5,3),(-1,0.1)"]), delimiter: ';' },
        of("path", words(&["[(0,0),(1,1)]", "((0,0),(1,1))"])),
        of("int4range", any_of([words(&["[-2147483648,0)", "(,2147483647)"]), bounds(integers([-5, 0, 7]), true)])),
        of("numrange", bounds(numerics().prop_filter("no bound", |text| !text.contains('N')).boxed(), true)),
        of("tstzrange", bounds(timestamps(true).prop_map(|bound| format!("\"{bound}\"")).boxed(), true)),
        of("int8multirange", words(&["{}", "{[1,5),[7,9)}", "{(,)}"])),
        of("tsvector", words(&["", "a:1A b:2 'it''s':3"])),
        of("pg_lsn", words(&["0/0", "16/B374D848"])),
        of("int2vector", words(&["1", "1 -2 3"])),
        of("oidvector", words(&["7", "1 2 4294967295"])),
        of("elsewhere.shade", words(&["dark", "light \"blue\""])),
    ]
}

const MADE: &str = "create type mood as enum ('ok', 'so so', '\"', E'a\\\\b,{c}', 'NULL', 'großartig');
    create domain positive as integer check (value > 0);
    create domain label as varchar(20);
    create domain amount as numeric;
    create schema elsewhere;
    create type pair as (a integer, b text);
    create type elsewhere.shade as enum ('dark', 'light \"blue\"');";

fn quoted(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// An array as its input function reads it: the bounds, if they are others than 1 or there are many, then nested braces.
fn arrays(of: &Tested) -> Text {
    let shape = prop_oneof![
        1 => Just(Vec::new()),
        4 => vec((1_usize..4, Just(1_i32)), 1),
        2 => vec((1_usize..4, -3_i32..5), 1..4),
    ];
    let delimiter = of.delimiter;
    (shape, vec(option::weighted(0.8, of.values.clone()), 27))
        .prop_map(move |(shape, elements)| {
            let count = shape.iter().map(|(length, _)| length).product::<usize>();
            if shape.is_empty() {
                return "{}".to_owned();
            }
            let mut parts: Vec<String> = elements
                .into_iter()
                .take(count)
                .map(|element| {
                    element.map_or("NULL".to_owned(), |text| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
                })
                .collect();
            for (length, _) in shape.iter().rev() {
                parts = parts.chunks(*length).map(|part| format!("{{{}}}", part.join(&delimiter.to_string()))).collect();
            }
            let bounds: String =
                shape.iter().map(|(length, lower)| format!("[{lower}:{}]", lower + *length as i32 - 1)).collect();
            format!("{bounds}={}", parts[0])
        })
        .boxed()
}

/// A table that a guest echoes, and everything around it.
struct Echo {
    runtime: Runtime,
    database: TestDatabase,
    columns: Vec<String>,
    /// The table that rows are read from, the one that they are written to, and how a row is found there.
    from: &'static str,
    to: &'static str,
    found: &'static str,
    folder: TempDir,
}

/// The type of a column that values of a type are written to in bulk, and how the server shows them there as what they were: `@` is
/// the column. What has no case in the contract goes through text, and an array of what only this database has loses that name.
fn kept_in_bulk(of: &str) -> (&str, String) {
    const CASES: [&str; 21] = [
        "boolean",
        "smallint",
        "integer",
        "bigint",
        "oid",
        "real",
        "double precision",
        "numeric",
        "text",
        "varchar",
        "char",
        "name",
        "bytea",
        "uuid",
        "date",
        "time",
        "timestamp",
        "timestamptz",
        "interval",
        "json",
        "jsonb",
    ];
    match of {
        "int2vector" => return ("smallint[]", "array_to_string(@, ' ')".to_owned()),
        "oidvector" => return ("oid[]", "array_to_string(@, ' ')".to_owned()),
        "positive[]" => return ("integer[]", format!("@::{of}::text")),
        "label[]" => return ("varchar[]", format!("@::{of}::text")),
        "amount[]" => return ("numeric[]", format!("@::{of}::text")),
        "\"char\"" => return ("text", "@".to_owned()),
        "\"char\"[]" => return ("text[]", "@::text".to_owned()),
        "mood" | "elsewhere.shade" | "positive" | "label" | "amount" => return (of, "@::text".to_owned()),
        _ => {}
    }
    let element = of.trim_end_matches("[]");
    match CASES.contains(&element.split('(').next().unwrap()) {
        true => (of, "@::text".to_owned()),
        false => (if of.ends_with("[]") { "text[]" } else { "text" }, format!("@::{of}::text")),
    }
}

impl Echo {
    /// A database with the table: a column of each type, `integer` or `integer[]`.
    fn new(types: &[String]) -> Echo {
        let columns: String = types.iter().enumerate().map(|(place, of)| format!(", c{place} {of}")).collect();
        let made = format!("create table echo (id integer primary key{columns})");
        let (runtime, database) = Echo::database(&made);
        let folder = guests(&["echo"]);
        Echo { runtime, database, columns: types.to_vec(), from: "echo", to: "echo", found: "b.id = -a.id", folder }
    }

    /// The same, in bulk: two tables.
    fn in_bulk(types: &[String]) -> Echo {
        let table = |kept: fn(&str) -> &str| -> String {
            types.iter().enumerate().map(|(place, of)| format!(", c{place} {}", kept(of))).collect()
        };
        let made = format!(
            "create table source (id integer primary key{}); create table target (id integer primary key{})",
            table(|of| of),
            table(|of| kept_in_bulk(of).0)
        );
        let (runtime, database) = Echo::database(&made);
        let folder = guests(&["bulk_copies"]);
        Echo { runtime, database, columns: types.to_vec(), from: "source", to: "target", found: "b.id = a.id", folder }
    }

    fn database(made: &str) -> (Runtime, TestDatabase) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let database = runtime.block_on(async {
            let database = TestDatabase::empty().await;
            let set = format!("alter database {} set timezone = 'America/St_Johns'", database.name);
            database.client().await.batch_execute(&format!("{MADE} {made}; {set}")).await.unwrap();
            database
        });
        (runtime, database)
    }

    /// Settings of the database, for all later connections.
    fn set(&self, settings: &[&str]) {
        let all: Vec<String> =
            settings.iter().map(|setting| format!("alter database {} set {setting}", self.database.name)).collect();
        self.runtime.block_on(async { self.database.client().await.batch_execute(&all.join(";")).await }).unwrap();
    }

    /// Inserts rows, lets the guest echo them and compares.
    fn echoes(&self, rows: &[Vec<Option<String>>]) -> Result<(), TestCaseError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let application = format!("case {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let wrong = |error: &dyn ToString| TestCaseError::fail(error.to_string());
        self.runtime.block_on(async {
            let client = connect(&self.database.url).await;
            let (from, to, found) = (self.from, self.to, self.found);
            let mut insert = format!("truncate {from}; truncate {to}");
            for (id, row) in rows.iter().enumerate() {
                let fields: String = row.iter().map(|field| format!(", {}", field.as_deref().map_or("null".to_owned(), quoted))).collect();
                insert.push_str(&format!("; insert into {from} values ({}{fields})", id + 1));
            }
            // What the database does not take is no value: the fault is this file's.
            client.batch_execute(&insert).await.unwrap_or_else(|error| panic!("{error:?}\n{insert}"));
            let booted = self.database.host().application(application).folder(self.folder.path()).boot().await;
            let report = booted.map_err(|error| wrong(&error))?;
            prop_assert_eq!(report.blocks[0].rows[&format!("public.{to}")].inserted, rows.len() as u64);
            // As the server prints it when nothing is left out.
            let exact = "set extra_float_digits = 3; set intervalstyle = 'postgres'; set datestyle = 'ISO, YMD'; set bytea_output = 'hex'";
            client.batch_execute(exact).await.map_err(|error| wrong(&error))?;
            let shown = |of: &str| if to == "target" { kept_in_bulk(of).1 } else { "@::text".to_owned() };
            let field = |(place, of): (usize, &String)| {
                format!("({}, a.c{place}::text, {})", quoted(of), shown(of).replace('@', &format!("b.c{place}")))
            };
            let fields: Vec<String> = self.columns.iter().enumerate().map(field).collect();
            let query = format!(
                "select format('%s: %L became %L', v.type, v.was, v.became)
                 from {from} a left join {to} b on {found} cross join lateral (values {}) v (type, was, became)
                 where a.id > 0 and (b.id is null or v.was is distinct from v.became)",
                fields.join(", ")
            );
            let differ = texts(&client, &query).await;
            prop_assert!(differ.is_empty(), "{}", differ.join("\n"));
            Ok(())
        })
    }
}

fn check(rows: impl Strategy<Value = Vec<Vec<Option<String>>>>, echo: &Echo, cases: u32) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    match TestRunner::new(config).run(&rows, |rows| echo.echoes(&rows)) {
        Ok(()) => {}
        // The smallest rows that fail, without the many columns that are NULL in them.
        Err(TestError::Fail(reason, rows)) => {
            let fields = |row: Vec<Option<String>>| {
                echo.columns.iter().cloned().zip(row).filter(|(_, field)| field.is_some()).collect::<Vec<_>>()
            };
            panic!("{reason}\nwith {:?}", rows.into_iter().map(fields).collect::<Vec<_>>());
        }
        Err(error) => panic!("{error}"),
    }
}

/// Rows with a value, or NULL, for each of the strategies.
fn rows(columns: Vec<Text>, most: usize) -> impl Strategy<Value = Vec<Vec<Option<String>>>> {
    let row: Vec<_> = columns.into_iter().map(|values| option::weighted(0.9, values)).collect();
    vec(row, 1..=most)
}

#[test]
fn a_value_of_every_type_comes_back_as_it_was() {
    let types = types();
    let echo = Echo::new(&types.iter().map(|of| of.name.to_owned()).collect::<Vec<_>>());
    check(rows(types.iter().map(|of| of.values.clone()).collect(), 8), &echo, 48);
}

#[test]
fn an_array_of_every_type_comes_back_with_its_nulls_dimensions_and_bounds() {
    let types = types();
    let echo = Echo::new(&types.iter().map(|of| format!("{}[]", of.name)).collect::<Vec<_>>());
    check(rows(types.iter().map(arrays).collect(), 5), &echo, 48);
}

#[test]
fn a_value_of_every_type_makes_the_way_in_bulk_as_it_was() {
    let types = types();
    let echo = Echo::in_bulk(&types.iter().map(|of| of.name.to_owned()).collect::<Vec<_>>());
    check(rows(types.iter().map(|of| of.values.clone()).collect(), 8), &echo, 48);
}

#[test]
fn an_array_of_every_type_makes_the_way_in_bulk_with_its_nulls_dimensions_and_bounds() {
    let types = types();
    let echo = Echo::in_bulk(&types.iter().map(|of| format!("{}[]", of.name)).collect::<Vec<_>>());
    check(rows(types.iter().map(arrays).collect(), 5), &echo, 48);
}

/// What goes to the guest as text is written by the server, in a form that the database's settings choose.
#[test]
fn settings_of_the_database_that_shorten_what_it_prints_lose_nothing() {
    let chosen =
        ["real", "double precision", "timestamptz", "interval", "bytea", "point", "box", "timetz", "tstzrange", "money", "pair"];
    let mut types: Vec<Tested> = types().into_iter().filter(|of| chosen.contains(&of.name)).collect();
    types.push(Tested {
        name: "spans",
        values: words(&["(\"1 mon -1 days\",1.1)", "(\"-1 year 2 days -00:00:01\",0.30000000000000004)"]),
        delimiter: ',',
    });
    let echo = Echo::new(&[]);
    echo.runtime
        .block_on(async { echo.database.client().await.batch_execute("create type spans as (i interval, f float8)").await })
        .unwrap();
    let names: Vec<String> = types.iter().flat_map(|of| [of.name.to_owned(), format!("{}[]", of.name)]).collect();
    let echo = Echo { columns: names.clone(), ..echo };
    let add: Vec<String> = names.iter().enumerate().map(|(place, of)| format!("alter table echo add c{place} {of}")).collect();
    echo.runtime.block_on(async { echo.database.client().await.batch_execute(&add.join(";")).await }).unwrap();
    echo.set(&[
        "extra_float_digits = -15",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "bytea_output = 'escape'",
        "timezone = 'Asia/Kolkata'",
    ]);
    check(rows(types.iter().flat_map(|of| [of.values.clone(), arrays(of)]).collect(), 4), &echo, 24);
}

/// A numeric goes back as text, so the server would show any digit that was read wrongly.
#[test]
fn a_numeric_is_read_exactly_as_the_server_prints_it() {
    let echo = Echo::new(&["numeric".to_owned(), "numeric(60,30)".to_owned(), "numeric[]".to_owned()]);
    // Groups of four decimal digits that begin, end or are zero are where a reader goes wrong.
    let groups = || {
        vec(any_of([words(&["0000", "0001", "1000", "9999", "0010"]), string_regex("[0-9]{4}").unwrap().boxed()]), 0..12)
            .prop_map(|all| all.concat())
    };
    let grouped =
        ("-?", string_regex("[0-9]{1,4}").unwrap(), groups(), groups(), string_regex("[0-9]{0,3}").unwrap(), any::<bool>())
            .prop_map(|(_, first, before, after, last, minus)| {
                format!("{}{first}{before}.{after}{last}", if minus { "-" } else { "" })
            });
    let numeric = any_of([grouped.boxed(), numerics()]);
    let small = string_regex("-?[0-9]{1,30}\\.[0-9]{0,30}").unwrap().boxed();
    let array = arrays(&Tested { name: "numeric", values: numeric.clone(), delimiter: ',' });
    check(rows(vec![numeric, small, array], 16), &echo, 48);
}
