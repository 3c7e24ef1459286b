//! Exceptions: where two sides differ, in which way, and what is to be done. The id
//! of an exception follows from what it is about and from nothing else, so that the
//! same files give the same ids for ever.

use std::{fmt, str::FromStr};

use jiff::civil::Date;

use super::{Owner, Record, Side, State};
use crate::model::{BadId, Fen, ParticipantId, TransactionId};

/// SM3 over the concatenation of parts. It is handed in: the ledger has no cryptography.
pub type Hash = fn(&[&[u8]]) -> [u8; 32];

/// The kinds of exceptions, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExceptionKind {
    MissingAtParticipant,
    MissingInJournal,
    MissingAtBank,
    AmountDiffers,
    DateDiffers,
    DoubleInFile,
    StatusDiffers,
}

impl ExceptionKind {
    pub const ALL: [ExceptionKind; 7] = [
        ExceptionKind::MissingAtParticipant,
        ExceptionKind::MissingInJournal,
        ExceptionKind::MissingAtBank,
        ExceptionKind::AmountDiffers,
        ExceptionKind::DateDiffers,
        ExceptionKind::DoubleInFile,
        ExceptionKind::StatusDiffers,
    ];

    /// As it is configured.
    pub const fn name(self) -> &'static str {
        match self {
            ExceptionKind::MissingAtParticipant => "missing-at-participant",
            ExceptionKind::MissingInJournal => "missing-in-journal",
            ExceptionKind::MissingAtBank => "missing-at-bank",
            ExceptionKind::AmountDiffers => "amount-differs",
            ExceptionKind::DateDiffers => "date-differs",
            ExceptionKind::DoubleInFile => "double-in-file",
            ExceptionKind::StatusDiffers => "status-differs",
        }
    }

    /// The stable code in records and reports.
    pub const fn code(self) -> &'static str {
        match self {
            ExceptionKind::MissingAtParticipant => "MISSING_AT_PARTICIPANT",
            ExceptionKind::MissingInJournal => "MISSING_IN_JOURNAL",
            ExceptionKind::MissingAtBank => "MISSING_AT_BANK",
            ExceptionKind::AmountDiffers => "AMOUNT_DIFFERS",
            ExceptionKind::DateDiffers => "DATE_DIFFERS",
            ExceptionKind::DoubleInFile => "DOUBLE_IN_FILE",
            ExceptionKind::StatusDiffers => "STATUS_DIFFERS",
        }
    }

    pub const fn zh(self) -> &'static str {
        match self {
            ExceptionKind::MissingAtParticipant => "参与方文件缺此笔",
            ExceptionKind::MissingInJournal => "账本无此笔",
            ExceptionKind::MissingAtBank => "银行文件缺此笔",
            ExceptionKind::AmountDiffers => "金额不符",
            ExceptionKind::DateDiffers => "日期不符",
            ExceptionKind::DoubleInFile => "文件重复",
            ExceptionKind::StatusDiffers => "状态不符",
        }
    }

    /// What whoever clears it does next, in Chinese and English.
    pub const fn next_step(self) -> (&'static str, &'static str) {
        match self {
            ExceptionKind::MissingAtParticipant => (
                "请参与方核对并补报；跨日的在下一日文件中自动消解",
                "ask the participant to file it; one filed under a neighbouring day explains itself",
            ),
            ExceptionKind::MissingInJournal => (
                "请对方提供凭据；离线未上传的请补传，否则不予结算",
                "ask for evidence; upload the taps that are still off line, else nothing is owed",
            ),
            ExceptionKind::MissingAtBank => ("向银行查询该笔是否划付", "ask the bank whether it was paid"),
            ExceptionKind::AmountDiffers => (
                "核对票价与凭据；以更正交易改正后按 corrected 处理",
                "compare fares and evidence; correct by a new transaction and resolve as corrected",
            ),
            ExceptionKind::DateDiffers => (
                "核对营业日；属对方记错的请其重报",
                "compare the business dates; have the file sent again where it is wrong",
            ),
            ExceptionKind::DoubleInFile => (
                "请对方删除重复行；先对前一日账再对本日",
                "have the repeated line taken out; reconcile the earlier day first",
            ),
            ExceptionKind::StatusDiffers => (
                "按交易号查询最终状态，以账本为准",
                "ask for the transaction's final status; the journal decides",
            ),
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        ExceptionKind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// In which way two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    MissingAtParticipant,
    MissingInJournal,
    MissingAtBank,
    AmountDiffers {
        ours: Fen,
        theirs: Fen,
    },
    DateDiffers {
        ours: Date,
        theirs: Date,
    },
    /// The file names a movement that another line, or the file of another day,
    /// names as well.
    DoubleInFile,
    StatusDiffers {
        ours: State,
        theirs: State,
    },
}

impl Difference {
    pub const fn kind(&self) -> ExceptionKind {
        match self {
            Difference::MissingAtParticipant => ExceptionKind::MissingAtParticipant,
            Difference::MissingInJournal => ExceptionKind::MissingInJournal,
            Difference::MissingAtBank => ExceptionKind::MissingAtBank,
            Difference::AmountDiffers { .. } => ExceptionKind::AmountDiffers,
            Difference::DateDiffers { .. } => ExceptionKind::DateDiffers,
            Difference::DoubleInFile => ExceptionKind::DoubleInFile,
            Difference::StatusDiffers { .. } => ExceptionKind::StatusDiffers,
        }
    }
}

/// Names an exception for ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId([u8; 16]);

impl CaseId {
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// # Errors
    /// When there are not 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, BadId> {
        bytes.try_into().map(CaseId).map_err(|_| BadId { what: "exception id", expected: "16 bytes" })
    }

    /// The exception that a side's file does not have our transaction.
    pub fn of_missing(
        participant: &ParticipantId,
        file: Side,
        transaction: TransactionId,
        hash: Hash,
    ) -> Self {
        let kind = match file {
            Side::Participant => ExceptionKind::MissingAtParticipant,
            Side::Bank => ExceptionKind::MissingAtBank,
            Side::Journal => ExceptionKind::MissingInJournal,
        };
        let about = transaction.to_string();
        CaseId::over(&[participant.as_str(), file.name(), kind.code(), &about], hash)
    }

    fn over(parts: &[&str], hash: Hash) -> Self {
        let mut bytes: Vec<&[u8]> = vec![b"onecard/reconciliation/exception/v1"];
        for part in parts {
            bytes.push(&[0]);
            bytes.push(part.as_bytes());
        }
        let digest = hash(&bytes);
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        CaseId(id)
    }
}

