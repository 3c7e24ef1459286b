//! Counters where somebody shows who they are: by chip, by code, by document; and
//! the phones that codes come from.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use onecard::{
    client::{Answered, Terminal, TransactionKey},
    model::{Purpose, SystemRng},
    proto::{
        auth::v1::{
            BeginChipRequest, ChipChallenge, FinishChipRequest, HolderSession, PresentCodeRequest,
            PresentDocumentRequest, PresentDocumentResponse,
        },
        card::v1::IssueCodeRequest,
        common::v1::{Answer as Told, RequestHeader},
    },
    sandbox::card_files::SampleCard,
};

use super::{Settled, Witness, settled};
use crate::{
    open_loop::Answer,
    stage::{Post, REGIONS, Stage},
};

/// Transactions remembered for those who ask what became of them.
const REMEMBERED_MAX: usize = 4_096;

/// Somebody with a card, at a counter.
#[derive(Debug, Clone)]
pub struct Shown {
    pub card: SampleCard,
    /// Whose card it is, by the place in `HOMES`.
    pub home: usize,
}

/// The counters of one region's terminal, and the phones of all regions.
pub struct Counter {
    region: usize,
    desks: Vec<Terminal>,
    phones: Vec<Vec<Terminal>>,
    turn: AtomicUsize,
    purpose: Purpose,
    witness: Witness,
    /// How this participant knows each card's holder: the same each time.
    holders: Mutex<HashMap<String, String>>,
    remembered: Mutex<Vec<Told>>,
    /// Requests sent again because they were not answered.
    pub repeats: AtomicU64,
}

impl Counter {
    /// Opens counters of a post in a region.
    ///
    /// # Errors
    /// When a gateway is not there.
    pub async fn open(
        stage: &Stage,
        region: usize,
        post: Post,
        purpose: Purpose,
        connections: usize,
    ) -> anyhow::Result<Self> {
        let mut phones = Vec::new();
        for home in 0..REGIONS.len() {
            phones.push(stage.connect(home, Post::EcardApp, connections.div_ceil(2)).await?);
        }
        Ok(Counter {
            region,
            desks: stage.connect(region, post, connections).await?,
            phones,
            turn: AtomicUsize::new(0),
            purpose,
            witness: Witness::default(),
            holders: Mutex::default(),
            remembered: Mutex::default(),
            repeats: AtomicU64::new(0),
        })
    }

    /// One of the connections.
    pub fn desk(&self) -> &Terminal {
        &self.desks[self.turn.fetch_add(1, Ordering::Relaxed) % self.desks.len()]
    }

    /// Reader and card play the chip relay to its end.
    pub async fn chip(&self, shown: &Shown) -> (Answer, Option<HolderSession>) {
        let desk = self.desk();
        let begin = BeginChipRequest {
            header: Some(desk.header(self.purpose)),
            challenge: Some(challenge(&shown.card)),
        };
        let begun = settled(&self.repeats, || desk.begin_chip(begin.clone())).await;
        let Some(opened) = begun.response.filter(|_| begun.answer == Answer::Approved) else {
            return (begun.answer, None);
        };
        let factor: Option<[u8; 8]> = read_back(&begin, |challenge| &challenge.external_factor);
        let data: Option<[u8; 16]> = read_back(&begin, |challenge| &challenge.external_data);
        let accepted = factor.zip(data).is_some_and(|(factor, data)| {
            shown.card.chip.check_external(&factor, &data, &opened.external_authenticator)
        });
        if !accepted {
            self.witness.fault("a chip does not accept the gateway".to_owned());
        }
        let holder = &shown.card.holder;
        let finish = FinishChipRequest {
            header: Some(desk.header(self.purpose)),
            chip_session: opened.chip_session,
            social_security_number: holder.person.social_security_number.clone(),
            card_number: holder.card_number.clone(),
            name: holder.person.name.clone(),
        };
        let finished = settled(&self.repeats, || desk.finish_chip(finish.clone())).await;
        self.saw(shown, &finished);
        (finished.answer, finished.response.and_then(|response| response.session))
    }

    /// The holder's phone asks its region for a code.
    pub async fn phone(&self, shown: &Shown) -> (Answer, Option<String>) {
        let phones = &self.phones[shown.home];
        let phone = &phones[self.turn.fetch_add(1, Ordering::Relaxed) % phones.len()];
        let ask = IssueCodeRequest {
            header: Some(phone.header(Purpose::CardService)),
            card_identifier: shown.card.holder.card_identifier.clone(),
        };
        let issued = settled(&self.repeats, || phone.issue_code(ask.clone())).await;
        (issued.answer, issued.response.map(|response| response.code).filter(|code| !code.is_empty()))
    }

