//! What may change while the gateway runs, checked whole and swapped whole.

use std::collections::BTreeMap;

use super::{CapBook, PolicyFile, Registry};
use crate::{
    identity::CodeTables,
    model::ParticipantId,
    scenes::{
        card::{AttributeCode, Granted},
        library::LibraryPolicy,
        medical::MedicalPolicy,
        transit::FareBook,
    },
    trust::TrustList,
};

pub use crate::scenes::transit::OperatorTable as OperatorLine;

/// One generation of the configuration.
#[derive(Debug)]
pub struct Live {
    pub registry: Registry,
    pub policy: PolicyFile,
    pub fares: FareBook,
    pub libraries: LibraryPolicy,
    pub medical: MedicalPolicy,
    pub caps: CapBook,
    pub trust: TrustList,
    /// What codes there are; a card whose code is in none of them is not taken in.
    pub codes: CodeTables,
    /// Attributes that participants of other regions are told, by
    /// `province.participant`.
    pub abroad: BTreeMap<String, Granted>,
}

impl Live {
    /// What a participant of another region may be told; nothing unless a policy
    /// line names it.
    pub fn granted_abroad(&self, participant: &ParticipantId) -> Granted {
        self.abroad.get(participant.as_str()).cloned().unwrap_or_default()
    }

    /// Reads the `abroad` lines of a policy.
    ///
    /// # Errors
    /// Every attribute that is none.
    pub fn read_abroad(
        lines: &BTreeMap<String, Vec<String>>,
    ) -> Result<BTreeMap<String, Granted>, Vec<String>> {
        let mut problems = Vec::new();
        let mut abroad = BTreeMap::new();
        for (participant, codes) in lines {
            let mut attributes = Vec::new();
            for code in codes {
                match code.parse::<AttributeCode>() {
                    Ok(attribute) => attributes.push(attribute),
                    Err(unknown) => problems.push(format!("abroad.\"{participant}\": {unknown}")),
                }
            }
            abroad.insert(participant.clone(), Granted::new(attributes));
        }
        if problems.is_empty() { Ok(abroad) } else { Err(problems) }
    }
}
