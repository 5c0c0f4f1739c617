//! What a test costs: the service's own knowledge, which the rules put into the table for inserts that do not state it.

use std::{collections::BTreeSet, sync::OnceLock};

/// Tests that run against the real thing, and so may cost something.
const LIVE_TYPES: [&str; 4] = ["known_answer", "edge_case", "negative", "known_bad"];

/// Capabilities that somebody else is paid for, in cents a test.
const VENDORS: [(&str, i32); 7] = [
    ("pep-check", 1),
    ("sanctions-check", 1),
    ("adverse-media-check", 1),
    ("uk-cop-check", 1),
    ("risk-narrative-generate", 3),
    ("invoice-extract", 1),
    ("website-to-company", 1),
];

/// The capabilities that call a language model whatever their input is: the list of block 0064, which the invariant reads too.
pub fn always_llm() -> &'static BTreeSet<&'static str> {
    static LIST: OnceLock<BTreeSet<&'static str>> = OnceLock::new();
    LIST.get_or_init(|| {
        let lines = include_str!("../../blocks/0064_always_llm_costs/always_llm.txt").lines().map(str::trim);
        lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
    })
}

/// Whether a test of this type and mode runs against the real thing.
pub fn is_live(test_type: &str, test_mode: &str) -> bool {
    test_mode == "live" && LIVE_TYPES.contains(&test_type)
}

/// What a test of a capability costs, in cents.
pub fn of(capability: &str, test_type: &str, test_mode: &str) -> i32 {
    if !is_live(test_type, test_mode) {
        return 0;
    }
    let vendor = VENDORS.iter().find(|(slug, _)| *slug == capability).map(|(_, cents)| *cents);
    vendor.unwrap_or_else(|| i32::from(always_llm().contains(capability)))
}

#[cfg(test)]
mod tests {
    use super::{always_llm, of};

    #[test]
    fn only_live_tests_cost() {
        assert_eq!(always_llm().len(), 73);
        assert_eq!(of("risk-narrative-generate", "negative", "live"), 3);
        assert_eq!(of("risk-narrative-generate", "negative", "fixture"), 0);
        assert_eq!(of("text-summarize", "known_answer", "live"), 1);
        assert_eq!(of("text-summarize", "piggyback", "live"), 0);
        assert_eq!(of("dns-lookup", "known_answer", "live"), 0);
    }
}
