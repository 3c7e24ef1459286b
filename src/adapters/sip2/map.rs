//! What a library's answers mean to the scene: reasons, money, accounts. Pure.

use super::{
    pool::Lost,
    wire::response::{ItemAnswer, PatronInformation, PatronStatus},
};
use crate::{
    model::{Fen, Reason},
    scenes::library::{LibraryAct, LibraryAnswer, PatronAccount},
};

/// Circulation statuses of 18 that say "somebody has it": charged, charged and not
/// to be recalled, recalled, claimed returned.
pub fn is_charged(circulation: u32) -> bool {
    matches!(circulation, 4 | 5 | 7 | 11)
}

/// Circulation status 3: on the shelf.
pub fn is_available(circulation: u32) -> bool {
    circulation == 3
}

/// Whether a reader may borrow: none of the flags that forbid it. Flags 1 to 3
/// forbid other things; 13 (too many items billed) and the overdue limit do too.
pub fn may_borrow(patron: &PatronStatus) -> bool {
    patron.valid && restriction(patron, LibraryAct::Checkout).is_none()
}

/// The index of the first flag that forbids an act. 0 charge, 1 renewal, 2 recall,
/// 3 hold privileges denied; 4 card lost; 5 too many charged; 6 overdue; 7 renewals;
/// 8 claims returned; 9 lost; 10 fines; 11 fees; 12 recall overdue; 13 billed.
fn restriction(patron: &PatronStatus, act: LibraryAct) -> Option<usize> {
    let forbids: &[usize] = match act {
        LibraryAct::Checkout => &[0, 4, 5, 6, 8, 9, 10, 11, 12, 13],
        LibraryAct::Renew => &[1, 4, 6, 7, 10, 11],
        LibraryAct::PlaceHold => &[3, 4],
        LibraryAct::Checkin
        | LibraryAct::CancelHold
        | LibraryAct::PayFee
        | LibraryAct::GetPatron
        | LibraryAct::EndSession => &[],
    };
    forbids.iter().copied().find(|flag| patron.flags[*flag])
}

/// Why an act was declined, from what the library says of reader and item right
/// afterwards: SIP2 itself gives a text only.
pub fn reason(act: LibraryAct, patron: Option<&PatronStatus>, item: Option<&ItemAnswer>) -> Reason {
    if let Some(patron) = patron {
        if !patron.valid {
            return Reason::PatronUnknown;
        }
        if restriction(patron, act).is_some() {
            return Reason::PatronBlocked;
        }
    }
    let Some(item) = item else { return Reason::LibraryDeclined };
    if item.title.is_empty() && item.circulation <= 1 {
        return Reason::ItemUnknown;
    }
    match act {
        LibraryAct::Checkout if !is_available(item.circulation) => Reason::ItemNotAvailable,
        LibraryAct::Checkout
        | LibraryAct::Checkin
        | LibraryAct::Renew
        | LibraryAct::PlaceHold
        | LibraryAct::CancelHold
        | LibraryAct::PayFee
        | LibraryAct::GetPatron
        | LibraryAct::EndSession => Reason::LibraryDeclined,
    }
}

/// An amount as libraries write it: `12.5`, `¥12.50`, `12`. `None` when it is no
/// number or finer than a fen.
pub fn fen(text: &str) -> Option<Fen> {
    let text = text.trim().trim_start_matches(['¥', '￥', '$']).trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text),
    };
    let (yuan, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let rest = rest.trim_end_matches('0');
    if yuan.is_empty() || yuan.len() > 12 || rest.len() > 2 || !digits(yuan) || !digits(rest) {
        return None;
    }
    let yuan: i64 = yuan.parse().ok()?;
    let cents: i64 = format!("{rest:0<2}").parse().ok()?;
    Some(Fen::new(sign * (yuan * 100 + cents)))
}

/// What a reader owes; no BV means nothing.
pub(super) fn fees(patron: &PatronStatus) -> Result<Fen, Lost> {
    if patron.fees.is_empty() {
        return Ok(Fen::ZERO);
    }
    fen(&patron.fees).ok_or_else(|| Lost::Unknown("the library states an amount we cannot read".into()))
}

/// The account of a 64, without titles and due dates.
pub(super) fn account(patron: &PatronInformation) -> Result<PatronAccount, Lost> {
    Ok(PatronAccount {
        loans: Vec::new(),
        holds: patron.counts[0].saturating_add(patron.counts[5]),
        overdue: patron.counts[1],
        fees: fees(&patron.status)?,
        may_borrow: may_borrow(&patron.status),
    })
}

/// The answer of an act that brings nothing but a text.
pub fn said(screen_message: String) -> LibraryAnswer {
    LibraryAnswer { screen_message, ..LibraryAnswer::default() }
}
