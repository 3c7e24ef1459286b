//! The plan of the house: which room stands on which floor, and which library may
//! be named where. `src/lib.rs` tells the same to people.

/// The rooms of a floor, the topmost first. Rooms of one floor do not know each other.
pub const FLOORS: &[&[&str]] = &[
    &["lib"],
    &["main"],
    &["cli"],
    &["sandbox", "sim"],
    &["net", "api", "federation", "console", "client"],
    &["gateway"],
    &["adapters", "store"],
    &["scenes", "ledger"],
    &["trust"],
    &["crypto"],
    &["identity"],
    &["config", "telemetry"],
    &["model", "limits", "fault"],
];

/// Rooms that may import less than what stands below them.
const NARROW: &[(&str, &[&str])] =
    &[("scenes", &["identity", "model", "limits"]), ("ledger", &["identity", "model", "limits"])];

/// Who may name the generated contract. It stands beside the floors.
const CONTRACT_READERS: &[&str] = &["net", "api", "federation", "console", "client", "sandbox", "sim", "cli"];

/// A library, or a part of it, that only some rooms may name.
pub struct Library {
    /// Path from the library's root, for example `std::fs`; a trailing `*` on a
    /// library's name takes the family, for example `tonic*`.
    pub path: &'static str,
    pub allowed: Rooms,
    pub in_tests: InTests,
    pub why: &'static str,
}

pub enum Rooms {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

/// Whether the rule also holds in code that only tests compile.
#[derive(PartialEq, Eq)]
pub enum InTests {
    Holds,
    Free,
}

const RULES_ONLY: &[&str] = &["scenes", "ledger"];
const NO_IO: &[&str] = &["scenes", "ledger", "identity", "model", "limits"];

pub const LIBRARIES: &[Library] = &[
    Library {
        path: "tonic*",
        allowed: Rooms::Only(&["proto", "net", "api", "federation", "client", "sandbox"]),
        in_tests: InTests::Holds,
        why: "gRPC is an edge that will be exchanged one day",
    },
    Library {
        path: "prost*",
        allowed: Rooms::Only(&[
            "proto",
            "model",
            "store",
            "scenes",
            "gateway",
            "net",
            "api",
            "federation",
            "client",
            "sandbox",
        ]),
        in_tests: InTests::Holds,
        why: "protobuf is the form of the contract and of the journal, of nothing else",
    },
    pure("std::time::SystemTime", RULES_ONLY, "the time comes in as an argument"),
    pure("std::time::Instant", RULES_ONLY, "the time comes in as an argument"),
    pure("jiff::Timestamp::now", RULES_ONLY, "the time comes in as an argument"),
    pure("jiff::Zoned::now", RULES_ONLY, "the time comes in as an argument"),
    pure("rand*", &["scenes", "ledger", "identity"], "chance comes in as an argument"),
    pure("std::fs", NO_IO, "no I/O here"),
    pure("std::net", NO_IO, "no I/O here"),
    pure("std::process", NO_IO, "no I/O here"),
    pure("std::thread", NO_IO, "no threads here"),
    pure("std::env", NO_IO, "configuration comes in as an argument"),
    pure("tokio*", NO_IO, "no I/O here"),
    pure("reqwest", NO_IO, "no I/O here"),
    pure("hyper*", NO_IO, "no I/O here"),
];

const fn pure(path: &'static str, rooms: &'static [&'static str], why: &'static str) -> Library {
    Library { path, allowed: Rooms::AllBut(rooms), in_tests: InTests::Free, why }
}

impl Library {
    /// Whether `path` names this library or something inside it.
    pub fn covers(&self, path: &[String]) -> bool {
        if let Some(family) = self.path.strip_suffix('*') {
            return path.first().is_some_and(|name| {
                name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            });
        }
        let mut segments = path.iter();
        self.path.split("::").all(|wanted| segments.next().is_some_and(|got| got == wanted))
    }

    pub fn may_be_named_in(&self, room: &str) -> bool {
        match self.allowed {
            Rooms::Only(rooms) => rooms.contains(&room),
            Rooms::AllBut(rooms) => !rooms.contains(&room),
        }
    }
}

/// Says what is wrong with `from` naming something of `to`, if anything is.
pub fn objection(from: &str, to: &str) -> Option<String> {
    if from == to || from == "lib" {
        return None;
    }
    if to == "proto" {
        return (!CONTRACT_READERS.contains(&from))
            .then(|| "only the edges and what stands above them name the contract".to_owned());
    }
    if from == "proto" {
        return Some("the generated contract imports no room".to_owned());
    }
    let (Some(own), Some(other)) = (floor(from), floor(to)) else {
        let unknown = if floor(from).is_none() { from } else { to };
        return Some(format!("room `{unknown}` stands on no floor: give it one in floors.rs"));
    };
    if other < own {
        return Some("points up".to_owned());
    }
    if other == own {
        return Some("points sideways".to_owned());
    }
    let narrow = NARROW.iter().find(|(room, _)| *room == from);
    narrow.filter(|(_, may)| !may.contains(&to)).map(|(_, may)| format!("may import only {}", may.join(", ")))
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}
