//! The books of the simulated library, in both senses.

use std::collections::{BTreeMap, VecDeque};

use super::{
    IlsOptions, fault,
    talk::{Heard, Reply, date},
};

/// An item of the catalogue.
#[derive(Debug, Clone)]
pub struct Book {
    pub item: String,
    pub title: String,
}

/// A reader.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    pub number: String,
    pub name: String,
    /// What is owed, fen.
    pub fees_fen: i64,
    /// May not borrow.
    pub blocked: bool,
}

#[derive(Debug, Clone)]
struct Loan {
    reader: String,
    due_ms: i64,
    renewals: u32,
}

#[derive(Debug, Default)]
struct Item {
    title: String,
    loan: Option<Loan>,
    holds: VecDeque<String>,
    moves: Moves,
}

/// How often an item has gone out and come back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moves {
    pub lent: u32,
    pub returned: u32,
}

/// Everything the library knows.
pub(super) struct Library {
    readers: BTreeMap<String, Reader>,
    items: BTreeMap<String, Item>,
    pub(super) online: bool,
    pub(super) lends: bool,
}

impl Library {
    pub(super) fn new(options: &IlsOptions) -> Self {
        let item = |book: &Book| (book.item.clone(), Item { title: book.title.clone(), ..Item::default() });
        let reader = |reader: &Reader| (reader.number.clone(), reader.clone());
        Library {
            readers: options.readers.iter().map(reader).collect(),
            items: options.books.iter().map(item).collect(),
            online: true,
            lends: true,
        }
    }

    /// Who has an item.
    pub(super) fn holder_of(&self, item: &str) -> Option<String> {
        self.items.get(item)?.loan.as_ref().map(|loan| loan.reader.clone())
    }

    /// What the library itself has counted of an item.
    pub(super) fn moves_of(&self, item: &str) -> Moves {
        self.items.get(item).map_or(Moves::default(), |item| item.moves)
    }

    /// What a reader owes, fen.
    pub(super) fn owes(&self, reader: &str) -> Option<i64> {
        self.readers.get(reader).map(|reader| reader.fees_fen)
    }

    pub(super) fn reader_mut(&mut self, number: &str) -> Option<&mut Reader> {
        self.readers.get_mut(number)
    }

    /// Carries a request out and answers it. `None` for a kind not known here.
    pub(super) fn answer(&mut self, heard: &Heard, options: &IlsOptions) -> Option<Reply> {
        let now = options.clock.now_ms();
        let item = heard.field("AB");
        if fault::of_item(item, 0).is_some() && !self.items.contains_key(item) {
            self.items.insert(item.to_owned(), Item { title: "故障演练".into(), ..Item::default() });
        }
        let patron = heard.field("AA");
        if options.enrols && !patron.is_empty() && !self.readers.contains_key(patron) {
            self.enrol(patron);
        }
        Some(match heard.code.as_str() {
            "99" => self.status(options, now),
            "23" => self.patron("24", heard, options, now, ""),
            "63" => self.information(heard, options, now),
            "11" => self.checkout(heard, options, now),
            "09" => self.checkin(heard, options, now),
            "29" => self.renew(heard, options, now),
            "15" => self.hold(heard, options, now),
            "17" => self.item(heard, now),
            "35" => Reply::new("36Y").raw(&date(now)).field("AO", &options.institution).field("AA", patron),
            "37" => self.pay(heard, options, now),
            _ => return None,
        })
    }

    fn enrol(&mut self, number: &str) {
        let fits = (4..=64).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits {
            let blocked = number.starts_with("BLOCKED-");
            let reader =
                Reader { number: number.to_owned(), name: "沙箱读者".into(), fees_fen: 0, blocked };
            self.readers.insert(number.to_owned(), reader);
        }
    }

    fn status(&self, options: &IlsOptions, now: i64) -> Reply {
        let flag = |on: bool| if on { "Y" } else { "N" };
        let resend = flag(options.answers_resend);
        // The timeout is padded with blanks, as some real servers write it.
        Reply::new("98")
            .raw(flag(self.online))
            .raw("Y")
            .raw(flag(self.online && self.lends))
            .raw("YNY 30003")
            .raw(&date(now))
            .raw("2.00")
            .field("AO", &options.institution)
            .field("AM", &options.name)
            .field("BX", &format!("YYYNY{resend}YYYYYNNYYN"))
            .field("ZZ", "a field nobody knows")
    }

