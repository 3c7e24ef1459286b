//! What a counter asks, from the wire to the rules' words. Lengths are those of the
//! national interface.

use super::super::parse::{self, Fields};
use crate::{
    gateway::MedicalAsk,
    limits,
    model::{Fen, TransactionId},
    proto::medical::v1 as wire,
    scenes::medical::{
        Count, InsuranceWish, MedicalOrder, OpenAsk, Price, StepAsk,
        orders::{
            AddFees, Admit, Certificate, CheckEntitlement, Diagnosis, Discharge, FeeLine, File, Purchase,
            Reconcile, RecordVisit, Register,
        },
    },
};

/// Texts of one request, each named when it is wrong.
struct Texts<'a>(&'a mut Fields);

impl Texts<'_> {
    fn required(&mut self, field: &str, value: &str, most: usize) -> String {
        self.0.take(parse::text(field, value, 1, most)).unwrap_or_default()
    }

    fn optional(&mut self, field: &str, value: &str, most: usize) -> String {
        self.0.take(parse::text(field, value, 0, most)).unwrap_or_default()
    }

    fn wish(&mut self, insutype: &str, insured_region: &str) -> InsuranceWish {
        InsuranceWish {
            insutype: self.optional("insutype", insutype, 6),
            insured_region: self.optional("insured_region", insured_region, 6),
        }
    }

    fn visit(&mut self, value: &str) -> Option<TransactionId> {
        let parsed = value.parse().ok();
        if parsed.is_none() {
            self.0.wrong(
                "visit_id",
                "须为就诊登记返回的编号",
                "must be the id that opening the visit answered",
            );
        }
        parsed
    }

    fn not_more<T>(&mut self, field: &str, values: &[T], most: usize) {
        if values.len() > most {
            self.0.wrong(field, &format!("至多 {most} 项"), &format!("must have at most {most} elements"));
        }
    }

    fn diagnoses(&mut self, diagnoses: &[wire::Diagnosis]) -> Vec<Diagnosis> {
        self.not_more("diagnoses", diagnoses, limits::DIAGNOSES_MAX);
        let one = |line: &wire::Diagnosis| Diagnosis {
            kind: self.required("diagnoses.type", &line.r#type, 3),
            order: line.order,
            code: self.required("diagnoses.code", &line.code, 20),
            name: self.required("diagnoses.name", &line.name, 100),
            department: self.optional("diagnoses.department", &line.department, 50),
            doctor_code: self.optional("diagnoses.doctor_code", &line.doctor_code, 30),
            doctor_name: self.optional("diagnoses.doctor_name", &line.doctor_name, 50),
            at_ms: line.at_ms,
            valid: !line.withdrawn,
        };
        diagnoses.iter().map(one).collect()
    }

    fn lines(&mut self, lines: &[wire::FeeLine]) -> Vec<FeeLine> {
        self.not_more("lines", lines, limits::FEE_LINES_PER_CALL_MAX);
        if lines.is_empty() {
            self.0.wrong("lines", "至少一行", "must have at least one line");
        }
        let one = |line: &wire::FeeLine| FeeLine {
            serial: self.required("lines.serial", &line.serial, 30),
            charged_at_ms: line.charged_at_ms,
            catalogue_code: self.required("lines.catalogue_code", &line.catalogue_code, 50),
            institution_code: self.required("lines.institution_code", &line.institution_code, 150),
            sum: Fen::new(line.sum_fen),
            count: Count::from_units(line.count_e4),
            price: Price::from_units(line.price_micro_yuan),
            prescription: self.optional("lines.prescription", &line.prescription, 30),
            outside_prescription: line.outside_prescription,
            department_code: self.optional("lines.department_code", &line.department_code, 30),
            department_name: self.optional("lines.department_name", &line.department_name, 100),
            doctor_code: self.optional("lines.doctor_code", &line.doctor_code, 30),
            doctor_name: self.optional("lines.doctor_name", &line.doctor_name, 50),
            approval: line.approval,
            dose: self.optional("lines.dose", &line.dose, 200),
            frequency: self.optional("lines.frequency", &line.frequency, 200),
            way: self.optional("lines.way", &line.way, 200),
            days_e2: line.days_e2,
        };
        lines.iter().map(one).collect()
    }
}

