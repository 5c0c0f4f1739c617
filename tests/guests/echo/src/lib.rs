//! Every value that comes out of a query goes back in as a parameter, of whatever type the columns are.

use plinth_block::{prelude::*, types::Value};

struct Echo;

impl Migration for Echo {
    fn apply(db: &Db) -> Result<Outcome> {
        let rows = db.rows("select * from echo where id > 0 order by id", &[])?;
        let places: Vec<String> = (1..=rows.columns().count()).map(|place| format!("${place}")).collect();
        let insert = format!("insert into echo values ({})", places.join(", "));
        for row in rows.iter() {
            let mut values: Vec<Value> = vec![(-row.get::<i32>(0)?).to_value()];
            for place in 1..row.len() {
                values.push(row.get(place)?);
            }
            let params: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
            db.execute(&insert, &params)?;
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(Echo);