    fn loans_of(&self, reader: &str) -> Vec<(&String, &Loan)> {
        self.items
            .iter()
            .filter_map(|(id, item)| Some((id, item.loan.as_ref().filter(|loan| loan.reader == reader)?)))
            .collect()
    }

    fn holds_of(&self, reader: &str) -> Vec<&String> {
        self.items
            .iter()
            .filter(|(_, item)| item.holds.iter().any(|number| number == reader))
            .map(|(id, _)| id)
            .collect()
    }

    /// 24, or 64 with counts between.
    fn patron(&self, code: &str, heard: &Heard, options: &IlsOptions, now: i64, counts: &str) -> Reply {
        let number = heard.field("AA");
        let known = self.readers.get(number);
        let barred = known.is_none_or(|reader| reader.blocked);
        let flags = if barred { "YYYY          " } else { "              " };
        let fees = known.map_or(0, |reader| reader.fees_fen);
        Reply::new(code)
            .raw(flags)
            .raw("019")
            .raw(&date(now))
            .raw(counts)
            .field("AO", &options.institution)
            .field("AA", number)
            .field("AE", known.map_or("", |reader| reader.name.as_str()))
            .field("BL", if known.is_some() { "Y" } else { "N" })
            .field("BH", "CNY")
            .field("BV", &format!("{}.{:02}", fees / 100, fees % 100))
            .field("AF", if known.is_some() { "" } else { "没有该读者" })
    }

    fn information(&self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let number = heard.field("AA");
        let (loans, holds) = (self.loans_of(number), self.holds_of(number));
        let overdue = loans.iter().filter(|(_, loan)| loan.due_ms < now).count();
        let (ready, waiting): (Vec<_>, Vec<_>) =
            holds.into_iter().partition(|id| self.items[*id].loan.is_none());
        let counts = format!("{:04}{overdue:04}{:04}00000000{:04}", ready.len(), loans.len(), waiting.len());
        let mut reply = self.patron("64", heard, options, now, &counts);
        let summary = heard.fixed(21, 10);
        let first: usize = heard.field("BP").parse().unwrap_or(1).max(1);
        let last: usize = heard.field("BQ").parse().unwrap_or(usize::MAX);
        let page = |count: usize| (first.min(count + 1) - 1)..last.min(count).max(first.min(count + 1) - 1);
        let (tag, list): (&str, Vec<&String>) = match summary.find('Y') {
            Some(0) => ("AS", ready),
            Some(2) => ("AU", loans.into_iter().map(|(id, _)| id).collect()),
            Some(5) => ("CD", waiting),
            Some(_) | None => return reply,
        };
        for id in &list[page(list.len())] {
            reply = reply.field(tag, id);
        }
        reply
    }

    fn checkout(&mut self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let (number, id) = (heard.field("AA"), heard.field("AB"));
        let loans = self.loans_of(number).len();
        let due_ms = now + options.loan_days * 86_400_000;
        let refusal = match (self.readers.get(number), self.items.get(id)) {
            (_, None) => {
                // Nothing but a text: that is how some servers answer.
                return Reply::new("120NUN").raw(&date(now)).field("AF", "馆藏中没有该文献");
            }
            (None, _) => Some("没有该读者"),
            (Some(reader), _) if reader.blocked => Some("读者证受限"),
            (_, Some(item)) if item.loan.is_some() => Some("已借出"),
            (_, Some(item)) if item.holds.front().is_some_and(|first| first != number) => {
                Some("已被其他读者预约")
            }
            _ if loans >= options.loans_max => Some("已达可借册数"),
            _ => None,
        };
        let ok = refusal.is_none() && self.lends && self.online;
        let mut title = String::new();
        if let Some(item) = self.items.get_mut(id) {
            title.clone_from(&item.title);
            if ok {
                item.holds.retain(|waiting| waiting != number);
                item.loan = Some(Loan { reader: number.to_owned(), due_ms, renewals: 0 });
                item.moves.lent += 1;
            }
        }
        Reply::new(if ok { "121NNY" } else { "120NUN" })
            .raw(&date(now))
            .field("AO", &options.institution)
            .field("AA", number)
            .field("AB", id)
            .field("AJ", &title)
            .field("AH", &if ok { date(due_ms) } else { String::new() })
            .field("AF", refusal.unwrap_or(if ok { "借阅成功" } else { "系统离线" }))
    }

