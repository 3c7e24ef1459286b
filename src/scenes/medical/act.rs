//! The transactions of the national medical insurance interface that this scene
//! uses.

macro_rules! acts {
    ($($(#[$doc:meta])* $variant:ident $infno:literal $effect:ident;)*) => {
        /// A transaction of the interface. Its number (infno) is in the journal for ever;
        /// on the wire it is a text, because deployed systems add letters to it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum MedicalAct {
            $($(#[$doc])* $variant,)*
        }

        impl MedicalAct {
            /// Every act, in the order of their numbers.
            pub const ALL: &'static [MedicalAct] = &[$(MedicalAct::$variant,)*];

            /// infno
            pub const fn infno(self) -> u32 {
                match self { $(MedicalAct::$variant => $infno,)* }
            }

            /// One word, for metrics.
            pub const fn word(self) -> &'static str {
                match self { $(MedicalAct::$variant => stringify!($variant),)* }
            }

            /// The act of a journalled number.
            pub const fn from_infno(infno: u32) -> Option<Self> {
                match infno { $($infno => Some(MedicalAct::$variant),)* _ => None }
            }

            /// What a call of it leaves at the insurer.
            pub const fn effect(self) -> Effect {
                match self { $(MedicalAct::$variant => Effect::$effect,)* }
            }
        }
    };
}

/// What a call leaves at the insurer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Nothing: it may be asked again, and needs no intent in the journal.
    Read,
    /// Something stands there after it: intent first, and its outcome must be found
    /// out.
    Change,
}

acts! {
    ReadPerson 1101 Read;
    CheckEntitlement 2001 Read;
    PreSettlePurchase 2101 Change;
    SettlePurchase 2102 Change;
    CancelPurchase 2103 Change;
    Register 2201 Change;
    CancelRegistration 2202 Change;
    RecordVisit 2203 Change;
    AddFees 2204 Change;
    CancelFees 2205 Change;
    PreSettle 2206 Read;
    Settle 2207 Change;
    CancelSettlement 2208 Change;
    AddStayFees 2301 Change;
    CancelStayFees 2302 Change;
    PreSettleStay 2303 Read;
    SettleStay 2304 Change;
    CancelStaySettlement 2305 Change;
    Admit 2401 Change;
    Discharge 2402 Change;
    /// Takes another transaction back, by its msgid and infno.
    Reverse 2601 Change;
    ReconcileTotals 3201 Read;
    ReconcileDetails 3202 Read;
    InquireSettlement 5203 Read;
    SignIn 9001 Read;
    SignOut 9002 Read;
    UploadFile 9101 Read;
    DownloadFile 9102 Read;
}

impl MedicalAct {
    /// What 2601 takes back, by the sources; configured,
    /// because deployed systems differ.
    pub const REVERSIBLE: &'static [MedicalAct] = &[
        MedicalAct::SettlePurchase,
        MedicalAct::CancelPurchase,
        MedicalAct::Settle,
        MedicalAct::CancelSettlement,
        MedicalAct::SettleStay,
        MedicalAct::CancelStaySettlement,
        MedicalAct::Admit,
    ];

    /// Whether its answer is a settlement whose sums must hold.
    pub const fn answers_sums(self) -> bool {
        matches!(
            self,
            MedicalAct::PreSettlePurchase
                | MedicalAct::SettlePurchase
                | MedicalAct::CancelPurchase
                | MedicalAct::PreSettle
                | MedicalAct::Settle
                | MedicalAct::CancelSettlement
                | MedicalAct::PreSettleStay
                | MedicalAct::SettleStay
                | MedicalAct::CancelStaySettlement
        )
    }
}

impl MedicalAct {
    /// Whether it takes a settlement back.
    pub const fn is_cancellation(self) -> bool {
        matches!(
            self,
            MedicalAct::CancelPurchase | MedicalAct::CancelSettlement | MedicalAct::CancelStaySettlement
        )
    }
}