impl fmt::Display for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CaseId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| BadId { what: "exception id", expected: "32 hexadecimal digits" })?;
        Ok(CaseId(bytes))
    }
}

/// One movement as the sides have it; at least one does.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trio {
    pub journal: Option<Record>,
    pub participant: Option<Record>,
    pub bank: Option<Record>,
}

impl Trio {
    pub const fn of(&self, side: Side) -> Option<&Record> {
        match side {
            Side::Journal => self.journal.as_ref(),
            Side::Participant => self.participant.as_ref(),
            Side::Bank => self.bank.as_ref(),
        }
    }

    pub fn records(&self) -> impl Iterator<Item = &Record> {
        Side::ALL.into_iter().filter_map(|side| self.of(side))
    }
}

/// A movement on which two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub id: CaseId,
    pub difference: Difference,
    /// Whose file differs from the journal.
    pub file: Side,
    pub trio: Trio,
    /// The business date it belongs to.
    pub date: Date,
    /// Since that date, days; 0 for a date to come.
    pub age_days: u32,
    pub owner: Owner,
}

impl Exception {
    /// What the journal has, when it has it.
    pub fn ours(&self) -> Option<&Record> {
        self.trio.journal.as_ref()
    }

    /// What the file has, when it has it.
    pub fn theirs(&self) -> Option<&Record> {
        self.trio.of(self.file)
    }
}

/// The id of an exception that is not simply a missing record. `under` is the date
/// of the file, `count` tells apart what nothing else does.
pub(super) fn id_of(
    participant: &ParticipantId,
    file: Side,
    difference: &Difference,
    trio: &Trio,
    (under, count): (Date, usize),
    hash: Hash,
) -> CaseId {
    let ours = trio.journal.as_ref();
    let in_what = match difference {
        Difference::MissingAtParticipant | Difference::MissingAtBank => {
            if let Some(transaction) = ours.and_then(|record| record.transaction) {
                return CaseId::of_missing(participant, file, transaction, hash);
            }
            String::new()
        }
        Difference::MissingInJournal | Difference::DoubleInFile => {
            format!("{}/{under}", amount_of(trio.of(file)))
        }
        Difference::AmountDiffers { ours, theirs } => format!("{}/{}", ours.get(), theirs.get()),
        Difference::DateDiffers { ours, theirs } => format!("{ours}/{theirs}"),
        Difference::StatusDiffers { ours, theirs } => format!("{}/{}", ours.name(), theirs.name()),
    };
    let about = ours.or_else(|| trio.of(file)).map(about).unwrap_or_default();
    let parts =
        [participant.as_str(), file.name(), difference.kind().code(), &about, &in_what, &count.to_string()];
    CaseId::over(&parts, hash)
}

fn amount_of(record: Option<&Record>) -> i64 {
    record.map_or(0, |record| record.amount.get())
}

/// What names a record, or its attributes where nothing does.
fn about(record: &Record) -> String {
    match (record.transaction, &record.reference) {
        (Some(transaction), _) => format!("t/{transaction}"),
        (None, Some(reference)) => format!("r/{reference}"),
        (None, None) => {
            let terminal = record.terminal.as_deref().unwrap_or("");
            format!("a/{}/{}/{terminal}", record.date, record.at.unwrap_or(0))
        }
    }
}
