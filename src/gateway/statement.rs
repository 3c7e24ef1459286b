//! The daily statement of a participant, from the balances that the store folds.

use jiff::civil::Date;

use super::{Gateway, Refusal};
use crate::{
    ledger::{
        statement::{DayBalance, Statement, accounts_of, statement},
        window::Window,
    },
    limits,
    model::{Fen, ParticipantId},
};

impl Gateway {
    /// What was owed to a participant when a business day began, what moved, what
    /// is owed at its end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn statement(&self, participant: &ParticipantId, window: Window) -> Result<Statement, Refusal> {
        let accounts = accounts_of(participant);
        let balances = self.store.balances(&accounts, Date::MIN..=window.date()).await?;
        let balances: Vec<_> = balances
            .into_iter()
            .map(|one| DayBalance {
                account: one.account,
                window: Window::on(one.date),
                debit: Fen::new(one.debit_fen),
                credit: Fen::new(one.credit_fen),
                count: one.count,
            })
            .collect();
        // What was committed in the last moment of a day may still be on its way.
        let settled = Window::of(self.now_ms() - limits::WINDOW_SETTLES_MS);
        statement(participant, window, &balances, settled).map_err(|error| {
            tracing::error!(%participant, %error, "a statement cannot be made");
            Refusal::internal()
        })
    }
}
