//! Which operator runs which fare table, and since when.

use std::collections::HashMap;

use serde::Deserialize;

use super::{
    fares::{FareFault, FareNotice, FareProblem, TableText},
    table::FareTable,
};
use crate::{
    limits,
    model::{Millis, ParticipantId},
};

/// A line of configuration: `[[operator]] participant = "bj-metro" table =
/// "beijing-metro"`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTable {
    pub participant: String,
    pub table: String,
}

/// All fare tables of a region. Made whole or not at all; replaced as a whole
/// when the configuration changes. A ride keeps the table of the day it began.
#[derive(Debug, Default)]
pub struct FareBook {
    tables: Vec<FareTable>,
    /// Per operator the versions of its table.
    operators: HashMap<ParticipantId, Vec<usize>>,
}

impl FareBook {
    /// Makes a book of the texts of its tables (name of the file, text), a lookup
    /// for files of stations by their name without `.csv`, and the operators.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn parse(
        texts: &[(String, String)],
        stations: &dyn Fn(&str) -> Option<String>,
        operators: &[OperatorTable],
    ) -> Result<Self, Vec<FareProblem>> {
        if texts.len() > limits::FARE_TABLES_MAX || operators.len() > limits::FARE_TABLES_MAX {
            return Err(vec![FareProblem { table: "book".to_owned(), fault: FareFault::TooMany }]);
        }
        let mut book = FareBook::default();
        let mut problems = Vec::new();
        for (file, text) in texts {
            let outcome = read_table(text, stations).and_then(|table| book.add(table));
            if let Err(faults) = outcome {
                problems.extend(faults.into_iter().map(|fault| FareProblem { table: file.clone(), fault }));
            }
        }
        for line in operators {
            if let Err(fault) = book.assign(line) {
                problems.push(FareProblem { table: format!("operator {}", line.participant), fault });
            }
        }
        if problems.is_empty() { Ok(book) } else { Err(problems) }
    }

    /// The table by which a ride is charged that began at this operator then.
    pub fn table(&self, operator: &ParticipantId, at_ms: Millis) -> Option<&FareTable> {
        let versions = self.operators.get(operator)?;
        versions.iter().map(|at| &self.tables[*at]).find(|table| table.valid().contains(&at_ms))
    }

    /// Whether an operator has any table.
    pub fn knows(&self, operator: &ParticipantId) -> bool {
        self.operators.contains_key(operator)
    }

    /// What an operator should know before the book charges real money.
    pub fn check(&self) -> Vec<FareNotice> {
        let used = |at: usize| self.operators.values().any(|versions| versions.contains(&at));
        let unused = self.tables.iter().enumerate().filter(|(at, _)| !used(*at));
        let unused = unused.map(|(_, table)| FareNotice::Unused { table: table.label().to_owned() });
        self.tables.iter().flat_map(FareTable::notices).cloned().chain(unused).collect()
    }

    fn add(&mut self, table: FareTable) -> Result<(), Vec<FareFault>> {
        let valid = table.valid();
        let overlaps = |other: &&FareTable| {
            let theirs = other.valid();
            other.name() == table.name() && valid.start < theirs.end && theirs.start < valid.end
        };
        if let Some(other) = self.tables.iter().find(overlaps) {
            return Err(vec![FareFault::Overlap(other.label().to_owned())]);
        }
        self.tables.push(table);
        Ok(())
    }

    fn assign(&mut self, line: &OperatorTable) -> Result<(), FareFault> {
        let participant: ParticipantId =
            line.participant.parse().map_err(|_| FareFault::Participant(line.participant.clone()))?;
        let named = |(at, table): (usize, &FareTable)| (table.name() == line.table).then_some(at);
        let versions: Vec<usize> = self.tables.iter().enumerate().filter_map(named).collect();
        if versions.is_empty() {
            return Err(FareFault::TableUnknown(line.table.clone()));
        }
        match self.operators.insert(participant, versions) {
            None => Ok(()),
            Some(_) => Err(FareFault::OperatorTwice),
        }
    }
}

fn read_table(text: &str, stations: &dyn Fn(&str) -> Option<String>) -> Result<FareTable, Vec<FareFault>> {
    let text: TableText = toml::from_str(text).map_err(|fault| vec![FareFault::Syntax(fault.to_string())])?;
    let csv = match &text.network {
        None => None,
        Some(network) => {
            let missing = || vec![FareFault::StationsMissing(network.stations.clone())];
            Some(stations(&network.stations).ok_or_else(missing)?)
        }
    };
    FareTable::make(&text, csv.as_deref())
}
