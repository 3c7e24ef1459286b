//! The lines to medical insurers that are open, one a platform.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    adapters::nhsa::{BadNhsaOptions, NhsaAdapter, NhsaOptions, NhsaParts},
    gateway::Insurers,
    scenes::medical::MedicalPort,
};

/// Lines by their code. Cheap to clone.
#[derive(Clone)]
pub struct InsurerLines {
    lines: BTreeMap<String, NhsaAdapter>,
    parts: NhsaParts,
}

impl InsurerLines {
    /// Lines to these platforms. Opens no connection yet.
    ///
    /// # Errors
    /// When options contradict themselves or a secret is not where they say.
    pub fn new(options: BTreeMap<String, NhsaOptions>, parts: NhsaParts) -> Result<Self, BadNhsaOptions> {
        InsurerLines { lines: BTreeMap::new(), parts }.with(options)
    }

    /// Lines as another configuration wants them. One whose options are as they were
    /// keeps its connections, its breaker and its sign-ins.
    ///
    /// # Errors
    /// As [`InsurerLines::new`]; these lines are as they were.
    pub fn with(&self, options: BTreeMap<String, NhsaOptions>) -> Result<Self, BadNhsaOptions> {
        let line = |(code, options): (String, NhsaOptions)| {
            let kept = self.lines.get(&code).filter(|line| line.is_as(&options)).cloned();
            let line = match kept {
                Some(kept) => kept,
                None => NhsaAdapter::new(&code, options, self.parts.clone())?,
            };
            Ok((code, line))
        };
        let lines = options.into_iter().map(line).collect::<Result<_, _>>()?;
        Ok(InsurerLines { lines, parts: self.parts.clone() })
    }

    /// The lines as the gateway calls them.
    pub fn ports(&self) -> Insurers {
        let port = |line: &NhsaAdapter| Arc::new(line.clone()) as Arc<dyn MedicalPort>;
        self.lines.iter().map(|(code, line)| (code.clone(), port(line))).collect()
    }
}
