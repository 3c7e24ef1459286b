//! What is left of credentials after their use: codes that were scanned, chip
//! relays, sessions. Each refuses a second use until it has expired; some time
//! after that nobody asks for it any more, and its row is removed. The journal
//! keeps what happened. How often we stood in for a card goes when its day is over:
//! what is to be settled of it stands in tasks.

use prost::Message;

use crate::{
    identity::business_day_start_ms,
    limits,
    model::{
        AggregateBody, AggregateKey, AggregateKind, CorruptAggregate, Decision, Millis, Outcome, Subject,
        View, Write,
        record::{ChipSession, CodeUse, HolderSession, StandInFile},
    },
};

/// The kinds whose rows have an end.
pub const SWEPT: [AggregateKind; 4] =
    [CodeUse::KIND, ChipSession::KIND, HolderSession::KIND, StandInFile::KIND];

/// Whether a stored row of one of these kinds may be removed at `now`. A row that
/// cannot be read, or of another kind, may not.
pub fn is_over(kind: AggregateKind, body: &[u8], now: Millis) -> bool {
    let ends = ENDS.iter().find(|ends| ends.kind == kind);
    ends.and_then(|ends| (ends.of)(body)).is_some_and(|end| over(end, now))
}

/// Removes the rows that are over as they stand at commitment. `keeper` seals the
/// names of the rows that are kept sealed; it is no person.
///
/// The unit names the rows.
///
/// # Errors
/// When a row cannot be read.
pub fn sweep(
    view: &View,
    rows: &[AggregateKey],
    keeper: Subject,
    now: Millis,
) -> Result<Decision, CorruptAggregate> {
    let mut decision = Decision::new(Outcome::Approved);
    for row in rows {
        let Some(ends) = ENDS.iter().find(|ends| ends.kind == row.kind) else { continue };
        if (ends.in_view)(view, &row.id)?.is_some_and(|end| over(end, now)) {
            decision.writes.push(Write { key: row.clone(), schema: 1, body: None });
        }
    }
    if decision.writes.iter().any(|write| write.key.kind.is_personal()) {
        decision.subject = Some(keeper);
    }
    Ok(decision)
}

const fn over(expires_at_ms: Millis, now: Millis) -> bool {
    expires_at_ms.saturating_add(limits::SWEPT_AFTER_MS) <= now
}

/// How the end of a row of a kind is read.
struct End {
    kind: AggregateKind,
    of: fn(&[u8]) -> Option<Millis>,
    in_view: fn(&View, &[u8]) -> Result<Option<Millis>, CorruptAggregate>,
}

macro_rules! ends {
    ($($record:ident by $end:expr),*) => {
        &[$(End {
            kind: $record::KIND,
            of: |body| $record::decode(body).ok().and_then($end),
            in_view: |view, id| Ok(view.get::<$record>(id)?.and_then($end)),
        }),*]
    };
}

const ENDS: &[End] = ends!(
    CodeUse by |row| Some(row.expires_at_ms),
    ChipSession by |row| Some(row.expires_at_ms),
    HolderSession by |row| Some(row.expires_at_ms),
    StandInFile by |row| end_of_day(&row.day)
);

/// The first instant after a business date; `None` where the text is none.
fn end_of_day(day: &str) -> Option<Millis> {
    let day: jiff::civil::Date = day.parse().ok()?;
    day.tomorrow().ok().map(business_day_start_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Millis = 1_000;

    fn rows(now: Millis) -> Vec<AggregateKind> {
        let code = CodeUse { expires_at_ms: END, ..CodeUse::default() };
        let chip = ChipSession { expires_at_ms: END, ..ChipSession::default() };
        let held = HolderSession { expires_at_ms: END + 1, ..HolderSession::default() };
        // Its day ends at 16:00 UTC.
        let stood_in = StandInFile { day: "1970-01-01".to_owned(), count: 3, reserved_fen: 0 };
        let view = View::default().holding(&[1], &code).holding(&[2], &chip).holding(&[3], &held);
        let view = view.missing::<CodeUse>(&[4]).holding(&[5], &stood_in);
        let keys = [
            AggregateKey::of::<CodeUse>(&[1]),
            AggregateKey::of::<ChipSession>(&[2]),
            AggregateKey::of::<HolderSession>(&[3]),
            AggregateKey::of::<CodeUse>(&[4]),
            AggregateKey::of::<StandInFile>(&[5]),
        ];
        let decision = sweep(&view, &keys, Subject::from_bytes([9; 16]), now).expect("readable");
        assert!(decision.writes.iter().all(|write| write.body.is_none()));
        let sealed = decision.writes.iter().any(|write| write.key.kind.is_personal());
        assert_eq!(decision.subject.is_some(), sealed);
        for (kind, body) in [
            (SWEPT[0], code.encode_to_vec()),
            (SWEPT[1], chip.encode_to_vec()),
            (SWEPT[3], stood_in.encode_to_vec()),
        ] {
            assert_eq!(is_over(kind, &body, now), decision.writes.iter().any(|write| write.key.kind == kind));
        }
        decision.writes.iter().map(|write| write.key.kind).collect()
    }

    #[test]
    fn a_row_is_removed_some_time_after_its_end_and_not_before() {
        let end = END + limits::SWEPT_AFTER_MS;
        assert_eq!(rows(end - 1), []);
        assert_eq!(rows(end), [AggregateKind::CodeUse, AggregateKind::ChipSession]);
        assert_eq!(rows(end + 1), SWEPT[..3]);
        let day_ends = 16 * 3_600 * 1_000 + limits::SWEPT_AFTER_MS;
        assert_eq!(rows(day_ends - 1), SWEPT[..3]);
        assert_eq!(rows(day_ends), SWEPT);
    }

    #[test]
    fn what_has_no_end_is_never_over() {
        assert!(!is_over(AggregateKind::Card, &[], Millis::MAX));
        assert!(!is_over(AggregateKind::CodeUse, &[0xff], Millis::MAX));
        let no_day = StandInFile { day: "soon".to_owned(), ..StandInFile::default() };
        assert!(!is_over(AggregateKind::StandIn, &no_day.encode_to_vec(), Millis::MAX));
    }
}
