//! A fare table, ready to answer: what a ride costs.

use std::{collections::HashMap, ops::Range};

use smallvec::SmallVec;

use super::{
    fares::{FareFault, FareNotice, SectionText, Settle, TableText},
    lines::{Line, parse_lines},
    network::{Network, Ride, StationIx},
    rule::{Overtime, Rule},
};
use crate::model::{Fen, Millis};

/// A table with its network.
#[derive(Debug)]
pub struct FareTable {
    name: Box<str>,
    label: Box<str>,
    valid: Range<Millis>,
    transfers: bool,
    sections: Vec<Section>,
    parts: Vec<Part>,
    part_of_line: HashMap<Box<str>, usize>,
    unfinished: Option<(i64, Settle)>,
    notices: Vec<FareNotice>,
}

/// Lines with one price rule.
#[derive(Debug)]
struct Section {
    name: Box<str>,
    rule: Rule,
    stay: Option<(i64, Overtime)>,
    free_ms: i64,
    pays_percent: u32,
}

/// Stations a ride can join: a whole section, or one route where routes are apart.
#[derive(Debug)]
struct Part {
    section: usize,
    network: Network,
}

/// Where a tap may have been: one place, or several when a gate names no line and
/// stations of its name lie in several sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(SmallVec<[(usize, StationIx); 2]>);

/// What a ride costs: `amount = fare + surcharge - discount`, none negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quote {
    pub fare: Fen,
    pub surcharge: Fen,
    pub discount: Fen,
    pub amount: Fen,
    /// What the fare rests on; figures it does not rest on are 0.
    pub measured: Ride,
}

/// No ride joins these stations: they lie behind different gates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no fare between these stations")]
pub struct NoFareBetween;

/// The ride took longer than the section allows, and its rule is to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ridden for {ridden_ms} ms, at most {limit_ms} ms")]
pub struct StayTooLong {
    pub ridden_ms: i64,
    pub limit_ms: i64,
}