    fn checkin(&mut self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let id = heard.field("AB");
        let Some(item) = self.items.get_mut(id) else {
            return Reply::new("100NUN")
                .raw(&date(now))
                .field("AO", &options.institution)
                .field("AB", id)
                .field("AF", "馆藏中没有该文献");
        };
        item.moves.returned += u32::from(item.loan.take().is_some());
        let waited_for = !item.holds.is_empty();
        Reply::new(if waited_for { "101YNY" } else { "101YNN" })
            .raw(&date(now))
            .field("AO", &options.institution)
            .field("AB", id)
            .field("AQ", "总馆")
            .field("AJ", &item.title)
            .field("AF", if waited_for { "有读者预约，请交工作人员" } else { "归还成功" })
    }

    fn renew(&mut self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let (number, id) = (heard.field("AA"), heard.field("AB"));
        let (mut ok, mut due_ms, mut title) = (false, 0, String::new());
        if let Some(item) = self.items.get_mut(id) {
            title.clone_from(&item.title);
            let waited_for = !item.holds.is_empty();
            if let Some(loan) = item.loan.as_mut().filter(|loan| loan.reader == number) {
                ok = loan.renewals < options.renewals_max && !waited_for;
                if ok {
                    loan.renewals += 1;
                    loan.due_ms += options.loan_days * 86_400_000;
                }
                due_ms = loan.due_ms;
            }
        }
        Reply::new(if ok { "301YNN" } else { "300NUN" })
            .raw(&date(now))
            .field("AO", &options.institution)
            .field("AA", number)
            .field("AB", id)
            .field("AJ", &title)
            .field("AH", &if due_ms > 0 { date(due_ms) } else { String::new() })
            .field("AF", if ok { "续借成功" } else { "不能续借" })
    }

    fn hold(&mut self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let (number, id) = (heard.field("AA"), heard.field("AB"));
        let adds = heard.fixed(0, 1) == "+";
        let known = self.readers.get(number).is_some_and(|reader| !reader.blocked);
        let (mut ok, mut available, mut position, mut title) = (false, false, 0, String::new());
        if let Some(item) = self.items.get_mut(id) {
            title.clone_from(&item.title);
            let waits = item.holds.iter().any(|waiting| waiting == number);
            ok = known && waits != adds;
            match (ok, adds) {
                (true, true) => item.holds.push_back(number.to_owned()),
                (true, false) => item.holds.retain(|waiting| waiting != number),
                (false, _) => {}
            }
            position = if ok && adds { item.holds.len() } else { 0 };
            available = ok && adds && position == 1 && item.loan.is_none();
        }
        Reply::new(if ok { "161" } else { "160" })
            .raw(if available { "Y" } else { "N" })
            .raw(&date(now))
            .field("BR", &position.to_string())
            .field("AO", &options.institution)
            .field("AA", number)
            .field("AB", id)
            .field("AJ", &title)
            .field("AF", if ok { "已办理" } else { "不能办理" })
    }

    fn item(&self, heard: &Heard, now: i64) -> Reply {
        let id = heard.field("AB");
        let Some(item) = self.items.get(id) else {
            return Reply::new("18010001")
                .raw(&date(now))
                .field("AB", id)
                .field("AJ", "")
                .field("AF", "馆藏中没有该文献");
        };
        let status = match (&item.loan, item.holds.is_empty()) {
            (Some(_), _) => "04",
            (None, true) => "03",
            (None, false) => "08",
        };
        let due = item.loan.as_ref().map_or(String::new(), |loan| date(loan.due_ms));
        Reply::new("18")
            .raw(status)
            .raw("0001")
            .raw(&date(now))
            .field("CF", &item.holds.len().to_string())
            .field("AH", &due)
            .field("AB", id)
            .field("AJ", &item.title)
            .field("AQ", "总馆")
    }

    fn pay(&mut self, heard: &Heard, options: &IlsOptions, now: i64) -> Reply {
        let number = heard.field("AA");
        let amount = amount(heard.field("BV"));
        let ok = match (self.readers.get_mut(number), amount) {
            (Some(reader), Some(fen)) if fen > 0 && fen <= reader.fees_fen => {
                reader.fees_fen -= fen;
                true
            }
            _ => false,
        };
        Reply::new(if ok { "38Y" } else { "38N" })
            .raw(&date(now))
            .field("AO", &options.institution)
            .field("AA", number)
            .field("AF", if ok { "缴费成功" } else { "金额有误" })
    }
}

/// `12.50` as fen.
fn amount(text: &str) -> Option<i64> {
    let (yuan, fen) = text.split_once('.')?;
    let whole: i64 = yuan.parse().ok()?;
    (fen.len() == 2).then_some(())?;
    Some(whole * 100 + fen.parse::<i64>().ok()?)
}
