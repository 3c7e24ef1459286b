#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| onecard::adapters::sip2::fuzz::messages(data));
