//! Two spellings of one definition: what PostgreSQL prints and what people write. Keys to compare, never to be shown.

/// A type, by the names that PostgreSQL has for it: `varchar(20)` and `character varying(20)` have one key.
///
/// A table of the SQL names that the grammar turns into others. The server could be asked (`to_regtype`), but that loses the
/// modifier and costs a round trip before the first statement.
pub(super) fn data_type(text: &str) -> String {
    let text = folded(text);
    let text = text.strip_prefix("pg_catalog.").or_else(|| text.strip_prefix("public.")).unwrap_or(&text);
    // An array has as many dimensions as its value, whatever was declared.
    let (text, array) = text.split_once('[').map_or((text, ""), |(base, _)| (base, "[]"));
    let (name, modifier, rest) = match text.split_once('(').and_then(|(name, rest)| Some((name, rest.split_once(')')?))) {
        Some((name, (modifier, rest))) => (name, Some(modifier), rest),
        None => (text, None, ""),
    };
    let name = format!("{name} {rest}");
    let (name, modifier) = match name.trim() {
        "int" | "int4" => ("integer", modifier),
        "int2" => ("smallint", modifier),
        "int8" => ("bigint", modifier),
        "bool" => ("boolean", modifier),
        "float4" => ("real", modifier),
        "float8" => ("double precision", modifier),
        "float" if modifier.and_then(|bits| bits.parse().ok()).is_some_and(|bits: u32| bits < 25) => ("real", None),
        "float" => ("double precision", None),
        "dec" | "decimal" => ("numeric", modifier),
        "varchar" | "char varying" => ("character varying", modifier),
        "char" | "nchar" | "character" => ("character", modifier.or(Some("1"))),
        "varbit" => ("bit varying", modifier),
        "bit" => ("bit", modifier.or(Some("1"))),
        "timestamptz" => ("timestamp with time zone", modifier),
        "timestamp" => ("timestamp without time zone", modifier),
        "timetz" => ("time with time zone", modifier),
        "time" => ("time without time zone", modifier),
        name => (name, modifier),
    };
    let modifier = modifier.map_or_else(String::new, |modifier| match name {
        // A precision alone has scale 0.
        "numeric" if !modifier.contains(',') => format!("({modifier},0)"),
        _ => format!("({modifier})"),
    });
    format!("{name}{modifier}{array}")
}

/// A default. The cast that PostgreSQL adds to a literal follows from the column's type, which is compared by itself.
pub(super) fn default(text: &str) -> String {
    let text = expression(text);
    let literal = match text.rsplit_once("::") {
        Some((literal, cast)) if !cast.contains('\'') => literal,
        _ => &text,
    };
    if literal == "null" {
        return String::new();
    }
    match literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        // It prints -1 as '-1'::integer.
        Some(number) if number.parse::<f64>().is_ok() => number.to_owned(),
        Some(inner) if !inner.replace("''", "").contains('\'') => literal.to_owned(),
        _ => text,
    }
}

/// A column of an index: its name or expression, whether it runs downwards, whether NULL comes first.
pub(super) fn index_column(text: &str) -> (String, bool, bool) {
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let mut ends = |with: &[&str]| {
        let rest = words.len().saturating_sub(with.len());
        let yes = rest > 0 && words.iter().skip(rest).zip(with).all(|(word, end)| word.eq_ignore_ascii_case(end));
        if yes {
            words.truncate(rest);
        }
        yes
    };
    let first = ends(&["nulls", "first"]);
    let last = !first && ends(&["nulls", "last"]);
    let down = ends(&["desc"]);
    let _ = !down && ends(&["asc"]);
    let name = expression(&words.join(" "));
    let quoted = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|rest| !rest.contains('"'));
    (quoted.map_or_else(|| name.clone(), str::to_owned), down, first || (down && !last))
}

/// A constraint's definition.
pub(super) fn constraint(text: &str) -> String {
    let text = folded(text);
    let Some(check) = text.strip_prefix("check") else { return text };
    let (check, mark) =
        ["not valid", "no inherit"].into_iter().find_map(|mark| Some((check.strip_suffix(mark)?, mark))).unwrap_or((check, ""));
    format!("check({}){mark}", without_parentheses(check))
}

/// An expression, such as the predicate of an index.
pub(super) fn expression(text: &str) -> String {
    without_parentheses(&folded(text)).to_owned()
}

