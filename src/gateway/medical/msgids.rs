//! Makes msgids: unique for the institution, in the time of China.

use std::sync::{Mutex, PoisonError};

use crate::{
    model::Millis,
    scenes::medical::{BadMsgId, MsgId},
};

/// Numbers the messages of one process. A process begins with the second after its
/// start, so that one that was restarted within a second repeats nothing.
#[derive(Debug)]
pub struct MsgIds {
    /// The second that was numbered last, and its last sequence.
    last: Mutex<(i64, u32)>,
}

impl MsgIds {
    pub(in crate::gateway) fn starting(now: Millis) -> Self {
        MsgIds { last: Mutex::new((now.div_euclid(1_000), MsgId::PER_SECOND - 1)) }
    }

    /// The next msgid. When a second's sequences are spent the next second's are used.
    ///
    /// # Errors
    /// An institution code that is none.
    pub(in crate::gateway) fn next(&self, institution: &str, now: Millis) -> Result<MsgId, BadMsgId> {
        let (second, sequence) = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = now.div_euclid(1_000);
            *last = match *last {
                (second, _) if second < now => (now, 0),
                (second, sequence) if sequence + 1 < MsgId::PER_SECOND => (second, sequence + 1),
                (second, _) => (second + 1, 0),
            };
            *last
        };
        MsgId::at(institution, second * 1_000, sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn msgids_are_unique_in_a_rush_and_over_a_restart() {
        let now = 1_795_369_440_500;
        let (before, after) = (MsgIds::starting(now), MsgIds::starting(now + 2_000));
        let mut seen = HashSet::new();
        for _ in 0..15_000 {
            assert!(seen.insert(before.next("H11010500001", now).expect("well formed")));
        }
        for _ in 0..100 {
            assert!(seen.insert(after.next("H11010500001", now + 2_000).expect("well formed")));
        }
    }

    #[test]
    fn a_msgid_tells_chinas_time() {
        let ids = MsgIds::starting(0);
        let told = ids.next("H11010500001", 1_795_369_440_500).expect("well formed");
        assert_eq!(told.as_str(), "H11010500001202611230144000000");
    }
}
