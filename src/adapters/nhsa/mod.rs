//! The national medical insurance interface over HTTP and JSON: implements the port
//! of `scenes/medical` (facts/domain.md §3).
//!
//! * [`options`]: what is configured for an insurer's platform, its variants included;
//! * `envelope`: the message around an input and an answer around an output;
//! * `line`: the connection pool, timeouts, what a failure means;
//! * `write`: which input an order becomes;
//! * `read`: what an output means to the scene;
//! * `sign_in`: 9001 by itself, once an institution and day.
//!
//! What must stay true: an order is sent once. Whatever cannot be read as an answer to
//! it is "unknown", and the scene inquires or reverses; nothing is retried but a read,
//! and an order that the platform refused for want of a sign-in.

mod envelope;
mod line;
pub mod options;
mod read;
mod sign_in;
#[cfg(test)]
mod tests;
mod write;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tracing::Instrument as _;

pub use self::options::{BadNhsaOptions, MessageSignature, NhsaOptions};
use self::{envelope::Answered, line::Line, sign_in::SignIns};
use super::{
    CallEnd, Observer,
    gate::{Gate, Health},
};
use crate::{
    crypto::KeyVault,
    model::{BreakerState, Clock, Rng},
    scenes::medical::{
        Effect, Inquiry, MedicalAct, MedicalAnswer, MedicalOrder, MedicalPort, NotSent, OpenOrder, PortError,
        Refused, Reversal, Said, Sender, SystemFailed, Unknown, fits, orders::VisitRef,
    },
};

/// A line to one platform. Cheap to clone.
#[derive(Clone)]
pub struct NhsaAdapter {
    inner: Arc<Inner>,
}

struct Inner {
    /// Code of the platform in the configuration.
    code: String,
    line: Line,
    gate: Gate,
    sign_ins: SignIns,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// What a platform needs beside its options.
#[derive(Clone)]
pub struct NhsaParts {
    /// Signs messages where the options want SM2.
    pub vault: Arc<dyn KeyVault>,
    pub clock: Arc<dyn Clock>,
    pub rng: Arc<dyn Rng>,
    pub observer: Arc<dyn Observer>,
}

impl NhsaAdapter {
    /// An adapter for the platform `code`. Opens no connection yet.
    ///
    /// # Errors
    /// When the options contradict themselves or a secret is not where they say.
    pub fn new(code: &str, options: NhsaOptions, parts: NhsaParts) -> Result<Self, BadNhsaOptions> {
        let NhsaParts { vault, clock, rng, observer } = parts;
        let gate = Gate::new(code, options.breaker.clone(), clock.clone(), observer.clone());
        let sign_ins = SignIns::new(options.sign_in.clone());
        let line = Line::new(code, options, vault, clock.clone(), rng)?;
        Ok(NhsaAdapter {
            inner: Arc::new(Inner { code: code.to_owned(), line, gate, sign_ins, clock, observer }),
        })
    }

    /// Whether calls pass.
    pub fn breaker_state(&self) -> BreakerState {
        self.inner.gate.state()
    }

    /// Whether this adapter was made from the same options.
    pub fn is_as(&self, options: &NhsaOptions) -> bool {
        self.inner.line.options() == options
    }
}

impl Inner {
    /// One transaction through the gate, told to the observer.
    async fn ask(
        &self,
        sender: &Sender,
        act: MedicalAct,
        input: serde_json::Value,
        within: Duration,
    ) -> Result<Answered, PortError> {
        let trace = sender.trace_id.map(hex::encode);
        let infno = act.infno();
        let span = tracing::info_span!("nhsa", platform = %self.code, infno, trace_id = trace);
        let began = self.clock.now_ms();
        let got = self.admitted(sender, act, input, within).instrument(span).await;
        let took = Duration::from_millis(u64::try_from(self.clock.now_ms() - began).unwrap_or(0));
        let (end, why) = match &got {
            Ok(_) => (CallEnd::Answered, None),
            Err(PortError::Refused(_)) => (CallEnd::Declined, None),
            Err(PortError::NotSent(NotSent { why })) => (CallEnd::NotSent, Some(why.as_str())),
            Err(PortError::Unknown(Unknown { why })) => (CallEnd::Unknown, Some(why.as_str())),
            Err(PortError::SystemFailed(_)) => (CallEnd::Unknown, Some("infcode -1")),
        };
        if let Some(why) = why {
            let (platform, transaction) = (&self.code, &sender.transaction);
            let end = end.name();
            tracing::warn!(%platform, %transaction, infno, end, why, "The insurer's platform did not answer.");
        }
        self.observer.called(&self.code, act.word(), end, took);
        got
    }

    async fn admitted(
        &self,
        sender: &Sender,
        act: MedicalAct,
        input: serde_json::Value,
        within: Duration,
    ) -> Result<Answered, PortError> {
        let until = tokio::time::Instant::now() + within;
        let pass = self.gate.admit().map_err(|resting| NotSent { why: resting.to_string() })?;
        let patient = within >= self.line.patience(act);
        let is_read = act.effect() == Effect::Read;
        let mut got = self.signed_in(sender, act, &input, until).await;
        let may_repeat = match &got {
            Err(PortError::NotSent(_)) => true,
            Err(PortError::Unknown(_) | PortError::SystemFailed(_)) => is_read,
            Err(PortError::Refused(_)) | Ok(_) => false,
        };
        if may_repeat && tokio::time::Instant::now() < until && self.gate.may_repeat() {
            got = self.signed_in(sender, act, &input, until).await;
        }
        pass.report(match &got {
            Ok(_) | Err(PortError::Refused(_)) => Health::Well,
            Err(_) if patient => Health::Sick,
            Err(_) => Health::Unclear,
        });
        // A read whose answer was lost changed nothing.
        match got {
            Err(PortError::Unknown(Unknown { why })) if is_read => Err(NotSent { why }.into()),
            got => got,
        }
    }

