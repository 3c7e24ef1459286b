//! Reason codes: why a request was declined or refused. Stable, bilingual, one
//! table; the API, the journal, the metrics and the documents share it.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident $code:literal $zh:literal $en:literal;)*) => {
        /// Why the answer is no. The code is stable for ever; the texts are for
        /// people.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason there is, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The stable code, for example `CARD_LOST`.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$variant => $code,)* }
            }

            /// For a person who reads Chinese.
            pub const fn zh(self) -> &'static str {
                match self { $(Reason::$variant => $zh,)* }
            }

            /// For a person who reads English.
            pub const fn en(self) -> &'static str {
                match self { $(Reason::$variant => $en,)* }
            }

            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Reason::$variant),)* _ => None }
            }
        }
    };
}

reasons! {
    // The card.
    CardUnknown "CARD_UNKNOWN" "未找到该卡" "no such card is known in its home region";
    CardNotActivated "CARD_NOT_ACTIVATED" "卡片尚未启用，请先激活" "the card has not been activated; activate it first";
    CardLost "CARD_LOST" "卡片已挂失，请到服务网点办理" "the card is reported lost; please go to a service outlet";
    CardTemporarilyLost "CARD_TEMPORARILY_LOST" "卡片已临时挂失，可申请解挂" "the card is temporarily reported lost; the holder may lift it";
    CardLocked "CARD_LOCKED" "卡片应用已锁定，请到柜台解锁" "the card's application is locked; unlock it at a counter";
    CardCancelled "CARD_CANCELLED" "卡片已注销" "the card has been cancelled";
    CardExpired "CARD_EXPIRED" "卡片已过有效期" "the card is past its validity";
    HolderErased "HOLDER_ERASED" "该持卡人的资料已清除，卡片不再可用" "the holder's data was erased; the card is of no more use";
    LossIsFinal "LOSS_IS_FINAL" "正式挂失不能解除，请补办新卡" "a formal loss cannot be lifted; apply for a new card";
    NotLost "NOT_LOST" "卡片未处于临时挂失状态" "the card is not temporarily lost";
    StateUnchanged "STATE_UNCHANGED" "卡片状态不允许该操作" "the card's state does not allow this change";

    // Credentials.
    MacWrong "MAC_WRONG" "交易验证码错误" "the message authentication code does not fit the tap";
    CounterReplayed "COUNTER_REPLAYED" "交易计数器重复，疑似重放" "the card's counter was seen before; this looks like a replay";
    ChipNotGenuine "CHIP_NOT_GENUINE" "内部认证失败，卡片非真卡" "internal authentication failed; the chip is not genuine";
    ChipDataDiffers "CHIP_DATA_DIFFERS" "卡面信息与登记信息不一致" "what the card says differs from the register";
    SessionUnknown "SESSION_UNKNOWN" "会话不存在或不属于本终端" "the session does not exist or belongs to another terminal";
    SessionExpired "SESSION_EXPIRED" "会话已过期，请重新认证" "the session has expired; authenticate again";
    SessionUsed "SESSION_USED" "会话已使用，请重新认证" "the session was used already; authenticate again";
    CodeMalformed "CODE_MALFORMED" "二维码无法识别" "the code cannot be read";
    CodeSignatureWrong "CODE_SIGNATURE_WRONG" "二维码签名无效" "the code's signature is not that of its region";
    CodeExpired "CODE_EXPIRED" "二维码已过期，请刷新" "the code has expired; refresh it";
    CodeNotYetValid "CODE_NOT_YET_VALID" "二维码时间异常，请校准时钟" "the code lies in the future; a clock is wrong";
    CodeUsed "CODE_USED" "二维码已被使用，请刷新" "the code was scanned already; refresh it";
    DocumentUnknown "DOCUMENT_UNKNOWN" "未找到该证件对应的持卡人" "no holder is registered under this document";
    DocumentMismatch "DOCUMENT_MISMATCH" "证件号码与姓名不一致" "the document's number and name do not belong together";
    DocumentTriesExceeded "DOCUMENT_TRIES_EXCEEDED" "证件核验未通过次数过多，请稍后再试" "too many documents did not match; wait and try again";
    DocumentTaken "DOCUMENT_TAKEN" "该证件已登记在另一持卡人名下" "the document is registered for another holder";
    AssuranceTooLow "ASSURANCE_TOO_LOW" "认证级别不足，请使用更高级别的认证方式" "this scene needs a stronger authentication";

    // Transit.
    StationUnknown "STATION_UNKNOWN" "车站不在票价表中" "the station is not in the fare table";
    NoEntry "NO_ENTRY" "无进站记录，请到客服中心补登" "there is no entry record; see the service desk";
    EntryOpen "ENTRY_OPEN" "上次行程未出站，请到客服中心处理" "the last journey has no exit; see the service desk";
    RideTooLong "RIDE_TOO_LONG" "乘车超时，请到客服中心处理" "the ride exceeded the time limit; see the service desk";
    TapOutOfOrder "TAP_OUT_OF_ORDER" "刷卡时间早于进站时间" "the tap is older than the entry it would close";
    TapTooOld "TAP_TOO_OLD" "离线交易超过可受理期限" "the offline tap is older than can be accepted";
    NoFare "NO_FARE" "两站之间没有票价" "the table has no fare between these stations";

    // Library.
    LibraryUnknown "LIBRARY_UNKNOWN" "未找到该图书馆" "no such library is connected";
    ItemUnknown "ITEM_UNKNOWN" "馆藏中没有该文献" "the library does not know this item";
    PatronUnknown "PATRON_UNKNOWN" "图书馆没有该读者" "the library does not know this reader";
    PatronBlocked "PATRON_BLOCKED" "读者证受限，请咨询图书馆" "the reader may not do this now; ask the library";
    ItemNotAvailable "ITEM_NOT_AVAILABLE" "该文献当前不可外借" "the item cannot be lent now";
    LibraryDeclined "LIBRARY_DECLINED" "图书馆未受理" "the library declined";
    NotPossibleOffline "BACKEND_OFFLINE" "图书馆系统暂不可用，请稍后再试" "the library's system does not serve this now; try later";
    FeeNotAccepted "FEE_NOT_ACCEPTED" "费用未被受理" "the payment was not accepted";

    // Medical.
    InstitutionUnknown "INSTITUTION_UNKNOWN" "该参与方不是已配置的定点医药机构" "the participant is no configured medical institution";
    InsurerUnknown "INSURER_UNKNOWN" "参保地没有可用的医保线路" "no line leads to the insurer of that region";
    InsurerRefused "INSURER_REFUSED" "医保系统未受理，详见医保返回信息" "the insurer refused; its message says why";
    InsurerSumsWrong "INSURER_SUMS_WRONG" "医保返回金额不平，未采用" "the insurer's amounts do not add up and were not taken";
    PersonNotRead "PERSON_NOT_READ" "请先读取人员信息（1101）" "read the person first (1101)";
    PersonDiffers "PERSON_DIFFERS" "医保返回的人员与持卡人不一致" "the insurer's person is not the holder of the card";
    InsuranceMissing "INSURANCE_MISSING" "没有适用于该医疗类别的有效参保" "the holder has no insurance in force that fits this kind of care";
    InsuranceAmbiguous "INSURANCE_AMBIGUOUS" "有多个可用参保，请指定险种或参保地" "several insurances fit; name the kind or the region";
    MedTypeUnknown "MED_TYPE_UNKNOWN" "医疗类别未配置或不适用于该步骤" "the kind of care is not configured, or not of this step";
    VisitUnknown "VISIT_UNKNOWN" "未找到该就诊" "the participant has no such visit";
    VisitStepPending "VISIT_STEP_PENDING" "该就诊上一步结果待确认，请稍后" "a step of this visit has no outcome yet; wait for it";
    VisitCancelled "VISIT_CANCELLED" "该就诊已撤销，请重新登记" "the visit was cancelled; register again";
    VisitDischarged "VISIT_DISCHARGED" "该患者已出院" "the patient has been discharged";
    VisitSettled "VISIT_SETTLED" "该就诊已结算，请先撤销结算" "the visit is settled; cancel the settlement first";
    VisitNotRecorded "VISIT_NOT_RECORDED" "请先上传就诊信息（2203）" "record the visit first (2203)";
    FeesMissing "FEES_MISSING" "请先上传费用明细（2204、2301）" "add fees first (2204, 2301)";
    FeesStand "FEES_STAND" "请先撤销费用明细（2205、2302）" "cancel the fees first (2205, 2302)";
    NotPreSettled "NOT_PRE_SETTLED" "请先预结算（2206、2303）" "pre-settle first (2206, 2303)";
    NotSettled "NOT_SETTLED" "请先结算（2207、2304、2102）" "settle first (2207, 2304, 2102)";
    StepNotOfVisit "STEP_NOT_OF_VISIT" "该步骤不适用于此类就诊" "this kind of visit has no such step";
    SettlementDiffers "SETTLEMENT_DIFFERS" "金额与最近一次预结算不一致，请重新预结算" "the amounts are not those of the last pre-settlement; pre-settle again";
    FeeSerialUsed "FEE_SERIAL_USED" "费用明细流水号在本次就诊中重复" "a fee line's serial is used twice in the visit";
    FeeSumWrong "FEE_SUM_WRONG" "明细金额不等于数量乘单价（四舍五入到分）" "a fee line's amount is not count times price, rounded half up to the fen";
    FeeLinesExceeded "FEE_LINES_EXCEEDED" "本次就诊费用明细超过上限" "the visit has more fee lines than it may";
    BatchUnknown "BATCH_UNKNOWN" "未找到该收费批次" "the visit has no such batch of fees";
    BatchOpen "BATCH_OPEN" "门诊就诊已有一个收费批次，请先结算或撤销" "the visit has a batch of fees already; settle or cancel it first";
    CancelAtInsurer "CANCEL_AT_INSURER" "医保结算须通过撤销结算办理" "a medical settlement is taken back by cancelling it, not by a refund";

    // Money that was reserved or taken.
    NothingReserved "NOTHING_RESERVED" "该交易没有有效的预授权" "nothing is reserved under this transaction";
    ReservationExpired "RESERVATION_EXPIRED" "预授权已到期" "the reservation has expired";
    AmountExceedsReservation "AMOUNT_EXCEEDS_RESERVATION" "金额超过预授权金额" "the amount is more than was reserved";
    NothingCaptured "NOTHING_CAPTURED" "该交易没有可退的金额" "nothing was taken under this transaction, or all of it was given back";
    AmountExceedsCapture "AMOUNT_EXCEEDS_CAPTURE" "退款超过可退金额" "the amount is more than is left of what was taken";
    AlreadyReversed "ALREADY_REVERSED" "该交易已冲正" "the transaction was reversed already";
    ReversedBeforeArrival "REVERSED_BEFORE_ARRIVAL" "该请求到达前已被冲正，未予办理" "the request was taken back before it came; nothing was done";
    CapExceeded "CAP_EXCEEDED" "超过当日限额" "a daily limit would be exceeded";
    // Outcomes and the way.
    BackendUnavailable "BACKEND_UNAVAILABLE" "业务系统暂不可用，请稍后再试" "the service's system is not available; try later";
    OutcomePending "OUTCOME_PENDING" "结果待确认，请稍后查询" "the outcome is not known yet; ask again later";
    OutcomeReversed "OUTCOME_REVERSED" "结果无法确认，已冲正" "the outcome could not be established; the transaction was reversed";
    HomeRegionUnavailable "HOME_REGION_UNAVAILABLE" "发卡地系统暂不可达" "the card's home region cannot be reached";
    StandInLimit "STAND_IN_LIMIT" "发卡地暂不可达，当日代受理已达上限" "the card's home region cannot be reached, and no more can be accepted for it today";
    HomeRegionOnly "HOME_REGION_ONLY" "该业务须在发卡地办理" "this is done in the card's home region only";

    // Reconciliation.
    CaseUnknown "CASE_UNKNOWN" "未找到该差错" "there is no such exception";
    CaseClosed "CASE_CLOSED" "该差错已处理" "the exception is resolved already";

    // Refusals: the call was not understood or not allowed.
    FieldInvalid "FIELD_INVALID" "请求字段有误" "a field of the request is not valid";
    SequenceMisused "SEQUENCE_MISUSED" "该流水号已用于另一笔刷卡" "the sequence was used for another tap";
    RequestIdMisused "REQUEST_ID_MISUSED" "请求编号已用于其他请求" "the request id was used for another request";
    CertificateUnknown "CERTIFICATE_UNKNOWN" "证书未登记" "the certificate belongs to no registered terminal";
    SceneNotPermitted "SCENE_NOT_PERMITTED" "该终端无权使用此场景" "this terminal may not use this scene";
    RoleNotPermitted "ROLE_NOT_PERMITTED" "该参与方无权调用此方法" "this participant may not call this method";
    PurposeMissing "PURPOSE_MISSING" "请求未说明用途" "the request states no purpose";
    PurposeNotPermitted "PURPOSE_NOT_PERMITTED" "该场景不接受此用途" "this scene does not accept this purpose";
    TerminalClockWrong "TERMINAL_CLOCK_WRONG" "终端时钟偏差过大，请校时" "the terminal's clock is too far off; set it";
    RateExceeded "RATE_EXCEEDED" "请求过于频繁，请稍后再试" "too many requests; wait and try again";
    Overloaded "OVERLOADED" "系统繁忙，请稍后再试" "the gateway is busy; wait and try again";
    DeadlineMet "DEADLINE_MET" "处理超时，请以原请求编号重试" "the deadline passed; retry under the same request id";
    TransactionUnknown "TRANSACTION_UNKNOWN" "未找到该交易" "the participant has no such transaction";
    JournalStopped "JOURNAL_STOPPED" "账本暂停写入，请稍后重试" "the journal has stopped; nothing is acknowledged until it is read back";
    PeerNotTrusted "PEER_NOT_TRUSTED" "对端报文未通过验证" "the peer's message is not signed, fresh and for this region";
    Internal "INTERNAL" "系统内部错误" "an error inside the gateway; it has been logged";
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_is_unique_and_found_again() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
        assert_eq!(Reason::from_code("NO_SUCH"), None);
    }
}
