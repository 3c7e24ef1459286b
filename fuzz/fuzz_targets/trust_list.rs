#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onecard::trust::fuzz::trust_list(data));
