//! What is left of credentials after their use: codes that were scanned, chip
//! relays, sessions. Each refuses a second use until it has expired; some time
//! after that nobody asks for it any more, and its row is removed. The journal
//! keeps what happened.

use prost::Message;

use crate::{
    limits,
    model::{
        AggregateBody, AggregateKey, AggregateKind, CorruptAggregate, Decision, Millis, Outcome, Subject,
        View, Write,
        record::{ChipSession, CodeUse, HolderSession},
    },
};

/// The kinds whose rows have an end.
pub const SWEPT: [AggregateKind; 3] = [CodeUse::KIND, ChipSession::KIND, HolderSession::KIND];

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
    ($($record:ident),*) => {
        &[$(End {
            kind: $record::KIND,
            of: |body| $record::decode(body).ok().map(|row| row.expires_at_ms),
            in_view: |view, id| Ok(view.get::<$record>(id)?.map(|row| row.expires_at_ms)),
        }),*]
    };
}

const ENDS: &[End] = ends!(CodeUse, ChipSession, HolderSession);

#[cfg(test)]
mod tests {
    use super::*;

    const END: Millis = 1_000;

    fn rows(now: Millis) -> Vec<AggregateKind> {
        let code = CodeUse { expires_at_ms: END, ..CodeUse::default() };
        let chip = ChipSession { expires_at_ms: END, ..ChipSession::default() };
        let held = HolderSession { expires_at_ms: END + 1, ..HolderSession::default() };
        let view = View::default().holding(&[1], &code).holding(&[2], &chip).holding(&[3], &held);
        let view = view.missing::<CodeUse>(&[4]);
        let keys = [
            AggregateKey::of::<CodeUse>(&[1]),
            AggregateKey::of::<ChipSession>(&[2]),
            AggregateKey::of::<HolderSession>(&[3]),
            AggregateKey::of::<CodeUse>(&[4]),
        ];
        let decision = sweep(&view, &keys, Subject::from_bytes([9; 16]), now).expect("readable");
        assert!(decision.writes.iter().all(|write| write.body.is_none()));
        let sealed = decision.writes.iter().any(|write| write.key.kind.is_personal());
        assert_eq!(decision.subject.is_some(), sealed);
        for (kind, body) in [(SWEPT[0], code.encode_to_vec()), (SWEPT[1], chip.encode_to_vec())] {
            assert_eq!(is_over(kind, &body, now), decision.writes.iter().any(|write| write.key.kind == kind));
        }
        decision.writes.iter().map(|write| write.key.kind).collect()
    }

    #[test]
    fn a_row_is_removed_some_time_after_its_end_and_not_before() {
        let end = END + limits::SWEPT_AFTER_MS;
        assert_eq!(rows(end - 1), []);
        assert_eq!(rows(end), [AggregateKind::CodeUse, AggregateKind::ChipSession]);
        assert_eq!(rows(end + 1), SWEPT);
    }

    #[test]
    fn what_has_no_end_is_never_over() {
        assert!(!is_over(AggregateKind::Card, &[], Millis::MAX));
        assert!(!is_over(AggregateKind::CodeUse, &[0xff], Millis::MAX));
    }
}
