//! The life of a transaction: which status may follow which. One table that the
//! store enforces, docs/lifecycle.md prints and the tests walk.
//!
//! A unit may do several steps that nobody waits between in one entry, which then
//! names the last: a tap is received, authorised and completed in one commit. The
//! table is about entries, so it lets a transaction begin at any of them.

use super::Status;

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// `None`: the first entry of a transaction.
    pub from: Option<Status>,
    pub to: Status,
    pub when_zh: &'static str,
    pub when_en: &'static str,
}

macro_rules! transitions {
    ($($from:tt => $to:ident $zh:literal $en:literal;)*) => {
        /// Every legal transition; what is not here is a fault of the program.
        pub const TRANSITIONS: &[Transition] = &[$(
            Transition {
                from: transitions!(@from $from),
                to: Status::$to,
                when_zh: $zh,
                when_en: $en,
            },
        )*];
    };
    (@from nothing) => { None };
    (@from $from:ident) => { Some(Status::$from) };
}

transitions! {
    nothing => Received "已受理，尚未授权" "taken in, not authorised yet";
    nothing => Authorised "一步完成受理和授权" "taken in and authorised in one step";
    nothing => Reserved "预授权：金额已冻结" "an amount is reserved";
    nothing => Completed "一步完成" "done in one step";
    nothing => Declined "规则不允许" "a rule said no";
    nothing => Pending "后台尚未答复" "a backend has not said";
    nothing => Reversed "请求未到，先行冲正" "taken back before the request came";
    Received => Authorised "通过授权" "allowed";
    Received => Reserved "金额已冻结" "an amount is reserved";
    Received => Completed "完成" "done";
    Received => Declined "规则不允许" "a rule said no";
    Received => Pending "后台尚未答复" "a backend has not said";
    Authorised => Reserved "金额已冻结" "an amount is reserved";
    Authorised => Completed "完成" "done";
    Authorised => Declined "后台不受理" "a backend said no";
    Authorised => Pending "后台尚未答复" "a backend has not said";
    Authorised => Reversed "授权撤销" "the authorisation is taken back";
    Reserved => Reserved "后续请求被拒绝，冻结不变" "a later request was declined; the reservation stands";
    Reserved => Completed "请款，余额解冻" "captured; what is left over is released";
    Reserved => Pending "请款结果待确认" "the capture's outcome is not known";
    Reserved => Reversed "解冻，或预授权到期" "released, or expired by itself";
    Pending => Pending "查询无果，稍后再查" "an inquiry could not tell; asked again later";
    Pending => Completed "查明已完成" "found to have happened";
    Pending => Declined "后台不受理" "a backend said no";
    Pending => Reversed "无法确认，已冲正" "could not be established, or did not happen: reversed";
    Completed => Completed "退款，或更正请求被拒绝" "refunded, or a correction was declined";
    Completed => Reversed "已冲正" "reversed";
    Declined => Declined "无可更正，请求被拒绝" "a correction found nothing to correct";
    Reversed => Reversed "已冲正，后续请求被拒绝" "reversed already; a later request was declined";
}

/// Whether an entry with status `to` may follow one with `from`; `None` for the
/// first entry of a transaction.
pub fn may_follow(from: Option<Status>, to: Status) -> bool {
    TRANSITIONS.iter().any(|legal| legal.from == from && legal.to == to)
}

/// The table as docs/lifecycle.md has it.
pub fn markdown() -> String {
    let mut text = String::from("| from | to | when | 何时 |\n| --- | --- | --- | --- |\n");
    for Transition { from, to, when_zh, when_en } in TRANSITIONS {
        let from = from.map_or("–", Status::name);
        text.push_str(&format!("| {from} | {} | {when_en} | {when_zh} |\n", to.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_comes_twice() {
        for (at, line) in TRANSITIONS.iter().enumerate() {
            let again =
                TRANSITIONS[at + 1..].iter().any(|other| (other.from, other.to) == (line.from, line.to));
            assert!(!again, "{line:?} stands twice");
        }
    }

    #[test]
    fn what_is_final_moves_only_by_a_correction() {
        for status in Status::ALL {
            let leads: Vec<_> =
                TRANSITIONS.iter().filter(|line| line.from == Some(*status)).map(|line| line.to).collect();
            let expected: &[Status] = match status {
                Status::Completed => &[Status::Completed, Status::Reversed],
                Status::Declined => &[Status::Declined],
                Status::Reversed => &[Status::Reversed],
                Status::Pending | Status::Received | Status::Authorised | Status::Reserved => {
                    assert!(!status.is_final());
                    assert!(leads.iter().any(|to| to.is_final()), "{status:?} must have an end");
                    continue;
                }
            };
            assert!(status.is_final());
            assert_eq!(leads, expected, "{status:?}");
        }
    }

    #[test]
    fn every_status_can_be_reached_and_nothing_leads_back() {
        for status in Status::ALL {
            assert!(TRANSITIONS.iter().any(|line| line.to == *status), "{status:?}");
        }
        assert!(!may_follow(Some(Status::Completed), Status::Pending));
        assert!(!may_follow(Some(Status::Declined), Status::Completed));
    }

    #[test]
    fn the_document_has_the_table_of_the_code() {
        let document = include_str!("../../docs/lifecycle.md");
        assert!(document.contains(&markdown()), "docs/lifecycle.md should contain:\n{}", markdown());
    }
}
