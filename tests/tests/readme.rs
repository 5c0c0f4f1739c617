//! The README shows the real block.

use plinth_tests::root;

#[test]
fn the_example_is_the_real_block() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for file in ["block.toml", "src/lib.rs"] {
        let real = std::fs::read_to_string(root().join("blocks/0066_reconcile_eligibility_from_cost").join(file)).unwrap();
        assert!(readme.contains(real.trim()), "README.md shows another {file}");
    }
    for command in ["make run", "make test"] {
        assert!(readme.contains(command));
    }
}
