//! What the fuzz targets of every room share: bytes of a fuzzer turned into an
//! input, and a short run of each target among the ordinary tests.
//!
//! A target is a plain function `fn(&[u8])` in the `fuzz.rs` of its room, next to
//! the parsers it feeds. The workspace in `fuzz/` runs it under libFuzzer; the tests
//! run the same function for a moment.

/// An input out of a fuzzer's bytes. Small first bytes give the rest as it is; others
/// pick one of `seeds`, which are well formed, and put the rest upon it as edits:
/// two bytes where, one byte what, so that the search begins behind the first check.
pub fn input(seeds: &[Vec<u8>], data: &[u8]) -> Vec<u8> {
    let Some((&choice, rest)) = data.split_first() else {
        return Vec::new();
    };
    if choice < 64 || seeds.is_empty() {
        return rest.to_vec();
    }
    let mut input = seeds[usize::from(choice) % seeds.len()].clone();
    for edit in rest.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        match input.len() {
            0 => return input,
            // A place far behind the end cuts the input off there.
            length if at >= 0xff00 => input.truncate(at % length),
            length => input[at % length] ^= edit[2],
        }
    }
    input
}

/// Runs a target on many small inputs: a smoke test of what a fuzzer does for hours.
#[cfg(test)]
#[track_caller]
pub fn smoke(cases: u32, target: fn(&[u8])) {
    use proptest::prelude::*;

    let config = proptest::test_runner::Config { cases, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    runner
        .run(&proptest::collection::vec(any::<u8>(), 0..200), |data| {
            target(&data);
            Ok(())
        })
        .unwrap_or_else(|failed| panic!("{failed}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_the_bytes_themselves_or_a_seed_with_edits() {
        let seeds = [b"seed".to_vec()];
        assert_eq!(input(&seeds, b"\x00raw"), b"raw");
        assert_eq!(input(&seeds, b"\xff"), b"seed");
        assert_eq!(input(&seeds, b"\xff\x00\x01\x20"), b"sEed");
        assert_eq!(input(&seeds, b"\xff\xff\x02\x00"), b"se");
        assert_eq!(input(&seeds, b""), b"");
    }

    #[test]
    #[should_panic(expected = "an even length")]
    fn a_target_that_panics_is_noticed() {
        smoke(50, |data| assert!(data.len() % 2 == 1, "an even length"));
    }
}
