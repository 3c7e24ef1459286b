#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onecard::trust::fuzz::code(data));
