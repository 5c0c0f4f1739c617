//! Breaks the contract with the host, in the way that the table `attack` names: by calls that no SDK makes, and by more of
//! everything than anybody needs. The write before is to be undone.
#![allow(unsafe_code)]

use plinth_block::{Level, prelude::*};

struct BreaksContract;

// The imports as the canonical ABI has them, past the SDK.
#[link(wasm_import_module = "plinth:block/sql@0.1.0")]
unsafe extern "C" {
    #[link_name = "execute"]
    fn execute(statement: *const u8, length: usize, params: *const u8, count: usize, result: *mut u8);
    #[link_name = "[static]savepoint.open"]
    fn open(result: *mut u8);
    #[link_name = "[method]savepoint.release"]
    fn release(handle: u32, result: *mut u8);
    #[link_name = "[resource-drop]savepoint"]
    fn drop_savepoint(handle: u32);
}

/// Room for a result and for parameters, aligned as they are.
#[repr(align(8))]
struct Area([u8; 1024]);

/// Panics when it is dropped.
struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        #[allow(clippy::panic)]
        {
            panic!("dropped badly");
        }
    }
}

impl Migration for BreaksContract {
    fn apply(db: &Db) -> Result<Outcome> {
        let attack: String = db.query_one("select statement from public.attack", &[])?;
        db.execute("insert into t (id) values (1)", &[])?;
        let mut result = Area([0; 1024]);
        let result = result.0.as_mut_ptr();
        match attack.as_str() {
            "invalid_utf8" => unsafe { execute([0xff, 0xfe, 0x00, 0xc0].as_ptr(), 4, std::ptr::null(), 0, result) },
            "argument_beyond_memory" => unsafe { execute(result, usize::MAX / 2, std::ptr::null(), 0, result) },
            "out_of_range_discriminant" => unsafe { execute(b"select $1".as_ptr(), 9, Area([0xff; 1024]).0.as_ptr(), 1, result) },
            "forged_handle" => unsafe { release(12_345, result) },
            "use_after_drop" => unsafe {
                open(result);
                let handle = *result.add(8).cast::<u32>();
                drop_savepoint(handle);
                release(handle, result);
            },
            "dropped_twice" => unsafe {
                open(result);
                let handle = *result.add(8).cast::<u32>();
                drop_savepoint(handle);
                drop_savepoint(handle);
            },
            "leaked_handles" => {
                for _ in 0..1000 {
                    std::mem::forget(db.savepoint()?);
                }
            }
            "statement_of_8_mib" => {
                db.execute(&format!("select '{}'", "x".repeat(8 << 20)), &[])?;
            }
            "arguments_of_20_mib" => {
                db.execute("select $1::text", &[&"x".repeat(20 << 20)])?;
            }
            "seventy_thousand_parameters" => {
                let places: Vec<String> = (1..=70_000).map(|place| format!("${place}::int4")).collect();
                let values = vec![1_i32; 70_000];
                let params: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
                db.execute(&format!("select array[{}]", places.join(",")), &params)?;
            }
            "nul_in_statement" => {
                db.execute("select 'a\0b'", &[])?;
            }
            "nul_in_parameter" => {
                db.execute("select $1::text", &[&"a\0b"])?;
            }
            "host_call_flood" => loop {
                db.log(Level::Debug, "again");
            },
            "panic_in_drop" => drop(PanicsInDrop),
            "trap_after_first_write" => std::process::abort(),
            other => return Err(Error::message(format!("no such attack: {other}"))),
        }
        done()
    }

    fn verify(_: &Db) -> Result<Checks> {
        Ok(Checks::new())
    }
}

plinth_block::migration!(BreaksContract);
