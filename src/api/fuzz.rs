//! Every request of the contract under a fuzzer: bytes of the wire to types that
//! cannot be wrong, or to violations that say what would be right.

use prost::Message;

use super::{
    authentication as auth, card,
    door::{HasHeader, fingerprint},
    library,
    parse::{self, Fields},
    status::to_status,
    transaction, transit, upload,
};
use crate::{
    gateway::Refusal,
    model::fuzz,
    proto::{
        auth::v1 as auth_wire, card::v1 as card_wire, common::v1::RequestHeader, library::v1 as library_wire,
        transaction::v1 as transaction_wire, transit::v1 as transit_wire,
    },
    scenes::library::LibraryAct,
    trust::SignedCode,
};

/// Decodes and parses one request; the first byte says which.
///
/// # Panics
/// When a parser does, or refuses without naming a field.
pub fn requests(data: &[u8]) {
    let Some((which, data)) = data.split_first() else { return };
    let act = |act: LibraryAct| {
        move |fields: &mut Fields, library: &str, item: &str| library::ask(fields, act, library, item)
    };
    match which % 20 {
        0 => tap(data, false),
        1 => tap(data, true),
        2 => one(data, |fields, ask: auth_wire::BeginChipRequest| auth::chip_ask(fields, ask.challenge)),
        3 => one(data, auth::finish_ask),
        4 => one(data, |fields, ask| {
            let code = auth::code_ask(fields, ask)?;
            Some(SignedCode::parse(&code))
        }),
        5 => one(data, auth::document_ask),
        6 => one(data, card::loss_ask),
        7 => one(data, |fields, ask: card_wire::LiftLossRequest| card::card_of(fields, &ask.card_identifier)),
        8 => {
            one(data, |fields, ask: card_wire::GetCardStateRequest| {
                card::card_of(fields, &ask.card_identifier)
            });
        }
        9 => {
            one(data, |fields, ask: card_wire::IssueCodeRequest| card::card_of(fields, &ask.card_identifier))
        }
        10 => one(data, |fields, ask: library_wire::CheckoutRequest| {
            act(LibraryAct::Checkout)(fields, &ask.library, &ask.item)
        }),
        11 => one(data, |fields, ask: library_wire::CheckinRequest| {
            act(LibraryAct::Checkin)(fields, &ask.library, &ask.item)
        }),
        12 => one(data, library::place_hold_ask),
        13 => one(data, library::pay_fee_ask),
        14 => one(data, |fields, ask: library_wire::GetPatronRequest| {
            act(LibraryAct::GetPatron)(fields, &ask.library, "")
        }),
        15 => each(data, |upload: transit_wire::UploadTapsRequest| upload.taps),
        16 => each(data, |message: transit_wire::TapStreamRequest| message.tap.into_iter().collect()),
        17 => read(data, |ask: transit_wire::ListJourneysRequest| transit::journeys_ask(&ask).map(drop)),
        18 => one(data, |fields, ask: transit_wire::UploadChunkRequest| upload::taps(fields, ask.taps)),
        _ => read(data, |ask: transaction_wire::GetTransactionRequest| {
            transaction::ask::transaction(ask).map(drop)
        }),
    }
}

fn header() -> RequestHeader {
    RequestHeader {
        request_id: "67e55044-10b1-426f-9247-bb680e5fe0c8".into(),
        terminal_time_ms: 1,
        purpose: 1,
        operator_id: "clerk-7".into(),
        holder_session: "ab".repeat(16),
    }
}

/// A request with a header and nothing else right, as seeds: field 1 of every
/// request is its header.
fn bytes_of<T: Message + Default>(data: &[u8]) -> Result<T, prost::DecodeError> {
    let only_header = transit_wire::TapRequest { header: Some(header()), ..Default::default() };
    let seeds = [only_header.encode_to_vec(), right_tap().encode_to_vec()];
    T::decode(fuzz::input(&seeds, data).as_slice())
}

fn right_tap() -> transit_wire::TapRequest {
    transit_wire::TapRequest {
        header: Some(header()),
        tap: Some(transit_wire::Tap {
            kind: 1,
            station: "西单".into(),
            line: "1".into(),
            tapped_at_ms: 1,
            read: Some(transit_wire::TransitRead {
                card_identifier: vec![0x11; 16],
                counter: 1,
                mac: vec![0; 8],
                valid_until: 20_361_231,
            }),
        }),
    }
}

fn tap(data: &[u8], offline: bool) {
    one(data, |fields, tap| transit::tap_ask(fields, tap, offline));
}

fn each<T: Message + Default>(data: &[u8], taps: impl Fn(T) -> Vec<transit_wire::TapRequest>) {
    if let Ok(message) = bytes_of::<T>(data) {
        for tap in taps(message) {
            parsed(tap, |fields, tap| transit::tap_ask(fields, tap, true));
        }
    }
}

fn one<T: HasHeader + Default, A>(data: &[u8], body: impl FnOnce(&mut Fields, T) -> Option<A>) {
    if let Ok(message) = bytes_of::<T>(data) {
        parsed(message, body);
    }
}

fn parsed<T: HasHeader, A>(message: T, body: impl FnOnce(&mut Fields, T) -> Option<A>) {
    let mut fields = Fields::default();
    let header = parse::header(&mut fields, message.header(), fingerprint(&message));
    let ask = body(&mut fields, message);
    assert!(header.is_some() && ask.is_some() || !fields.is_clean(), "a refusal names what is wrong");
    if !fields.is_clean() {
        told(&Refusal::invalid(fields.into_violations()));
    }
}

fn read<T: Message + Default>(data: &[u8], ask: impl FnOnce(T) -> Result<(), Refusal>) {
    if let Ok(message) = bytes_of::<T>(data)
        && let Err(refusal) = ask(message)
    {
        assert!(!refusal.violations.is_empty(), "a refusal names what is wrong");
        told(&refusal);
    }
}

fn told(refusal: &Refusal) {
    for violation in &refusal.violations {
        assert!(!violation.field.is_empty() && !violation.zh.is_empty() && violation.en.is_ascii());
    }
    let _ = to_status(refusal);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_request_is_parsed_or_refused_with_its_fields() {
        crate::model::fuzz::smoke(5_000, super::requests);
    }
}
