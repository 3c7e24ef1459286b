//! Code tables: what a code of the sector is called, in two languages, and
//! where the table comes from. Kept in `config/codes/`, a file a table.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::{config::assets, limits};

/// What a code is called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeRow {
    pub zh: String,
    pub en: String,
    /// False where the code is in use and its standing in the source is not
    /// settled.
    #[serde(default = "yes")]
    pub verified: bool,
}

fn yes() -> bool {
    true
}

/// A table cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCodeTable {
    #[error("the code table {table} is missing: {reason}")]
    Missing { table: &'static str, reason: String },
    /// The text is no table: a syntax error, an unknown field, a code twice. The
    /// reason names the line.
    #[error("the code table {table} cannot be read: {reason}")]
    Unreadable { table: &'static str, reason: String },
    #[error("the code table {table} calls itself {named}")]
    Misnamed { table: &'static str, named: String },
    #[error("the code table {table} has {rows} rows; 1 to {most} are allowed")]
    Rows { table: &'static str, rows: usize, most: usize },
}

/// One table: code to texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeTable {
    name: String,
    source: String,
    version: String,
    rows: BTreeMap<String, CodeRow>,
}

impl CodeTable {
    /// Reads a table from TOML. Unknown fields and a code that stands twice are
    /// refused.
    ///
    /// # Errors
    /// When it is not a table of this name with 1 to
    /// [`limits::CODE_TABLE_ROWS_MAX`] rows.
    pub fn parse(table: &'static str, text: &str) -> Result<Self, BadCodeTable> {
        let read: CodeTable = toml::from_str(text)
            .map_err(|error| BadCodeTable::Unreadable { table, reason: error.to_string() })?;
        if read.name != table {
            return Err(BadCodeTable::Misnamed { table, named: read.name });
        }
        let most = limits::CODE_TABLE_ROWS_MAX;
        match read.rows.len() {
            rows if rows == 0 || rows > most => Err(BadCodeTable::Rows { table, rows, most }),
            _ => Ok(read),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The standard or list it was taken from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The edition of the source.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn get(&self, code: &str) -> Option<&CodeRow> {
        self.rows.get(code)
    }

    pub fn contains(&self, code: &str) -> bool {
        self.rows.contains_key(code)
    }

    /// Every row, in the order of the codes.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &CodeRow)> {
        self.rows.iter().map(|(code, row)| (code.as_str(), row))
    }
}

/// Every table of the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTables {
    sex: CodeTable,
    ethnicity: CodeTable,
    documents: CodeTable,
    regions: CodeTable,
}

impl CodeTables {
    /// Reads all tables. `read` gives the text of a file by its path inside the
    /// configuration folder (`codes/sex.toml`); see `config::Source::text`.
    ///
    /// # Errors
    /// When a table is missing or wrong.
    pub fn read<E: std::fmt::Display>(
        read: impl Fn(&str) -> Result<String, E>,
    ) -> Result<Self, BadCodeTable> {
        let table = |table: &'static str| {
            let text = read(&format!("codes/{table}.toml"))
                .map_err(|error| BadCodeTable::Missing { table, reason: error.to_string() })?;
            CodeTable::parse(table, &text)
        };
        Ok(CodeTables {
            sex: table("sex")?,
            ethnicity: table("ethnicity")?,
            documents: table("documents")?,
            regions: table("regions")?,
        })
    }

    /// The tables the program was built with, for the sandbox and for tests.
    pub fn embedded() -> &'static CodeTables {
        static EMBEDDED: LazyLock<CodeTables> = LazyLock::new(|| {
            CodeTables::read(|path| assets::read_text(path).ok_or("it was not built in"))
                .expect("the built-in tables are read by a test of every build")
        });
        &EMBEDDED
    }

    /// AAC004, GB/T 2261.1.
    pub const fn sex(&self) -> &CodeTable {
        &self.sex
    }

    /// AAC005, GB/T 3304.
    pub const fn ethnicity(&self) -> &CodeTable {
        &self.ethnicity
    }

    /// AAC058.
    pub const fn documents(&self) -> &CodeTable {
        &self.documents
    }

    /// AAB301, GB/T 2260 for the three regions.
    pub const fn regions(&self) -> &CodeTable {
        &self.regions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Province, RegionCode};

    const HEAD: &str = "name = \"sex\"\nsource = \"s\"\nversion = \"1\"\n";

    #[test]
    fn the_built_in_tables_are_whole() {
        let tables = CodeTables::embedded();
        let rows = |table: &CodeTable| table.rows().count();
        assert_eq!((rows(tables.sex()), rows(tables.documents()), rows(tables.ethnicity())), (4, 8, 59));
        assert_eq!(tables.ethnicity().get("56").map(|row| row.zh.as_str()), Some("基诺族"));
        assert_eq!(tables.sex().get("9").map(|row| row.verified), Some(false));
        for table in [tables.sex(), tables.ethnicity(), tables.documents(), tables.regions()] {
            assert!(!table.source().is_empty() && !table.version().is_empty(), "{}", table.name());
            assert!(
                table.rows().all(|(_, row)| !row.zh.is_empty() && !row.en.is_empty()),
                "{}",
                table.name()
            );
        }
    }

    #[test]
    fn the_three_regions_have_every_district_and_county() {
        let counties = |province: Province| {
            CodeTables::embedded()
                .regions()
                .rows()
                .filter_map(|(code, _)| code.parse::<RegionCode>().ok())
                .filter(|region| region.province() == province && region.code() % 100 != 0)
                .count()
        };
        assert_eq!(counties(Province::BEIJING), 16);
        assert_eq!(counties(Province::TIANJIN), 16);
        assert_eq!(counties(Province::HEBEI), 167);
        assert!(CodeTables::embedded().regions().rows().all(|(code, _)| code.parse::<RegionCode>().is_ok()));
    }

    #[test]
    fn a_table_that_is_wrong_is_refused() {
        let check = |text: &str, expect: &str| {
            let error = CodeTable::parse("sex", text).expect_err(text).to_string();
            assert!(error.contains(expect), "{error}");
        };
        check(
            &format!("{HEAD}[rows]\n1 = {{ zh = \"a\", en = \"b\" }}\n1 = {{ zh = \"c\", en = \"d\" }}"),
            "duplicate key",
        );
        check(&format!("{HEAD}extra = 1\n[rows]\n1 = {{ zh = \"a\", en = \"b\" }}"), "unknown field `extra`");
        check(&format!("{HEAD}[rows]\n1 = {{ zh = \"a\", en = \"b\", fr = \"c\" }}"), "unknown field `fr`");
        check(&format!("{HEAD}[rows]\n1 = {{ zh = \"a\" }}"), "missing field `en`");
        check(&format!("{HEAD}[rows]\n"), "0 rows");
        check(
            &HEAD.replace("sex", "age").replace("\"1\"\n", "\"1\"\n[rows]\n1 = { zh = \"a\", en = \"b\" }"),
            "calls itself age",
        );
    }

    #[test]
    fn a_missing_table_is_named() {
        let error = CodeTables::read(|path| Err::<String, _>(format!("no {path}"))).expect_err("missing");
        assert_eq!(error.to_string(), "the code table sex is missing: no codes/sex.toml");
    }
}
