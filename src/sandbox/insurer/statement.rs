//! The day's reconciliation: 3201 by totals, 3202 line by line over a file of 9101,
//! whose result 9102 gives back as a zip.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, Write as _},
};

use serde_json::{Value, json};

use super::{
    book::{Ask, Book, Settlement},
    decimal::{self, MONEY_PLACES},
    message::{Fields, No, stamp},
    settling::{clr_type, day_of},
};

/// A file of an institution.
#[derive(Debug, Clone)]
pub(super) struct Uploaded {
    pub(super) institution: String,
    pub(super) name: String,
    pub(super) bytes: Vec<u8>,
}

/// Longest file that is taken, unpacked.
const FILE_MAX: u64 = 16 * 1_024 * 1_024;

/// Columns of the detail file, in order.
const COLUMNS: [&str; 7] =
    ["setl_id", "mdtrt_id", "psn_no", "medfee_sumamt", "fund_pay_sumamt", "acct_pay", "refd_setl_flag"];

/// A line of either side: fen, and whether it is a cancellation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figures {
    total: i64,
    fund: i64,
    account: i64,
    is_refund: bool,
}

impl Book {
    /// 3201.
    pub(super) fn total_statement(&self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        let (kind, clearing) = (fields.text("insutype", 6)?, fields.text("clr_type", 30)?);
        let ours: Vec<Figures> = self
            .of_period(ask, fields)?
            .filter(|(_, settled)| settled.insurance.kind == kind && clr_type(settled.care) == clearing)
            .map(|(_, settled)| self.figures(settled))
            .collect();
        let sum = |of: fn(&Figures) -> i64| ours.iter().map(of).sum::<i64>();
        let count: i64 = fields.text("fixmedins_setl_cnt", 10)?.parse().unwrap_or(-1);
        let differs: Vec<String> = [
            ("医疗费总额", fields.money("medfee_sumamt")?, sum(|it| it.total)),
            ("基金支付总额", fields.money("fund_pay_sumamt")?, sum(|it| it.fund)),
            ("个人账户支付", fields.money("acct_pay")?, sum(|it| it.account)),
            ("结算笔数", count, i64::try_from(ours.len()).unwrap_or(i64::MAX)),
        ]
        .into_iter()
        .filter(|(_, theirs, ours)| theirs != ours)
        .map(|(name, theirs, ours)| format!("{name}不符(机构{theirs},中心{ours})"))
        .collect();
        let result = if differs.is_empty() { self.match_value.as_str() } else { "1" };
        let told: String = differs.join(";").chars().take(200).collect();
        Ok(json!({ "stmtinfo": {
            "setl_optins": fields.text("setl_optins", 6)?, "stmt_rslt": result, "stmt_rslt_dscr": told,
        } }))
    }

