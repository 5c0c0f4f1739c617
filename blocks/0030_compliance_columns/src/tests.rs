use super::*;

#[test]
fn transactions_get_their_chain_and_are_not_held() {
    let database = plinth_test::database!();
    database
        .apply::<Compliance>()
        .expect_no_rows()
        .expect_change("column transactions.integrity_hash is new: character varying(128)")
        .expect_change("column transactions.previous_hash is new: character varying(128)")
        .expect_change("column transactions.legal_hold is new: boolean not null default false")
        .expect_change("index transactions_integrity_hash_idx is new");
    database.apply::<Compliance>().expect_nothing();
}

/// Once a kill between two statements left the columns without the index, and a look at the columns hid it.
#[test]
fn what_a_kill_left_half_is_completed() {
    let database = plinth_test::database!();
    database.execute(
        "alter table transactions add column integrity_hash varchar(128), add column legal_hold boolean not null default false",
    );
    database
        .apply::<Compliance>()
        .expect_change("column transactions.previous_hash is new")
        .expect_change("index transactions_integrity_hash_idx is new");
}