    /// The transaction under the institution's sign-in; signed in anew once where the
    /// platform says that the old one is over.
    async fn signed_in(
        &self,
        sender: &Sender,
        act: MedicalAct,
        input: &serde_json::Value,
        until: tokio::time::Instant,
    ) -> Result<Answered, PortError> {
        if act == MedicalAct::SignIn || !self.sign_ins.are_needed() {
            let got = self.line.send(sender, act, "", input, until).await;
            if let (MedicalAct::SignIn, Ok(answered)) = (act, &got) {
                self.sign_ins.learn(sender, answered, self.clock.now_ms());
            }
            return got;
        }
        let number = self.sign_ins.number(&self.line, sender, until, self.clock.now_ms()).await?;
        let got = self.line.send(sender, act, &number, input, until).await;
        match got {
            // Refused means that nothing was done, so it may be sent again.
            Err(PortError::Refused(refused)) if self.sign_ins.is_over(&refused) => {
                self.sign_ins.forget(sender, &number);
                let number = self.sign_ins.number(&self.line, sender, until, self.clock.now_ms()).await?;
                self.line.send(sender, act, &number, input, until).await
            }
            got => {
                if act == MedicalAct::SignOut && got.is_ok() {
                    self.sign_ins.forget(sender, &number);
                }
                got
            }
        }
    }

    async fn call(
        &self,
        sender: Sender,
        order: MedicalOrder,
        within: Duration,
    ) -> Result<MedicalAnswer, PortError> {
        let act = order.act();
        let input = write::input(&order, &sender, self.line.options());
        let answered = self.ask(&sender, act, input, within).await?;
        let said = read::said(&order, &sender, &answered, self.line.options())
            .filter(|said| fits(act, said))
            .ok_or_else(|| unread(act, "the answer is not one to this message"))?;
        Ok(MedicalAnswer { said, message: answered.warning, reference: answered.reference })
    }

    async fn inquire(&self, sender: Sender, open: OpenOrder, within: Duration) -> Result<Inquiry, PortError> {
        let is_settlement =
            matches!(open.act, MedicalAct::Settle | MedicalAct::SettleStay | MedicalAct::SettlePurchase);
        if !is_settlement || open.mdtrt_id.is_empty() || !self.line.options().inquires_by_visit {
            return Ok(Inquiry::CannotTell);
        }
        let visit = VisitRef {
            psn_no: open.psn_no.clone(),
            mdtrt_id: open.mdtrt_id.clone(),
            ipt_otp_no: open.ipt_otp_no.clone(),
        };
        let input = write::inquiry(&visit);
        let answered = match self.ask(&sender, MedicalAct::InquireSettlement, input, within).await {
            Ok(answered) => answered,
            // No settlement of that visit.
            Err(PortError::Refused(_)) => return Ok(Inquiry::NotFound),
            Err(other) => return Err(other),
        };
        let options = self.line.options();
        let Some(info) = read::settlement(&answered.output, options) else { return Ok(Inquiry::CannotTell) };
        // Whose settlement it is, the sender's number says; without it nobody knows.
        if info.sender_msgid.is_empty() {
            return Ok(Inquiry::CannotTell);
        }
        if info.sender_msgid != open.msgid.as_str() || info.mdtrt_id != open.mdtrt_id {
            return Ok(Inquiry::NotFound);
        }
        let said = Said::Settlement(Box::new(info));
        Ok(Inquiry::Happened(MedicalAnswer {
            said,
            message: answered.warning,
            reference: answered.reference,
        }))
    }

    async fn reverse(
        &self,
        sender: Sender,
        open: OpenOrder,
        within: Duration,
    ) -> Result<Reversal, PortError> {
        let options = self.line.options();
        let input = write::reversal(&open, &options.infno(open.act));
        match self.ask(&sender, MedicalAct::Reverse, input, within).await {
            Ok(_) => Ok(Reversal::TakenBack),
            Err(PortError::Refused(refused)) if options.says_nothing_there(&refused.message) => {
                Ok(Reversal::NothingThere)
            }
            Err(other) => Err(other),
        }
    }
}

impl MedicalPort for NhsaAdapter {
    fn call(
        &self,
        sender: Sender,
        order: MedicalOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<MedicalAnswer, PortError>> {
        Box::pin(self.inner.call(sender, order, within))
    }

    fn inquire(
        &self,
        sender: Sender,
        open: OpenOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<Inquiry, PortError>> {
        Box::pin(self.inner.inquire(sender, open, within))
    }

    fn reverse(
        &self,
        sender: Sender,
        open: OpenOrder,
        within: Duration,
    ) -> BoxFuture<'_, Result<Reversal, PortError>> {
        Box::pin(self.inner.reverse(sender, open, within))
    }
}

/// An answer came that is none to this message.
fn unread(act: MedicalAct, why: &str) -> PortError {
    let why = why.to_owned();
    match act.effect() {
        Effect::Read => NotSent { why }.into(),
        Effect::Change => Unknown { why }.into(),
    }
}

/// A refusal with the platform's own words.
fn refused(code: &str, message: &str) -> PortError {
    Refused { code: code.to_owned(), message: message.to_owned() }.into()
}

/// infcode −1.
fn system_failed(message: &str) -> PortError {
    SystemFailed { message: message.to_owned() }.into()
}
