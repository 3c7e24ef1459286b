//! An insurer that does what a test tells it.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use futures_util::future::BoxFuture;

use crate::scenes::medical::{
    Inquiry, MedicalAnswer, MedicalOrder, MedicalPolicy, MedicalPort, OpenOrder, PortError, Reversal, Sender,
};

/// An insurer that answers as it was told, in order, and remembers what it was asked.
#[derive(Default)]
pub struct FakeInsurer {
    pub answers: Mutex<VecDeque<Result<MedicalAnswer, PortError>>>,
    pub inquiries: Mutex<VecDeque<Result<Inquiry, PortError>>>,
    pub reversals: Mutex<VecDeque<Result<Reversal, PortError>>>,
    pub called: Mutex<Vec<(Sender, MedicalOrder)>>,
    pub reversed: Mutex<Vec<OpenOrder>>,
}

impl MedicalPort for FakeInsurer {
    fn call(
        &self,
        sender: Sender,
        order: MedicalOrder,
        _: Duration,
    ) -> BoxFuture<'_, Result<MedicalAnswer, PortError>> {
        self.called.lock().expect("no panic").push((sender, order));
        let answer = self.answers.lock().expect("no panic").pop_front();
        Box::pin(async move { answer.expect("the test says what the insurer answers") })
    }

    fn inquire(&self, _: Sender, _: OpenOrder, _: Duration) -> BoxFuture<'_, Result<Inquiry, PortError>> {
        let found = self.inquiries.lock().expect("no panic").pop_front();
        Box::pin(async move { found.expect("the test says what the insurer finds") })
    }

    fn reverse(&self, _: Sender, open: OpenOrder, _: Duration) -> BoxFuture<'_, Result<Reversal, PortError>> {
        self.reversed.lock().expect("no panic").push(open);
        let said = self.reversals.lock().expect("no panic").pop_front();
        Box::pin(async move { said.expect("the test says what a reversal brings") })
    }
}

/// One institution and one insurer.
pub fn medical_policy() -> MedicalPolicy {
    let mut policy: MedicalPolicy = toml::from_str(
        r#"
        [[institution]]
        participant = "clinic"
        code = "H11010500001"
        name = "样例医院"
        region = "110105"
        insurer = "insurer"
        "#,
    )
    .expect("a policy");
    policy.codes = toml::from_str(include_str!("../../../config/codes/medical.toml")).expect("code tables");
    policy.check().expect("right");
    policy
}