    /// A code is scanned.
    pub async fn code(&self, shown: &Shown, code: String) -> (Answer, Option<HolderSession>) {
        let desk = self.desk();
        let scanned = PresentCodeRequest { header: Some(desk.header(self.purpose)), code };
        let presented = settled(&self.repeats, || desk.present_code(scanned.clone())).await;
        self.saw(shown, &presented);
        (presented.answer, presented.response.and_then(|response| response.session))
    }

    /// A request for the document of somebody of this region.
    pub fn document(&self, shown: &Shown) -> PresentDocumentRequest {
        let person = &shown.card.holder.person;
        let header = self.desk().header(self.purpose);
        PresentDocumentRequest {
            header: Some(RequestHeader { operator_id: "clerk-7".to_owned(), ..header }),
            document_kind: person.document_kind.clone(),
            document_number: person.document_number.clone(),
            name: person.name.clone(),
        }
    }

    /// Shows a document until it is answered.
    pub async fn send_document(&self, request: &PresentDocumentRequest) -> Settled<PresentDocumentResponse> {
        let desk = self.desk();
        settled(&self.repeats, || desk.present_document(request.clone())).await
    }

    /// What became of an authentication some time ago; asks about none that was not.
    pub async fn inquiry(&self, nth: u32) -> Answer {
        let earlier = {
            let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
            (!remembered.is_empty()).then(|| remembered[nth as usize % remembered.len()].clone())
        };
        let Some(earlier) = earlier else {
            return Answer::Declined("NOTHING_TO_ASK_YET".to_owned());
        };
        let desk = self.desk();
        let key = || TransactionKey::Transaction(earlier.transaction_id.clone());
        let found = settled(&self.repeats, || desk.transaction(key())).await;
        let same = found.response.as_ref().and_then(Answered::answer).is_none_or(|answer| {
            answer.transaction_id == earlier.transaction_id
                && answer.decision == earlier.decision
                && answer.committed_at_ms == earlier.committed_at_ms
        });
        if !same {
            self.witness.fault(format!("transaction {} is found as another", earlier.transaction_id));
        }
        found.answer
    }

    /// Keeps the answer to a credential: a transaction of its own, and the same
    /// holder as ever.
    pub fn saw<R: Answered>(&self, shown: &Shown, settled: &Settled<R>) {
        let Some(answer) = settled.response.as_ref().and_then(Answered::answer) else { return };
        self.witness.saw(answer);
        if settled.answer != Answer::Approved {
            return;
        }
        let card = shown.card.holder.card_identifier.clone();
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let known = holders.entry(card).or_insert_with(|| answer.holder_id.clone());
        if answer.holder_id.is_empty() || *known != answer.holder_id {
            self.witness.fault("a card's holder is known under two ids".to_owned());
        }
        drop(holders);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() < REMEMBERED_MAX {
            remembered.push(answer.clone());
        }
    }

    /// Checks receipts; how many, and what does not hold.
    ///
    /// # Errors
    /// When the region's key is not known.
    pub fn audit(&self, stage: &Stage) -> anyhow::Result<(u64, Vec<String>)> {
        let receipts = self.witness.check_receipts(&stage.journal_key(self.region)?);
        Ok((receipts, self.witness.told()))
    }
}

fn challenge(card: &SampleCard) -> ChipChallenge {
    let said = card.chip.challenge(&SystemRng);
    ChipChallenge {
        region: format!("{:06}", card.holder.region),
        card_identifier: card.holder.card_identifier.clone(),
        reset_information: card.holder.reset_information.clone(),
        algorithm: "SM4".to_owned(),
        internal_factor: said.internal_factor.to_vec(),
        internal_data: said.internal_data.to_vec(),
        internal_cryptogram: said.internal_cryptogram.to_vec(),
        external_factor: said.external_factor.to_vec(),
        external_data: said.external_data.to_vec(),
    }
}

fn read_back<const N: usize>(
    begin: &BeginChipRequest,
    field: impl Fn(&ChipChallenge) -> &Vec<u8>,
) -> Option<[u8; N]> {
    field(begin.challenge.as_ref()?).as_slice().try_into().ok()
}