pub fn read_person(fields: &mut Fields, wire: wire::ReadPersonRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let told = wire.certificate.unwrap_or_default();
    let kind = texts.optional("certificate.type", &told.r#type, 3);
    let least = usize::from(!kind.is_empty());
    let number = texts.0.take(parse::text("certificate.number", &told.number, least, 50)).unwrap_or_default();
    let certificate = Certificate { kind, number, card_sn: String::new() };
    Some(MedicalAsk::ReadPerson { certificate, begins_at_ms: wire.begins_at_ms })
}

pub fn check_entitlement(fields: &mut Fields, wire: wire::CheckEntitlementRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let wish = texts.wish(&wire.insutype, "");
    let order = CheckEntitlement {
        med_type: texts.required("med_type", &wire.med_type, 6),
        begins_at_ms: wire.begins_at_ms,
        disease_code: texts.optional("disease_code", &wire.disease_code, 30),
        disease_name: texts.optional("disease_name", &wire.disease_name, 500),
        ..CheckEntitlement::default()
    };
    Some(MedicalAsk::CheckEntitlement { wish, order })
}

pub fn register(
    fields: &mut Fields,
    registration: Option<wire::Registration>,
    emergency: bool,
) -> Option<MedicalAsk> {
    let Some(wire) = registration else {
        fields.wrong("registration", "缺少登记信息", "is missing");
        return None;
    };
    let mut texts = Texts(fields);
    let wish = texts.wish(&wire.insutype, &wire.insured_region);
    let ask = Register {
        begins_at_ms: wire.begins_at_ms,
        ipt_otp_no: texts.required("registration.ipt_otp_no", &wire.ipt_otp_no, 30),
        doctor_code: texts.required("registration.doctor_code", &wire.doctor_code, 30),
        doctor_name: texts.required("registration.doctor_name", &wire.doctor_name, 50),
        department_code: texts.required("registration.department_code", &wire.department_code, 30),
        department_name: texts.required("registration.department_name", &wire.department_name, 100),
        department_category: texts.required("registration.department_category", &wire.department_category, 6),
        ..Register::default()
    };
    let med_type = texts.required("registration.med_type", &wire.med_type, 6);
    Some(MedicalAsk::Open { ask: OpenAsk::Register { ask, med_type, emergency }, wish })
}

pub fn admit(fields: &mut Fields, wire: wire::AdmitRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let wish = texts.wish(&wire.insutype, &wire.insured_region);
    let admit = Admit {
        med_type: texts.required("med_type", &wire.med_type, 6),
        begins_at_ms: wire.begins_at_ms,
        ipt_otp_no: texts.required("ipt_otp_no", &wire.ipt_otp_no, 30),
        medical_record_number: texts.optional("medical_record_number", &wire.medical_record_number, 30),
        doctor_code: texts.required("doctor_code", &wire.doctor_code, 30),
        doctor_name: texts.required("doctor_name", &wire.doctor_name, 50),
        diagnosis_text: texts.optional("diagnosis_text", &wire.diagnosis_text, 200),
        department_code: texts.required("department_code", &wire.department_code, 30),
        department_name: texts.required("department_name", &wire.department_name, 100),
        bed: texts.optional("bed", &wire.bed, 30),
        contact_name: texts.optional("contact_name", &wire.contact_name, 50),
        contact_phone: texts.optional("contact_phone", &wire.contact_phone, 50),
        emergency: wire.emergency,
        diagnoses: texts.diagnoses(&wire.diagnoses),
        ..Admit::default()
    };
    Some(MedicalAsk::Open { ask: OpenAsk::Admit(admit), wish })
}

pub fn purchase(fields: &mut Fields, wire: wire::PreSettlePurchaseRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let wish = texts.wish(&wire.insutype, &wire.insured_region);
    let med_type = if wire.med_type.is_empty() { "41" } else { &wire.med_type };
    let purchase = Purchase {
        med_type: texts.required("med_type", med_type, 6),
        begins_at_ms: wire.begins_at_ms,
        batch: texts.required("batch", &wire.batch, 30),
        disease_code: texts.optional("disease_code", &wire.disease_code, 30),
        disease_name: texts.optional("disease_name", &wire.disease_name, 500),
        lines: texts.lines(&wire.lines),
        use_account: wire.use_account,
        ..Purchase::default()
    };
    Some(MedicalAsk::Open { ask: OpenAsk::Purchase(purchase), wish })
}

pub fn record_visit(fields: &mut Fields, wire: wire::RecordVisitRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let visit = texts.visit(&wire.visit_id);
    let ask = RecordVisit {
        med_type: texts.optional("med_type", &wire.med_type, 6),
        begins_at_ms: wire.begins_at_ms,
        condition: texts.optional("condition", &wire.condition, 1_000),
        disease_code: texts.optional("disease_code", &wire.disease_code, 30),
        disease_name: texts.optional("disease_name", &wire.disease_name, 500),
        diagnoses: texts.diagnoses(&wire.diagnoses),
        ..RecordVisit::default()
    };
    Some(MedicalAsk::Step { visit: visit?, ask: StepAsk::Record(ask) })
}

pub fn discharge(fields: &mut Fields, wire: wire::DischargeRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let visit = texts.visit(&wire.visit_id);
    let ask = Discharge {
        ends_at_ms: wire.ends_at_ms,
        way: texts.required("way", &wire.way, 3),
        department_code: texts.optional("department_code", &wire.department_code, 30),
        department_name: texts.optional("department_name", &wire.department_name, 100),
        diagnoses: texts.diagnoses(&wire.diagnoses),
        ..Discharge::default()
    };
    Some(MedicalAsk::Step { visit: visit?, ask: StepAsk::Discharge(ask) })
}

pub fn add_fees(fields: &mut Fields, wire: wire::AddFeesRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let visit = texts.visit(&wire.visit_id);
    let ask = AddFees {
        batch: texts.required("batch", &wire.batch, 30),
        disease_code: texts.optional("disease_code", &wire.disease_code, 30),
        lines: texts.lines(&wire.lines),
        ..AddFees::default()
    };
    Some(MedicalAsk::Step { visit: visit?, ask: StepAsk::AddFees(ask) })
}

/// A step that says nothing but which visit, and perhaps a few words.
pub fn step(
    fields: &mut Fields,
    visit: &str,
    words: &[(&str, &str, usize)],
    ask: impl FnOnce() -> StepAsk,
) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let visit = texts.visit(visit);
    for (field, value, most) in words {
        texts.optional(field, value, *most);
    }
    Some(MedicalAsk::Step { visit: visit?, ask: ask() })
}