    /// 9101: `in` has the bytes as numbers; a zip is unpacked.
    pub(super) fn upload(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &["fsUploadIn"]);
        let name = fields.text("filename", 200)?;
        let numbers = fields.raw("in").as_array().ok_or_else(|| No::business("in应为字节数组"))?;
        // Bytes of other systems may be signed.
        let byte = |value: &Value| value.as_i64().and_then(|number| u8::try_from(number & 0xff).ok());
        let bytes: Option<Vec<u8>> = numbers.iter().map(byte).collect();
        let bytes = bytes.ok_or_else(|| No::business("in应为字节数组"))?;
        let bytes = if bytes.starts_with(b"PK") { unzip(bytes)? } else { bytes };
        let query = format!("F{:019}", self.number());
        let institution = ask.message.institution.clone();
        let told = json!({
            "file_qury_no": query, "filename": name, "fixmedins_code": institution,
            "dld_endtime": stamp(ask.now_ms + 86_400_000, "%Y-%m-%d %H:%M:%S"),
        });
        self.files.insert(query, Uploaded { institution, name, bytes });
        Ok(told)
    }

    /// 9102: the file, zipped.
    pub(super) fn download(&self, ask: Ask<'_>) -> Result<Vec<u8>, No> {
        let fields = Fields::of(&ask.message.input, &["fsDownloadIn"]);
        let query = fields.text("file_qury_no", 30)?;
        let file = self
            .files
            .get(&query)
            .filter(|file| file.institution == ask.message.institution)
            .ok_or_else(|| No::business("未查到文件"))?;
        zip(&file.name, &file.bytes).ok_or_else(|| No::System("文件压缩失败".into()))
    }

    /// 3202.
    pub(super) fn detail_statement(&mut self, ask: Ask<'_>) -> Result<Value, No> {
        let fields = Fields::of(&ask.message.input, &[]);
        fields.text("setl_optins", 6)?;
        for name in ["medfee_sumamt", "fund_pay_sumamt", "cash_payamt"] {
            fields.money(name)?;
        }
        let query = fields.text("file_qury_no", 30)?;
        let file = self
            .files
            .get(&query)
            .filter(|file| file.institution == ask.message.institution)
            .ok_or_else(|| No::business("未查到文件"))?;
        let theirs = lines_of(&file.bytes)?;
        let name = file.name.clone();
        let mut ours: BTreeMap<String, (Figures, &Settlement)> = self
            .of_period(ask, fields)?
            .map(|(number, settled)| (number.clone(), (self.figures(settled), settled)))
            .collect();
        let mut found = String::new();
        for (number, visit, person, figures) in theirs {
            let why = match ours.remove(&number) {
                Some((same, _)) if same == figures => continue,
                Some((_, settled)) => ("2", settled.msgid.clone(), "金额不一致"),
                None => ("3", String::new(), "中心无此结算"),
            };
            found += &result_line(&person, &visit, &number, why, figures.is_refund);
        }
        for (number, (figures, settled)) in ours {
            let why = ("1", settled.msgid.clone(), "机构无此结算");
            found += &result_line(&settled.person, &settled.visit, &number, why, figures.is_refund);
        }
        let result = format!("F{:019}", self.number());
        let filename = format!("result-{name}");
        let institution = ask.message.institution.clone();
        let told = json!({ "fileinfo": {
            "file_qury_no": result, "filename": filename,
            "dld_endtime": stamp(ask.now_ms + 86_400_000, "%Y-%m-%d %H:%M:%S"),
        } });
        self.files.insert(result, Uploaded { institution, name: filename, bytes: found.into_bytes() });
        Ok(told)
    }

    /// Settlements of the institution within `stmt_begndate` and `stmt_enddate`.
    fn of_period<'a>(
        &'a self,
        ask: Ask<'a>,
        fields: Fields<'_>,
    ) -> Result<impl Iterator<Item = (&'a String, &'a Settlement)>, No> {
        let (from, to) = (fields.text("stmt_begndate", 19)?, fields.text("stmt_enddate", 19)?);
        let (from, to) = (from.chars().take(10).collect::<String>(), to.chars().take(10).collect::<String>());
        Ok(self.settlements.iter().filter(move |(_, settled)| {
            let day = day_of(settled.at_ms);
            settled.institution == ask.message.institution && from <= day && day <= to
        }))
    }

    fn figures(&self, settled: &Settlement) -> Figures {
        let shares = &settled.shares;
        let family = if self.family_inside { shares.family } else { 0 };
        Figures {
            total: shares.bill.amount,
            fund: shares.fund(),
            account: shares.account + family,
            is_refund: settled.cancels.is_some(),
        }
    }
}

fn result_line(
    person: &str,
    visit: &str,
    number: &str,
    (result, msgid, memo): (&str, String, &str),
    is_refund: bool,
) -> String {
    format!("{person}\t{visit}\t{number}\t{msgid}\t{result}\t{}\t{memo}\r\n", u8::from(is_refund))
}

type TheirLine = (String, String, String, Figures);

/// Lines of an uploaded file: columns by tabs, no head.
fn lines_of(bytes: &[u8]) -> Result<Vec<TheirLine>, No> {
    let text = std::str::from_utf8(bytes).map_err(|_| No::business("文件应为UTF-8文本"))?;
    let line = |(at, line): (usize, &str)| {
        let wrong = || No::business(format!("文件第{}行应有{}列", at + 1, COLUMNS.len()));
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [number, visit, person, total, fund, account, refund] = columns[..] else { return Err(wrong()) };
        let money = |text: &str| decimal::read(&text.into(), MONEY_PLACES).ok_or_else(wrong);
        let figures = Figures {
            total: money(total)?,
            fund: money(fund)?,
            account: money(account)?,
            is_refund: refund == "1",
        };
        Ok((number.to_owned(), visit.to_owned(), person.to_owned(), figures))
    };
    text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()).map(line).collect()
}

fn zip(name: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.start_file(name, zip::write::SimpleFileOptions::default()).ok()?;
    writer.write_all(bytes).ok()?;
    Some(writer.finish().ok()?.into_inner())
}

fn unzip(bytes: Vec<u8>) -> Result<Vec<u8>, No> {
    let wrong = |_| No::business("文件不是可用的zip");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(wrong)?;
    let file = archive.by_index(0).map_err(wrong)?;
    let mut unpacked = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut unpacked).map_err(|_| No::business("文件不是可用的zip"))?;
    Ok(unpacked)
}
