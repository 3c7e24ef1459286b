//! Keeping the exceptions of a reconciliation: opened, explained by another day's
//! file, resolved by an operator. What they are, `ledger/matching` decides.

use std::sync::Arc;

use jiff::civil::Date;

use super::{Gateway, Refusal};
use crate::{
    ledger::matching::{
        CaseId,
        case::{self, NewCase, Resolution},
    },
    model::{Reason, Scene, Status},
};

/// What is to become of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseWork {
    Open(NewCase),
    /// The file of another date has the record.
    Settle {
        case: NewCase,
        filed_under: Date,
    },
    Resolve {
        id: CaseId,
        resolution: Resolution,
        /// At most 32 characters.
        operator: String,
    },
}

impl CaseWork {
    const fn method(&self) -> &'static str {
        match self {
            CaseWork::Open(_) => "OpenCase",
            CaseWork::Settle { .. } => "SettleCase",
            CaseWork::Resolve { .. } => "ResolveCase",
        }
    }

    const fn id(&self) -> CaseId {
        match self {
            CaseWork::Open(case) | CaseWork::Settle { case, .. } => case.id,
            CaseWork::Resolve { id, .. } => *id,
        }
    }

    fn operator(&self) -> Arc<str> {
        match self {
            CaseWork::Open(_) | CaseWork::Settle { .. } => Arc::from(""),
            CaseWork::Resolve { operator, .. } => operator.as_str().into(),
        }
    }
}

impl Gateway {
    /// Journals what becomes of a case. Every call leaves an entry, also one that
    /// changes nothing: whoever asks looks first.
    ///
    /// # Errors
    /// When the journal cannot take an entry, or the case does not allow it
    /// (`CaseUnknown`, `CaseClosed`, `StateUnchanged`).
    pub async fn keep_case(&self, work: CaseWork) -> Result<(), Refusal> {
        let mut meta = self.own_meta(Scene::Operations, work.method());
        meta.operator = work.operator();
        let committed = self
            .note(meta, vec![case::key(work.id())], move |view, now| match &work {
                CaseWork::Open(new) => case::open(view, new, now),
                CaseWork::Settle { case: new, filed_under } => case::settle(view, new, *filed_under, now),
                CaseWork::Resolve { id, resolution, operator } => {
                    case::resolve(view, *id, resolution, operator, now)
                }
            })
            .await?;
        if committed.entry.status == Status::Completed.number() {
            return Ok(());
        }
        Err(Refusal::forbidden(Reason::from_code(&committed.entry.reason).unwrap_or(Reason::Internal)))
    }
}
