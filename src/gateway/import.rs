//! Taking the issuer's cards into the register: JSON lines, each checked whole.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use super::{Gateway, Refusal, RefusalKind, Violation};
use crate::{
    identity::{
        BirthDate, CardDate, CardIdentifier, CardNumber, CardState, Ethnicity, HolderName, Sex,
        SocialSecurityNumber,
    },
    limits,
    model::{
        AggregateKey, HolderId, Reason, Scene, Status,
        record::{CardFile, DenyFile, DenyListHead, DocumentFile, HolderFile},
    },
    scenes::card::{self, NewCard},
};

/// One card as the issuer hands it over; field names are stable.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct CardLine {
    /// AAZ501, 32 hexadecimal digits.
    pub card_identifier: String,
    /// AAZ500.
    pub card_number: String,
    /// AAZ502 digit.
    pub state: u8,
    #[serde(default)]
    pub state_expires_at_ms: i64,
    /// HolderId, 32 hexadecimal digits.
    pub holder: String,
    /// AAC002; also the resident identity card's number, document kind 01.
    pub social_security_number: String,
    /// AAC003.
    pub name: String,
    /// AAC004.
    pub sex: String,
    /// AAC005.
    pub ethnicity: String,
    /// AAC006, yyyymmdd.
    pub born: u32,
    /// Last good day, yyyymmdd.
    pub valid_until: u32,
    /// AAB301.
    pub region: u32,
}

/// What an import did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportReport {
    pub taken: u64,
    /// Cards that were there already and were left as they are.
    pub known: u64,
    /// Wrong lines by number, from 1, with everything wrong in them.
    pub wrong: BTreeMap<usize, Vec<Violation>>,
}

impl ImportReport {
    /// Takes in what came of further lines, of which `before` others came first.
    pub fn add(&mut self, before: usize, further: ImportReport) {
        self.taken += further.taken;
        self.known += further.known;
        self.wrong.extend(further.wrong.into_iter().map(|(line, wrong)| (before + line, wrong)));
    }
}

/// What became of a card whose line is right.
enum Imported {
    Taken,
    Known,
    /// Its document names another holder already.
    DocumentTaken,
    /// Its holder was erased; nothing is written about them any more.
    HolderErased,
}

fn violation(field: &str, reason: Reason) -> Violation {
    Violation::new(field, reason.zh(), reason.en())
}

/// What is wrong with the form of a line. A parser's own words may quote a value
/// of the line, which is about a person; names of fields are not.
fn without_values(error: &serde_json::Error) -> String {
    let said = error.to_string();
    if said.starts_with("missing field") {
        said
    } else {
        format!("not JSON of the known form at column {}", error.column())
    }
}

impl Gateway {
    /// Imports cards, one JSON object a line. Wrong lines are reported and leave
    /// the others alone; running it twice changes nothing. Many are under way at once,
    /// so that a batch of the journal takes many; while the journal is behind it waits.
    ///
    /// # Errors
    /// When the journal cannot take an entry; what was taken before stands.
    pub async fn import_cards(&self, lines: &str) -> Result<ImportReport, Refusal> {
        let mut report = ImportReport::default();
        let lines = lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let mut imported = stream::iter(lines)
            .map(|(at, line)| async move { (at + 1, self.import_line(line).await) })
            .buffered(limits::IMPORT_AT_ONCE);
        while let Some((at, done)) = imported.next().await {
            match done? {
                Ok(Imported::Taken) => report.taken += 1,
                Ok(Imported::Known) => report.known += 1,
                Ok(Imported::DocumentTaken) => {
                    let taken = violation("social_security_number", Reason::DocumentTaken);
                    report.wrong.insert(at, vec![taken]);
                }
                Ok(Imported::HolderErased) => {
                    report.wrong.insert(at, vec![violation("holder", Reason::HolderErased)]);
                }
                Err(violations) => {
                    report.wrong.insert(at, violations);
                }
            }
        }
        Ok(report)
    }

    /// Takes one line; what is wrong with it is no failure of the import.
    async fn import_line(&self, line: &str) -> Result<Result<Imported, Vec<Violation>>, Refusal> {
        let new = match serde_json::from_str::<CardLine>(line) {
            Ok(line) => self.new_card(&line)?,
            Err(error) => Err(vec![Violation::new(
                "line",
                "不是有效的 JSON 行",
                format!("is not a card line: {}", without_values(&error)),
            )]),
        };
        let new = match new {
            Ok(new) => new,
            Err(violations) => return Ok(Err(violations)),
        };
        loop {
            match self.import_card(new.clone()).await {
                // Nobody waits at a counter: the index may catch up first.
                Err(Refusal { kind: RefusalKind::Exhausted, retry_after: Some(wait), .. }) => {
                    tokio::time::sleep(wait).await;
                }
                done => return done.map(Ok),
            }
        }
    }

