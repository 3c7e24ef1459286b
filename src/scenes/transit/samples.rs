//! The tables of `config/` as tests use them.

use std::sync::LazyLock;

use super::{FareBook, OperatorTable};

pub const BEIJING_STATIONS: &str = include_str!("../../../config/stations/beijing.csv");

pub const TABLES: [(&str, &str); 5] = [
    ("beijing-metro", include_str!("../../../config/fares/beijing-metro.toml")),
    ("beijing-bus", include_str!("../../../config/fares/beijing-bus.toml")),
    ("tianjin-metro", include_str!("../../../config/fares/tianjin-metro.toml")),
    ("shijiazhuang-metro", include_str!("../../../config/fares/shijiazhuang-metro.toml")),
    ("flat-bus", include_str!("../../../config/fares/flat-bus.toml")),
];

pub const OPERATORS: [(&str, &str); 6] = [
    ("bj-metro", "beijing-metro"),
    ("bj-metro-line4", "beijing-metro"),
    ("bj-bus", "beijing-bus"),
    ("tj-metro", "tianjin-metro"),
    ("sjz-metro", "shijiazhuang-metro"),
    ("tj-bus", "flat-bus"),
];

static BOOK: LazyLock<FareBook> = LazyLock::new(|| {
    FareBook::parse(&texts(), &stations, &operators()).expect("the published configuration is right")
});

/// The published tables, each run by its sandbox operator.
pub fn book() -> &'static FareBook {
    &BOOK
}

pub fn texts() -> Vec<(String, String)> {
    TABLES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

pub fn operators() -> Vec<OperatorTable> {
    let line = |(participant, table): &(&str, &str)| OperatorTable {
        participant: (*participant).to_owned(),
        table: (*table).to_owned(),
    };
    OPERATORS.iter().map(line).collect()
}

pub fn stations(name: &str) -> Option<String> {
    let text = match name {
        "beijing" => BEIJING_STATIONS,
        "beijing-bus" => include_str!("../../../config/stations/beijing-bus.csv"),
        "tianjin" => include_str!("../../../config/stations/tianjin.csv"),
        "shijiazhuang" => include_str!("../../../config/stations/shijiazhuang.csv"),
        _ => return None,
    };
    Some(text.to_owned())
}
