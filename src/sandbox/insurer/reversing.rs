//! 2601: what a message did is undone as if it had never come.

use serde_json::{Value, json};

use super::{
    book::{Ask, Book, Did},
    message::{Fields, No},
};

impl Book {
    /// 2601. A reversal of what has not come yet keeps it from ever being carried out.
    pub(super) fn reverse(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let (msgid, _) = (fields.text("omsgid", 30)?, fields.text("oinfno", 6)?);
        fields.text("psn_no", 30)?;
        if self.refused.contains(&msgid) {
            return Ok(json!({}));
        }
        let did = self.messages.get(&msgid).cloned();
        match did {
            None => {}
            Some(Did::Other) => return Err(No::business("该交易不可冲正")),
            Some(Did::Settled(number)) => {
                if self.settlements.get(&number).is_some_and(|settled| settled.cancelled_by.is_some()) {
                    return Err(No::business("该结算已撤销，不能冲正"));
                }
                self.take_back(&number, None);
                self.settlements.remove(&number);
            }
            Some(Did::Cancelled(number)) => {
                let cancel = self.settlements.get(&number).and_then(|cancel| cancel.cancels.clone());
                if let Some(settled) = cancel {
                    let visit = self.settlements.get(&settled).map(|settled| settled.visit.clone());
                    let settled_anew = visit
                        .and_then(|visit| self.visits.get(&visit))
                        .is_some_and(|it| it.settled.is_some());
                    if settled_anew {
                        return Err(No::business("就诊已重新结算，不能冲正"));
                    }
                    self.settlements.remove(&number);
                    self.give_again(&settled);
                }
            }
            Some(Did::Admitted(visit)) => {
                let is_used = |visit: &super::book::Visit| visit.settled.is_some() || !visit.lines.is_empty();
                if self.visits.get(&visit).is_some_and(is_used) {
                    return Err(No::business("住院已有费用，不能冲正"));
                }
                self.visits.remove(&visit);
            }
        }
        self.refused.insert(msgid);
        Ok(json!({}))
    }
}
