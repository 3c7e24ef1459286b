//! What a fee line is worth to the insurance: class, price limit, first self-pay.

use super::{
    catalogue::{Item, NO_LIMIT},
    decimal::{cost, share},
};

/// A line shared out; amounts in fen. The first four are the line's whole amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Priced {
    /// `det_item_fee_sumamt`.
    pub(super) amount: i64,
    /// `fulamt_ownpay_amt`.
    pub(super) own: i64,
    /// `overlmt_amt`.
    pub(super) over: i64,
    /// `preselfpay_amt`.
    pub(super) first: i64,
    /// `inscp_scp_amt`; bears what rounding leaves.
    pub(super) scope: i64,
    /// The part of `over` that the hospital bears.
    pub(super) hospital: i64,
}

/// Shares a line of `count` (ten thousandths) at `price` (millionths of a yuan) out.
/// What no catalogue knows is wholly the person's own.
pub(super) fn price(item: Option<&Item>, count: i64, price: i64, amount: i64) -> Priced {
    let listed = item.filter(|item| item.class != "03");
    let Some(item) = listed else { return Priced { amount, own: amount, ..Priced::default() } };
    let limit = item.price_limit();
    let over = if limit < NO_LIMIT && price > limit { amount - cost(count, limit).min(amount) } else { 0 };
    let first = share(amount - over, item.self_pay(), 10_000);
    let hospital = if item.hospital_bears == 1 { over } else { 0 };
    Priced { amount, own: 0, over, first, scope: amount - over - first, hospital }
}

impl Priced {
    pub(super) fn plus(self, other: Priced) -> Priced {
        Priced {
            amount: self.amount + other.amount,
            own: self.own + other.own,
            over: self.over + other.over,
            first: self.first + other.first,
            scope: self.scope + other.scope,
            hospital: self.hospital + other.hospital,
        }
    }
}