/// Why a ride has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteDeclined {
    #[error(transparent)]
    NoFareBetween(#[from] NoFareBetween),
    #[error(transparent)]
    StayTooLong(#[from] StayTooLong),
}

impl FareTable {
    /// The table's name, the same in every version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and version, as they stand on a charge.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// When rides begin that this table prices.
    pub fn valid(&self) -> Range<Millis> {
        self.valid.clone()
    }

    /// What should be known of it: unverified rules, placeholders, parts.
    pub fn notices(&self) -> &[FareNotice] {
        &self.notices
    }

    /// Where a tap was, or `None` when the table knows no such place. `line` may be
    /// empty where lines are joined by transfers.
    pub fn place(&self, line: &str, station: &str) -> Option<Places> {
        let places: SmallVec<_> = if line.is_empty() {
            let parts = if self.transfers { &self.parts[..] } else { &[] };
            let found = |(at, part): (usize, &Part)| Some((at, part.network.find(station, None)?));
            parts.iter().enumerate().filter_map(found).collect()
        } else {
            let at = *self.part_of_line.get(line)?;
            self.parts[at].network.find(station, Some(line)).map(|ix| (at, ix)).into_iter().collect()
        };
        (!places.is_empty()).then_some(Places(places))
    }

    /// What a ride costs that took `ridden_ms` from gate to gate. When both ends
    /// fit several sections, the one listed first in the table counts.
    ///
    /// # Errors
    /// When no ride joins the places, or it took too long.
    pub fn quote(&self, from: &Places, to: &Places, ridden_ms: i64) -> Result<Quote, QuoteDeclined> {
        let joined = from.0.iter().find_map(|(part, a)| {
            let (_, b) = to.0.iter().find(|(other, _)| other == part)?;
            Some((&self.parts[*part], *a, *b))
        });
        let (part, a, b) = joined.ok_or(NoFareBetween)?;
        let ride = part.network.shortest(a, b).ok_or(NoFareBetween)?;
        let section = &self.sections[part.section];
        if a == b && ridden_ms <= section.free_ms {
            return Ok(Quote::default());
        }
        Ok(section.quote(ride, section.surcharge(ridden_ms)?))
    }

    /// The price at boarding, for a table whose fare is taken there.
    pub fn boarding(&self) -> Option<Quote> {
        let section = self.sections.first()?;
        section.rule.is_boarding().then(|| section.quote(Ride { metres: 0, intervals: 0 }, Fen::ZERO))
    }

    /// For so long the next entry is refused while a ride has no exit.
    pub fn unfinished_refused_ms(&self) -> i64 {
        self.unfinished.map_or(0, |(refused_ms, _)| refused_ms)
    }

    /// What a ride costs that has no exit, and the station it is charged to where
    /// the rule names one. `None` when it is forgiven.
    pub fn settle(&self, from: &Places) -> Option<(Quote, Option<&str>)> {
        let (_, settle) = self.unfinished?;
        let (part, station) = from.0.first()?;
        let part = &self.parts[*part];
        let section = &self.sections[part.section];
        match settle {
            Settle::Lowest => Some((section.quote(Ride { metres: 0, intervals: 0 }, Fen::ZERO), None)),
            Settle::Farthest => {
                let (end, ride) = part.network.furthest(*station);
                Some((section.quote(ride, Fen::ZERO), Some(part.network.name(end))))
            }
            Settle::Forgiven => None,
        }
    }

    /// Makes a table of its text and its file of stations, if it needs one.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn make(text: &TableText, stations: Option<&str>) -> Result<Self, Vec<FareFault>> {
        let mut faults = faults_of_text(text);
        let valid = validity(text).unwrap_or_else(|fault| {
            faults.push(fault);
            Millis::MIN..Millis::MAX
        });
        let lines = match stations.map(parse_lines).transpose() {
            Ok(lines) => lines.unwrap_or_default(),
            Err(of_lines) => {
                faults.extend(of_lines.into_iter().map(FareFault::from));
                return Err(faults);
            }
        };
        let transfers = text.network.as_ref().is_some_and(|network| network.transfers);
        let mut table = FareTable {
            name: text.name.as_str().into(),
            label: format!("{}/{}", text.name, text.version).into(),
            valid,
            transfers,
            sections: text.sections.iter().map(Section::make).collect(),
            parts: Vec::new(),
            part_of_line: HashMap::new(),
            unfinished: text.unfinished.as_ref().map(|u| (minutes_ms(u.refuse_minutes), u.then)),
            notices: notices_of_text(text),
        };
        if text.network.is_some() {
            faults.extend(table.join(&text.sections, &lines));
        }
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    /// Gives every line to its section and searches the networks.
    fn join(&mut self, sections: &[SectionText], lines: &[Line]) -> Vec<FareFault> {
        let (owners, mut faults) = owners_of_lines(sections, lines);
        for (at, text) in sections.iter().enumerate() {
            let own: Vec<&Line> =
                lines.iter().zip(&owners).filter(|(_, owner)| **owner == Some(at)).map(|(l, _)| l).collect();
            if own.is_empty() {
                faults.push(FareFault::NoLines { section: text.name.clone() });
            }
            let groups: Vec<&[&Line]> = if self.transfers { vec![&own[..]] } else { own.chunks(1).collect() };
            for group in groups.into_iter().filter(|group| !group.is_empty()) {
                if let Err(fault) = self.add_part(at, group) {
                    faults.push(fault);
                }
            }
        }
        faults
    }

    fn add_part(&mut self, section: usize, lines: &[&Line]) -> Result<(), FareFault> {
        let network = Network::over(lines)?;
        for station in network.parts().iter().skip(1) {
            self.notices.push(FareNotice::Disconnected {
                table: self.label.to_string(),
                section: self.sections[section].name.to_string(),
                station: (*station).to_owned(),
            });
        }
        for line in lines {
            self.part_of_line.insert(line.name.clone(), self.parts.len());
        }
        self.parts.push(Part { section, network });
        Ok(())
    }
}

impl Section {
    fn make(text: &SectionText) -> Self {
        Section {
            name: text.name.as_str().into(),
            rule: text.fare.clone(),
            stay: text.stay.as_ref().map(|stay| (minutes_ms(stay.minutes), stay.then)),
            free_ms: match &text.same_station {
                Some(rule) if rule.free_minutes > 0 => minutes_ms(rule.free_minutes),
                Some(_) | None => -1,
            },
            pays_percent: text.card.as_ref().map_or(100, |card| card.pays_percent),
        }
    }

    fn surcharge(&self, ridden_ms: i64) -> Result<Fen, StayTooLong> {
        match self.stay {
            Some((limit_ms, then)) if ridden_ms > limit_ms => match then {
                Overtime::Surcharge { fen } => Ok(Fen::new(fen)),
                Overtime::Refuse => Err(StayTooLong { ridden_ms, limit_ms }),
            },
            Some(_) | None => Ok(Fen::ZERO),
        }
    }

    /// The discount is on the fare, never on the surcharge.
    fn quote(&self, ride: Ride, surcharge: Fen) -> Quote {
        let fare = self.rule.price(ride);
        let sum = || {
            let paid = fare.share(self.pays_percent, 100)?;
            let discount = fare.minus(paid)?;
            let amount = paid.plus(surcharge)?;
            Ok::<_, crate::model::FenOverflow>(Quote {
                fare,
                surcharge,
                discount,
                amount,
                measured: self.rule.measured(ride),
            })
        };
        sum().expect("prices are bounded when the table is made, far below 64 bits")
    }
}

impl Default for Quote {
    /// Nothing is due.
    fn default() -> Self {
        let zero = Fen::ZERO;
        let measured = Ride { metres: 0, intervals: 0 };
        Quote { fare: zero, surcharge: zero, discount: zero, amount: zero, measured }
    }
}

fn minutes_ms(minutes: u32) -> i64 {
    i64::from(minutes) * 60_000
}

fn validity(text: &TableText) -> Result<Range<Millis>, FareFault> {
    let day = |day: &str, plus: i64| -> Result<Millis, FareFault> {
        let bad = || FareFault::Day(day.to_owned());
        let date: jiff::civil::Date = day.parse().map_err(|_| bad())?;
        let date = date.checked_add(jiff::Span::new().days(plus)).map_err(|_| bad())?;
        // China has kept one offset since 1991.
        let midnight = jiff::tz::Offset::constant(8).to_timestamp(date.at(0, 0, 0, 0)).map_err(|_| bad())?;
        Ok(midnight.as_millisecond())
    };
    let from = text.valid_from.as_deref().map_or(Ok(Millis::MIN), |from| day(from, 0))?;
    let until = text.valid_until.as_deref().map_or(Ok(Millis::MAX), |until| day(until, 1))?;
    if from < until { Ok(from..until) } else { Err(FareFault::EndsBeforeItBegins) }
}

fn faults_of_text(text: &TableText) -> Vec<FareFault> {
    let mut faults = Vec::new();
    for (what, name) in [("name", &text.name), ("version", &text.version)] {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
            faults.push(FareFault::Name { what });
        }
    }
    if !(1..=16).contains(&text.sections.len()) {
        faults.push(FareFault::Sections);
    }
    let boards = text.sections.iter().any(|section| section.fare.is_boarding());
    let alone = text.sections.len() == 1
        && text.network.is_none()
        && text.unfinished.is_none()
        && text.sections.iter().all(|s| s.stay.is_none() && s.same_station.is_none() && s.lines.is_empty());
    if boards && !alone {
        faults.push(FareFault::BoardingAlone);
    }
    if !boards && (text.network.is_none() || text.unfinished.is_none()) {
        faults.push(FareFault::NetworkMissing);
    }
    for section in &text.sections {
        let name = || section.name.clone();
        let stay = section.stay.iter().flat_map(|stay| stay.then.faults());
        let rules = section.fare.faults().into_iter().chain(stay);
        faults.extend(rules.map(|fault| FareFault::Rule { section: name(), fault }));
        let percent = section.card.as_ref().map_or(100, |card| card.pays_percent);
        if percent > 100 {
            faults.push(FareFault::Percent { section: name(), percent });
        }
    }
    faults
}