    async fn import_card(&self, new: NewCard) -> Result<Imported, Refusal> {
        let touches = vec![
            AggregateKey::of::<CardFile>(new.card.as_bytes()),
            AggregateKey::of::<HolderFile>(new.holder.as_bytes()),
            AggregateKey::of::<DocumentFile>(&new.document),
            AggregateKey::of::<DenyFile>(new.card.as_bytes()),
            AggregateKey::of::<DenyListHead>(&card::deny_head_id(self.province)),
        ];
        let committed = self
            .note(self.own_meta(Scene::Operations, "ImportCard"), touches, move |view, now| {
                card::issue(view, &new, now)
            })
            .await;
        let committed = match committed {
            Err(refusal) if refusal.reason == Reason::HolderErased => return Ok(Imported::HolderErased),
            committed => committed?,
        };
        self.spread_denial(&committed).await;
        Ok(if committed.entry.status == Status::Completed.number() {
            Imported::Taken
        } else if committed.entry.reason == Reason::DocumentTaken.code() {
            Imported::DocumentTaken
        } else {
            Imported::Known
        })
    }

    fn new_card(&self, line: &CardLine) -> Result<Result<NewCard, Vec<Violation>>, Refusal> {
        let mut wrong = Vec::new();
        let mut note = |field: &str, zh: &str, en: &str| wrong.push(Violation::new(field, zh, en));
        let card: Option<CardIdentifier> = line.card_identifier.parse().ok();
        if card.is_none() {
            note("card_identifier", "须为 32 位十六进制 AAZ501", "must be AAZ501, 32 hexadecimal digits");
        } else if card.is_some_and(|card| !self.is_ours(&card)) {
            note("card_identifier", "不是本地区发行的卡", "was not issued in this region");
        }
        let number = CardNumber::parse(&line.card_number).ok();
        if number.is_none() {
            note("card_number", "须为 9 位 AAZ500", "must be the nine characters of AAZ500");
        }
        let state = CardState::from_digit(line.state.into());
        if state.is_none() {
            note("state", "须为 AAZ502 的 0、1、2、3、4、9", "must be 0, 1, 2, 3, 4 or 9 of AAZ502");
        }
        let holder: Option<HolderId> = line.holder.parse().ok();
        if holder.is_none() {
            note("holder", "须为 32 位十六进制", "must be 32 hexadecimal digits");
        }
        let security: Option<SocialSecurityNumber> = line.social_security_number.parse().ok();
        if security.is_none() {
            note("social_security_number", "须通过 AAC002 校验", "must pass the checks of AAC002");
        }
        if line.name.parse::<HolderName>().is_err() {
            note("name", "须为 1 至 50 个字符的姓名 AAC003", "must be a name (AAC003) of 1 to 50 characters");
        }
        if line.sex.parse::<Sex>().is_err() {
            note("sex", "须为 AAC004 的 0、1、2、9", "must be 0, 1, 2 or 9 of AAC004");
        }
        if Ethnicity::parse(&line.ethnicity, self.live().codes.ethnicity()).is_err() {
            note("ethnicity", "须为 AAC005 的两位代码", "must be a two-digit code of AAC005");
        }
        if BirthDate::from_yyyymmdd(line.born).is_err() {
            note("born", "须为 AAC006 日期 yyyymmdd", "must be a day (AAC006) as yyyymmdd");
        }
        if line.valid_until != 0 && CardDate::from_yyyymmdd(line.valid_until).is_err() {
            note("valid_until", "须为日期 yyyymmdd，无期限填 0", "must be a day as yyyymmdd, 0 without end");
        }
        if card.is_some_and(|card| card.region().code() != line.region) {
            note(
                "region",
                "须与卡识别码中的 AAB301 一致",
                "must be the region (AAB301) that the card identifier names",
            );
        }
        let (Some(card), Some(state), Some(holder), Some((number, _)), Some(security), true) =
            (card, state, holder, number, security, wrong.is_empty())
        else {
            return Ok(Err(wrong));
        };
        // As parsed, not as written: what a reader sends is compared with it.
        let security = security.reveal();
        Ok(Ok(NewCard {
            card,
            holder,
            subject: self.holder_subject(holder.as_bytes())?,
            state,
            state_expires_at_ms: (line.state_expires_at_ms > 0).then_some(line.state_expires_at_ms),
            valid_until: line.valid_until,
            document: self.document_hash("01", security)?,
            person: HolderFile {
                social_security_number: security.to_owned(),
                name: line.name.clone(),
                sex: line.sex.clone(),
                ethnicity: line.ethnicity.clone(),
                born: line.born,
                card_number: number.reveal().to_owned(),
                card: card.as_bytes().to_vec(),
            },
        }))
    }
}