pub fn get_visit(fields: &mut Fields, wire: &wire::GetVisitRequest) -> Option<MedicalAsk> {
    let visit = Texts(fields).visit(&wire.visit_id);
    Some(MedicalAsk::GetVisit { visit: visit? })
}

pub fn reconcile(
    fields: &mut Fields,
    key: Option<wire::ClearingKey>,
    ours: Option<wire::ClearingTotals>,
    file: Option<&str>,
) -> Option<MedicalAsk> {
    let (Some(key), Some(ours)) = (key, ours) else {
        fields.wrong("key", "缺少对账条件或合计", "key and ours are both needed");
        return None;
    };
    let mut texts = Texts(fields);
    let order = Reconcile {
        insutype: texts.required("key.insutype", &key.insutype, 6),
        clearing_type: texts.required("key.clearing_type", &key.clearing_type, 6),
        office: texts.required("key.office", &key.office, 6),
        from: key.from,
        until: key.until,
        total: Fen::new(ours.total_fen),
        funds: Fen::new(ours.funds_fen),
        account: Fen::new(ours.account_fen),
        cash: Fen::new(ours.cash_fen),
        settlements: ours.settlements,
        file: file.map(|file| texts.required("file", file, 30)).unwrap_or_default(),
    };
    Some(MedicalAsk::Institution(match file {
        Some(_) => MedicalOrder::ReconcileDetails(order),
        None => MedicalOrder::ReconcileTotals(order),
    }))
}

pub fn upload(fields: &mut Fields, wire: wire::UploadFileRequest) -> Option<MedicalAsk> {
    let name = Texts(fields).required("file_name", &wire.file_name, 200);
    if wire.content.is_empty() || wire.content.len() > limits::MEDICAL_FILE_BYTES_MAX {
        fields.wrong("content", "须为 1 至 49152 字节", "must have 1 to 49152 bytes");
    }
    let file = File { file: String::new(), name, content: wire.content };
    Some(MedicalAsk::Institution(MedicalOrder::UploadFile(file)))
}

pub fn download(fields: &mut Fields, wire: &wire::DownloadFileRequest) -> Option<MedicalAsk> {
    let mut texts = Texts(fields);
    let file = File {
        file: texts.required("file", &wire.file, 30),
        name: texts.optional("file_name", &wire.file_name, 200),
        content: Vec::new(),
    };
    Some(MedicalAsk::Institution(MedicalOrder::DownloadFile(file)))
}
