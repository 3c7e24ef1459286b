//! What machine a run was made on: no figure is read without it.

use std::fs;

use serde::{Deserialize, Serialize};

/// The machine as its kernel tells it; `?` and 0 where it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: u64,
    pub memory_mib: u64,
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Machine {
            cpu: value_of(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "?".to_owned()),
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u64),
            memory_mib: value_of(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: Some(read("/proc/sys/kernel/osrelease").trim().to_owned())
                .filter(|text| !text.is_empty())
                .unwrap_or_else(|| "?".to_owned()),
        }
    }
}

/// The first `key : value` of a file of such lines.
fn value_of(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_key_is_found() {
        let text = "processor\t: 0\nmodel name\t: A fine one @ 2 GHz\nmodel name\t: Another\n";
        assert_eq!(value_of(text, "model name").as_deref(), Some("A fine one @ 2 GHz"));
        assert_eq!(value_of(text, "model"), None);
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(Machine::here().cores > 0);
    }
}