fn notices_of_text(text: &TableText) -> Vec<FareNotice> {
    let table = || format!("{}/{}", text.name, text.version);
    let mut claims = vec![("the table".to_owned(), &text.source, text.verified)];
    for section in &text.sections {
        let mut claim = |what: &str, source, verified| {
            claims.push((format!("{what} of section {}", section.name), source, verified));
        };
        section.stay.iter().for_each(|s| claim("the time limit", &s.source, s.verified));
        section.same_station.iter().for_each(|s| claim("the same-station exit", &s.source, s.verified));
        section.card.iter().for_each(|s| claim("the discount", &s.source, s.verified));
    }
    text.unfinished
        .iter()
        .for_each(|u| claims.push(("the unfinished ride".to_owned(), &u.source, u.verified)));
    let unverified = claims.into_iter().filter(|(_, _, verified)| !verified).map(|(what, source, _)| {
        FareNotice::Unverified { table: table(), what, source_text: source.clone() }
    });
    let sandbox = text.network.iter().filter(|n| n.sandbox).map(|_| FareNotice::Sandbox { table: table() });
    unverified.chain(sandbox).collect()
}

/// Which section each line belongs to.
fn owners_of_lines(sections: &[SectionText], lines: &[Line]) -> (Vec<Option<usize>>, Vec<FareFault>) {
    let mut owners = vec![None; lines.len()];
    let mut faults = Vec::new();
    for (at, section) in sections.iter().enumerate() {
        for name in &section.lines {
            let Some(line) = lines.iter().position(|line| *line.name == **name) else {
                faults.push(FareFault::LineUnknown { section: section.name.clone(), line: name.clone() });
                continue;
            };
            if owners[line].replace(at).is_some() {
                faults.push(FareFault::LineTwice { line: name.clone() });
            }
        }
    }
    let mut rest = sections.iter().enumerate().filter(|(_, section)| section.lines.is_empty());
    let taker = rest.next().map(|(at, _)| at);
    if rest.next().is_some() {
        faults.push(FareFault::RestTwice);
    }
    for (owner, line) in owners.iter_mut().zip(lines).filter(|(owner, _)| owner.is_none()) {
        *owner = taker;
        if taker.is_none() {
            faults.push(FareFault::LineLeft { line: line.name.to_string() });
        }
    }
    (owners, faults)
}

#[cfg(test)]
mod tests;
