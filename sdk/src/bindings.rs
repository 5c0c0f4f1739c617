//! What wit-bindgen makes of the contract: one module per world, so that a component carries only the exports of its own.
#![allow(
    unsafe_code,
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod migration {
    wit_bindgen::generate!({
        path: "../wit",
        world: "migration",
        pub_export_macro: true,
        runtime_path: "::wit_bindgen::rt",
        generate_all,
    });
}

pub mod rule {
    wit_bindgen::generate!({
        path: "../wit",
        world: "rule",
        pub_export_macro: true,
        with: {
            "plinth:block/types@0.1.3": crate::bindings::migration::plinth::block::types,
            "plinth:block/sql@0.1.3": crate::bindings::migration::plinth::block::sql,
            "plinth:block/bulk@0.1.3": crate::bindings::migration::plinth::block::bulk,
            "plinth:block/journal@0.1.3": crate::bindings::migration::plinth::block::journal,
        },
    });
}

pub mod backfill {
    wit_bindgen::generate!({
        path: "../wit",
        world: "backfill",
        pub_export_macro: true,
        with: {
            "plinth:block/types@0.1.3": crate::bindings::migration::plinth::block::types,
            "plinth:block/sql@0.1.3": crate::bindings::migration::plinth::block::sql,
            "plinth:block/bulk@0.1.3": crate::bindings::migration::plinth::block::bulk,
            "plinth:block/journal@0.1.3": crate::bindings::migration::plinth::block::journal,
        },
    });
}