/// Names and key words in lower case, as the server folds them, and blanks only where two words would run together. What is
/// in quotes stays.
fn folded(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    let mut quote = None;
    let mut blank = false;
    let word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '\'' | '"');
    for letter in text.trim().chars() {
        match quote {
            Some(open) => {
                to.push(letter);
                if letter == open {
                    quote = None;
                }
            }
            None if letter.is_whitespace() => blank = true,
            None => {
                if std::mem::take(&mut blank) && word(letter) && to.chars().next_back().is_some_and(word) {
                    to.push(' ');
                }
                if matches!(letter, '\'' | '"') {
                    quote = Some(letter);
                }
                to.extend(letter.to_lowercase());
            }
        }
    }
    to
}

/// Without the parentheses around all of it.
fn without_parentheses(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return text };
    let (mut depth, mut quoted) = (0_i32, false);
    for letter in inner.chars() {
        match letter {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        // `(a) or (b)`: the first one closes before the end.
        if depth < 0 {
            return text;
        }
    }
    without_parentheses(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_a_type_are_one() {
        for (written, printed) in [
            ("int", "integer"),
            ("INT8", "bigint"),
            ("bool", "boolean"),
            ("varchar(20)", "character varying(20)"),
            ("varchar", "character varying"),
            ("char", "character(1)"),
            ("timestamptz", "timestamp with time zone"),
            ("timestamptz(3)", "timestamp(3) with time zone"),
            ("timestamp", "timestamp without time zone"),
            ("time(0)", "time(0) without time zone"),
            ("decimal(10, 2)", "numeric(10,2)"),
            ("numeric(10)", "numeric(10,0)"),
            ("float", "double precision"),
            ("float(24)", "real"),
            ("int[]", "integer[]"),
            ("varchar(20)[3][]", "character varying(20)[]"),
            ("public.mood", "mood"),
            ("Character  Varying (20)", "character varying(20)"),
        ] {
            assert_eq!(data_type(written), data_type(printed), "{written}");
        }
        for (one, other) in [
            ("integer", "bigint"),
            ("varchar(20)", "varchar(21)"),
            ("varchar(20)", "varchar"),
            ("timestamp", "timestamptz"),
            ("text", "text[]"),
            ("\"char\"", "char"),
            ("shop.mood", "mood"),
        ] {
            assert_ne!(data_type(one), data_type(other), "{one}");
        }
    }

    #[test]
    fn a_default_is_the_same_with_the_cast_that_the_server_adds() {
        for (written, printed) in [
            ("'draft'", "'draft'::character varying"),
            ("'a::b'", "'a::b'::text"),
            ("'it''s'", "'it''s'::character varying(20)"),
            ("-1", "'-1'::integer"),
            ("", "NULL::character varying"),
            ("now()", "now()"),
            ("FALSE", "false"),
            ("(0)", "0"),
        ] {
            assert_eq!(default(written), default(printed), "{written}");
        }
        for (one, other) in [
            ("'Draft'", "'draft'"),
            ("now()", "CURRENT_TIMESTAMP"),
            ("0", ""),
            ("nextval('a'::regclass)", "nextval('b'::regclass)"),
            ("'a'::text || 'b'::text", "'a'"),
        ] {
            assert_ne!(default(one), default(other), "{one}");
        }
    }

    #[test]
    fn an_index_column_has_a_direction_and_a_place_for_null() {
        assert_eq!(index_column("a asc"), index_column("a"));
        assert_eq!(index_column("a NULLS LAST"), index_column("A"));
        assert_eq!(index_column("a desc nulls first"), index_column("a DESC"));
        assert_ne!(index_column("a DESC NULLS LAST"), index_column("a DESC"));
        assert_ne!(index_column("a NULLS FIRST"), index_column("a"));
        assert_eq!(index_column("(a + b)"), index_column("a+b"));
        assert_eq!(index_column("\"order\" DESC"), index_column("order desc"));
        assert_eq!(index_column("desc"), ("desc".to_owned(), false, false), "a name alone is a name");
    }

    #[test]
    fn an_expression_is_the_same_with_other_blanks_and_parentheses() {
        assert_eq!(expression("((a > 0) AND (b IS NULL))"), expression("(a>0) and (b is null)"));
        assert_ne!(expression("a = 'X'"), expression("a = 'x'"));
        assert_eq!(expression("(a) or (b)"), "(a)or(b)");
        assert_eq!(constraint("CHECK ((a > 0))"), constraint("check (a > 0)"));
        assert_ne!(constraint("CHECK ((a > 0)) NOT VALID"), constraint("check (a > 0)"));
        assert_eq!(constraint("UNIQUE (a, b)"), constraint("unique(a,b)"));
    }
}
