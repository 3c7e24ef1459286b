//! Which messages an order becomes, what is looked at before it, and how an
//! inquiry finds out what became of it.

use super::{
    map,
    pool::{Lease, Lost},
    wire::{
        request::{Request, Summary},
        response::{ItemAnswer, LoanAnswer, PatronInformation, PatronStatus, Response},
    },
};
use crate::{
    model::{Fen, Reason},
    scenes::library::{Before, Inquiry, LibraryAct, LibraryAnswer, LibraryOrder, Loan},
};

/// Items asked for in one patron information, and pages read at most: a reader
/// with more than 500 loans is beyond what an inquiry can tell.
const PAGE: u32 = 50;
const PAGES_MAX: u32 = 10;

/// How the library's world stands with regard to this order.
pub(super) async fn observe(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<Before, Lost> {
    let mut before = Before { observed: true, ..Before::default() };
    match order.act {
        LibraryAct::Checkout => {
            let listed = listed(lease, order, Summary::Charged).await?;
            before.observed = listed != Listed::Unclear;
            before.item_was_listed = listed == Listed::Yes;
            before.due_at_ms = item(lease, &order.item).await?.due_at_ms;
        }
        LibraryAct::Renew => before.due_at_ms = item(lease, &order.item).await?.due_at_ms,
        LibraryAct::PlaceHold | LibraryAct::CancelHold => {
            let listed = on_hold(lease, order).await?;
            before.observed = listed != Listed::Unclear;
            before.item_was_listed = listed == Listed::Yes;
        }
        LibraryAct::PayFee => {
            let patron = information(lease, &order.patron, Summary::None, 1).await?;
            before.fees = map::fees(&patron.status)?;
        }
        LibraryAct::Checkin | LibraryAct::GetPatron | LibraryAct::EndSession => {}
    }
    Ok(before)
}

/// Carries the order out.
pub(super) async fn call(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<LibraryAnswer, Lost> {
    ensure_served(lease, order.act).await?;
    let (patron, item) = (order.patron.clone(), order.item.clone());
    match order.act {
        LibraryAct::Checkout => match lease.say(&Request::Checkout { patron, item }).await? {
            Response::Checkout(loan) => loan_answer(lease, order, loan).await,
            _ => Err(misfit()),
        },
        LibraryAct::Renew => match lease.say(&Request::Renew { patron, item }).await? {
            Response::Renew(loan) => loan_answer(lease, order, loan).await,
            _ => Err(misfit()),
        },
        // An undone checkout must not return the item of somebody who has it since.
        LibraryAct::Checkin
            if !patron.is_empty() && listed(lease, order, Summary::Charged).await? == Listed::No =>
        {
            Ok(LibraryAnswer::default())
        }
        LibraryAct::Checkin => match lease.say(&Request::Checkin { item }).await? {
            Response::Checkin(answer) if answer.ok => Ok(LibraryAnswer {
                title: answer.title,
                permanent_location: answer.permanent_location,
                alert: answer.alert,
                screen_message: answer.screen_message,
                ..LibraryAnswer::default()
            }),
            Response::Checkin(answer) => Err(why(lease, order, answer.screen_message).await),
            _ => Err(misfit()),
        },
        LibraryAct::PlaceHold | LibraryAct::CancelHold => hold(lease, order).await,
        LibraryAct::PayFee => pay(lease, order).await,
        LibraryAct::GetPatron => account(lease, order).await,
        LibraryAct::EndSession => match lease.say(&Request::EndSession { patron }).await? {
            Response::EndSession { ended: true, screen_message } => Ok(map::said(screen_message)),
            Response::EndSession { ended: false, screen_message } => {
                Err(Lost::declined(Reason::LibraryDeclined, screen_message))
            }
            _ => Err(misfit()),
        },
    }
}

/// Finds out whether an order with unknown outcome happened.
pub(super) async fn inquire(
    lease: &mut Lease<'_>,
    order: &LibraryOrder,
    before: &Before,
) -> Result<Inquiry, Lost> {
    match order.act {
        LibraryAct::Checkout => match listed(lease, order, Summary::Charged).await? {
            Listed::Unclear => Ok(Inquiry::CannotTell),
            Listed::No => Ok(Inquiry::DidNotHappen),
            // The reader had it already: only a later due date shows a second loan.
            Listed::Yes if before.item_was_listed => compare_due(lease, order, before).await,
            Listed::Yes => Ok(happened(item(lease, &order.item).await?)),
        },
        LibraryAct::Renew => compare_due(lease, order, before).await,
        LibraryAct::Checkin => {
            let item = item(lease, &order.item).await?;
            Ok(match item.circulation {
                0 | 1 => Inquiry::CannotTell,
                status if map::is_charged(status) => Inquiry::DidNotHappen,
                _ => happened(ItemAnswer { due_at_ms: 0, ..item }),
            })
        }
        LibraryAct::PlaceHold | LibraryAct::CancelHold => {
            let wanted = order.act == LibraryAct::PlaceHold;
            let now = on_hold(lease, order).await?;
            if !before.observed || before.item_was_listed == wanted {
                return Ok(Inquiry::CannotTell);
            }
            Ok(match (now, wanted) {
                (Listed::Unclear, _) => Inquiry::CannotTell,
                (Listed::Yes, true) | (Listed::No, false) => Inquiry::Happened(LibraryAnswer::default()),
                (Listed::Yes, false) | (Listed::No, true) => Inquiry::DidNotHappen,
            })
        }
        LibraryAct::PayFee => {
            let patron = information(lease, &order.patron, Summary::None, 1).await?;
            Ok(compare_fees(map::fees(&patron.status)?, order.amount, before))
        }
        LibraryAct::GetPatron | LibraryAct::EndSession => Ok(Inquiry::DidNotHappen),
    }
}

/// A library that says it does not lend now is not asked to; its word is read
/// afresh before it is believed.
async fn ensure_served(lease: &mut Lease<'_>, act: LibraryAct) -> Result<(), Lost> {
    if serves(lease, act) {
        return Ok(());
    }
    lease.check_status().await.map_err(|lost| match lost {
        Lost::Unknown(why) => Lost::NotSent(why),
        Lost::Busy | Lost::NotSent(_) | Lost::Declined(_) => lost,
    })?;
    if serves(lease, act) {
        return Ok(());
    }
    let message = lease.status().map(|status| status.screen_message.clone()).unwrap_or_default();
    Err(Lost::declined(Reason::NotPossibleOffline, message))
}

fn serves(lease: &Lease<'_>, act: LibraryAct) -> bool {
    let Some(status) = lease.status() else { return false };
    status.online
        && match act {
            LibraryAct::Checkout => status.checkout,
            LibraryAct::Checkin => status.checkin,
            LibraryAct::Renew => status.renewal,
            LibraryAct::PlaceHold
            | LibraryAct::CancelHold
            | LibraryAct::PayFee
            | LibraryAct::GetPatron
            | LibraryAct::EndSession => true,
        }
}

async fn loan_answer(
    lease: &mut Lease<'_>,
    order: &LibraryOrder,
    loan: LoanAnswer,
) -> Result<LibraryAnswer, Lost> {
    // A server that names another item or reader than we asked for has mixed up
    // its answers; one that names none is taken at its word.
    let differs = |named: &str, asked: &str| !named.is_empty() && named != asked;
    if loan.ok && (differs(&loan.item, &order.item) || differs(&loan.patron, &order.patron)) {
        return Err(Lost::Unknown("the answer names another item or reader".into()));
    }
    if !loan.ok {
        return Err(why(lease, order, loan.screen_message).await);
    }
    Ok(LibraryAnswer {
        title: loan.title,
        due_at_ms: loan.due_at_ms,
        screen_message: loan.screen_message,
        ..LibraryAnswer::default()
    })
}

async fn hold(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<LibraryAnswer, Lost> {
    let request = Request::Hold {
        add: order.act == LibraryAct::PlaceHold,
        patron: order.patron.clone(),
        item: order.item.clone(),
        pickup_location: order.pickup_location.clone(),
    };
    match lease.say(&request).await? {
        Response::Hold(answer) if answer.ok => Ok(LibraryAnswer {
            title: answer.title,
            queue_position: answer.queue_position,
            available: answer.available,
            screen_message: answer.screen_message,
            ..LibraryAnswer::default()
        }),
        Response::Hold(answer) => Err(why(lease, order, answer.screen_message).await),
        _ => Err(misfit()),
    }
}

async fn pay(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<LibraryAnswer, Lost> {
    let request = Request::FeePaid {
        patron: order.patron.clone(),
        amount: order.amount.to_string(),
        fee: order.fee.clone(),
        reference: order.transaction.to_string(),
    };
    match lease.say(&request).await? {
        Response::FeePaid { accepted: true, screen_message } => Ok(map::said(screen_message)),
        Response::FeePaid { accepted: false, screen_message } => {
            Err(Lost::declined(Reason::FeeNotAccepted, screen_message))
        }
        _ => Err(misfit()),
    }
}

/// The account with its loans; titles and due dates are looked up one by one, as
/// many as the options allow.
async fn account(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<LibraryAnswer, Lost> {
    let patron = information(lease, &order.patron, Summary::Charged, 1).await?;
    if !patron.status.valid {
        return Err(Lost::declined(Reason::PatronUnknown, patron.status.screen_message));
    }
    let mut account = map::account(&patron)?;
    let detailed = lease.options().loans_detailed_max;
    for (at, id) in patron.charged.into_iter().enumerate() {
        let mut loan = Loan { item: id, ..Loan::default() };
        if at < detailed {
            let item = item(lease, &loan.item).await?;
            loan.title = item.title;
            loan.due_at_ms = item.due_at_ms;
        }
        account.loans.push(loan);
    }
    let mut answer = map::said(patron.status.screen_message);
    answer.account = Some(account);
    Ok(answer)
}

/// Asks reader and item why an act was declined. The decline stands whatever
/// becomes of these questions.
async fn why(lease: &mut Lease<'_>, order: &LibraryOrder, screen_message: String) -> Lost {
    let mut patron: Option<PatronStatus> = None;
    if !order.patron.is_empty() {
        let request = Request::PatronStatus { patron: order.patron.clone() };
        match lease.say(&request).await {
            Ok(Response::PatronStatus(status)) => patron = Some(status),
            Ok(_) | Err(_) => return spoilt(lease, screen_message),
        }
    }
    match item(lease, &order.item).await {
        Ok(item) => Lost::declined(map::reason(order.act, patron.as_ref(), Some(&item)), screen_message),
        Err(_) => spoilt(lease, screen_message),
    }
}

/// A question after a decline went wrong: the decline holds, the connection does
/// not.
fn spoilt(lease: &mut Lease<'_>, screen_message: String) -> Lost {
    lease.close();
    Lost::declined(Reason::LibraryDeclined, screen_message)
}

async fn compare_due(lease: &mut Lease<'_>, order: &LibraryOrder, before: &Before) -> Result<Inquiry, Lost> {
    let item = item(lease, &order.item).await?;
    if !before.observed || before.due_at_ms == 0 || item.due_at_ms == 0 {
        return Ok(Inquiry::CannotTell);
    }
    Ok(if item.due_at_ms > before.due_at_ms { happened(item) } else { Inquiry::DidNotHappen })
}

/// Whether what is owed went down by what was paid. Anything else may have other
/// causes, and money is not guessed at.
fn compare_fees(now: Fen, paid: Fen, before: &Before) -> Inquiry {
    let expected = before.fees.minus(paid);
    if !before.observed {
        Inquiry::CannotTell
    } else if expected == Ok(now) {
        Inquiry::Happened(LibraryAnswer::default())
    } else if now == before.fees {
        Inquiry::DidNotHappen
    } else {
        Inquiry::CannotTell
    }
}

fn happened(item: ItemAnswer) -> Inquiry {
    Inquiry::Happened(LibraryAnswer {
        title: item.title,
        due_at_ms: item.due_at_ms,
        ..LibraryAnswer::default()
    })
}

/// Whether an item is in one of a reader's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
    /// The library states more entries than it lists.
    Unclear,
}

async fn listed(lease: &mut Lease<'_>, order: &LibraryOrder, list: Summary) -> Result<Listed, Lost> {
    let mut seen = 0_u32;
    for page in 0..PAGES_MAX {
        let patron = information(lease, &order.patron, list, 1 + page * PAGE).await?;
        let (items, count) = match list {
            Summary::Charged => (patron.charged, patron.counts[2]),
            Summary::Holds => (patron.holds, patron.counts[0]),
            Summary::UnavailableHolds => (patron.unavailable_holds, patron.counts[5]),
            Summary::None => return Ok(Listed::Unclear),
        };
        if items.contains(&order.item) {
            return Ok(Listed::Yes);
        }
        seen = seen.saturating_add(u32::try_from(items.len()).unwrap_or(u32::MAX));
        if seen >= count {
            return Ok(Listed::No);
        }
        if items.is_empty() {
            return Ok(Listed::Unclear);
        }
    }
    Ok(Listed::Unclear)
}

/// Holds stand in two lists, those ready and those still waited for.
async fn on_hold(lease: &mut Lease<'_>, order: &LibraryOrder) -> Result<Listed, Lost> {
    match listed(lease, order, Summary::Holds).await? {
        Listed::Yes => Ok(Listed::Yes),
        Listed::Unclear => match listed(lease, order, Summary::UnavailableHolds).await? {
            Listed::Yes => Ok(Listed::Yes),
            Listed::No | Listed::Unclear => Ok(Listed::Unclear),
        },
        Listed::No => listed(lease, order, Summary::UnavailableHolds).await,
    }
}

async fn information(
    lease: &mut Lease<'_>,
    patron: &str,
    summary: Summary,
    first: u32,
) -> Result<PatronInformation, Lost> {
    let request =
        Request::PatronInformation { patron: patron.to_owned(), summary, first, last: first + PAGE - 1 };
    match lease.say(&request).await? {
        Response::PatronInformation(patron) => Ok(patron),
        _ => Err(misfit()),
    }
}

async fn item(lease: &mut Lease<'_>, item: &str) -> Result<ItemAnswer, Lost> {
    match lease.say(&Request::Item { item: item.to_owned() }).await? {
        Response::Item(item) => Ok(item),
        _ => Err(misfit()),
    }
}

/// The connection checks the answer's kind before it is read here.
fn misfit() -> Lost {
    Lost::Unknown("an answer of another kind came".into())
}
