//! Lines of stations as the CSV files in `config/stations/` list them.

use std::collections::HashSet;

use crate::limits;

/// One line in the order of its stops. A loop line names its first stop again as
/// its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// As the gates name it, for example `10号线`.
    pub name: Box<str>,
    pub stops: Vec<Stop>,
}

/// A stop of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub station: Box<str>,
    /// Track metres from the stop before; 0 at the first.
    pub metres_from_previous: u32,
}

/// What is wrong with a file of stations. `row` counts lines of the file from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    #[error("the first row must be `{HEADER}`")]
    Header,
    #[error("row {row}: expected line, seq, station and metres; a name has 1 to 64 bytes")]
    Row { row: usize },
    #[error("row {row}: {line} goes on with seq {seq}, expected {expected}")]
    Sequence { row: usize, line: Box<str>, seq: u32, expected: u32 },
    #[error("row {row}: {line} is listed twice")]
    LineTwice { row: usize, line: Box<str> },
    #[error("row {row}: {metres} m to {station}; the first stop has 0, others 1 to 100,000")]
    Distance { row: usize, station: Box<str>, metres: u32 },
    #[error("{line} names {station} twice and is not a loop that closes there")]
    StationTwice { line: Box<str>, station: Box<str> },
    #[error("{line} has fewer than two stops")]
    TooShort { line: Box<str> },
    #[error("more than {} rows", limits::STATION_ROWS_MAX)]
    TooManyRows,
}

const HEADER: &str = "line,seq,station,metres_from_previous";

/// No two neighbouring stations of a city are further apart than this.
const GAP_METRES_MAX: u32 = 100_000;

/// A name is a station code on the wire; longer ones would not fit a tap.
const NAME_BYTES_MAX: usize = 64;

/// Reads a file of stations: a header row, then one stop a row; rows that begin
/// with `#` are comments. Lines stand one after the other, numbered from 1.
///
/// # Errors
/// Everything that is wrong with the file, in the order of its rows.
pub fn parse_lines(text: &str) -> Result<Vec<Line>, Vec<LineFault>> {
    let mut rows =
        text.lines().enumerate().map(|(at, row)| (at + 1, row.trim())).filter(|(_, row)| !is_comment(row));
    if rows.next().map(|(_, row)| row.trim_start_matches('\u{feff}')) != Some(HEADER) {
        return Err(vec![LineFault::Header]);
    }
    let mut faults = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
    let mut seen = HashSet::new();
    for (count, (row, text)) in rows.enumerate() {
        if count == limits::STATION_ROWS_MAX {
            faults.push(LineFault::TooManyRows);
            break;
        }
        match parse_row(row, text) {
            Ok(parsed) => take_row(parsed, row, &mut lines, &mut seen, &mut faults),
            Err(fault) => faults.push(fault),
        }
    }
    faults.extend(lines.iter().flat_map(faults_of_line));
    if faults.is_empty() { Ok(lines) } else { Err(faults) }
}

fn is_comment(row: &str) -> bool {
    row.is_empty() || row.starts_with('#')
}

struct Row<'a> {
    line: &'a str,
    seq: u32,
    station: &'a str,
    metres: u32,
}

fn parse_row(row: usize, text: &str) -> Result<Row<'_>, LineFault> {
    let fault = LineFault::Row { row };
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let [line, seq, station, metres] = fields[..] else {
        return Err(fault);
    };
    let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len());
    match (seq.parse(), metres.parse()) {
        (Ok(seq), Ok(metres)) if is_name(line) && is_name(station) => Ok(Row { line, seq, station, metres }),
        _ => Err(fault),
    }
}

fn take_row<'a>(
    parsed: Row<'a>,
    row: usize,
    lines: &mut Vec<Line>,
    seen: &mut HashSet<&'a str>,
    faults: &mut Vec<LineFault>,
) {
    let goes_on = lines.last().is_some_and(|line| *line.name == *parsed.line);
    if !goes_on {
        if !seen.insert(parsed.line) {
            faults.push(LineFault::LineTwice { row, line: parsed.line.into() });
        }
        lines.push(Line { name: parsed.line.into(), stops: Vec::new() });
    }
    let Some(line) = lines.last_mut() else { return };
    let expected = u32::try_from(line.stops.len()).unwrap_or(u32::MAX).saturating_add(1);
    if parsed.seq != expected {
        faults.push(LineFault::Sequence { row, line: parsed.line.into(), seq: parsed.seq, expected });
    }
    let right = if expected == 1 { 0..=0 } else { 1..=GAP_METRES_MAX };
    if !right.contains(&parsed.metres) {
        faults.push(LineFault::Distance { row, station: parsed.station.into(), metres: parsed.metres });
    }
    line.stops.push(Stop { station: parsed.station.into(), metres_from_previous: parsed.metres });
}

fn faults_of_line(line: &Line) -> Vec<LineFault> {
    if line.stops.len() < 2 {
        return vec![LineFault::TooShort { line: line.name.clone() }];
    }
    let closes = line.stops.len() > 3
        && line.stops.first().map(|stop| &stop.station) == line.stops.last().map(|stop| &stop.station);
    let once = if closes { &line.stops[1..] } else { &line.stops[..] };
    let mut seen = HashSet::new();
    once.iter()
        .filter(|stop| !seen.insert(&stop.station))
        .map(|stop| LineFault::StationTwice { line: line.name.clone(), station: stop.station.clone() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn refused(rows: &str, expect: &[LineFault]) {
        let text = format!("{HEADER}\n{rows}");
        assert_eq!(parse_lines(&text).expect_err("must be refused"), expect);
    }

    #[test]
    fn a_file_is_read_with_comments_and_either_line_end() {
        let text =
            format!("# source\r\n{HEADER}\r\nA,1,x,0\r\nA,2,y,900\r\n\r\n# next\r\nB,1,y,0\r\nB,2,z,1\r\n");
        let lines = parse_lines(&text).expect("well formed");
        assert_eq!(lines.len(), 2);
        assert_eq!(&*lines[0].name, "A");
        assert_eq!(lines[0].stops[1], Stop { station: "y".into(), metres_from_previous: 900 });
    }

    #[test]
    fn a_file_that_is_not_right_is_refused_with_every_fault() {
        assert_eq!(parse_lines("a,b"), Err(vec![LineFault::Header]));
        refused("A,1,x", &[LineFault::Row { row: 2 }]);
        refused("A,1,x,0\nA,2,,5\nA,2,y,5", &[LineFault::Row { row: 3 }]);
        refused("A,1,x,0", &[LineFault::TooShort { line: "A".into() }]);
        refused(
            "A,1,x,7\nA,3,y,0",
            &[
                LineFault::Distance { row: 2, station: "x".into(), metres: 7 },
                LineFault::Sequence { row: 3, line: "A".into(), seq: 3, expected: 2 },
                LineFault::Distance { row: 3, station: "y".into(), metres: 0 },
            ],
        );
        refused(
            "A,1,x,0\nA,2,y,5\nA,3,y,5",
            &[LineFault::StationTwice { line: "A".into(), station: "y".into() }],
        );
        refused(
            "A,1,x,0\nA,2,y,5\nB,1,x,0\nB,2,z,5\nA,1,x,0\nA,2,q,5",
            &[LineFault::LineTwice { row: 6, line: "A".into() }],
        );
    }

    #[test]
    fn a_loop_may_name_its_first_stop_again() {
        let text = format!("{HEADER}\nA,1,x,0\nA,2,y,5\nA,3,z,5\nA,4,x,5");
        assert!(parse_lines(&text).is_ok());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC{0,200}", rows in "([A-C],[0-9]{1,12},[x-z]?,[0-9]{1,12}\n){0,9}") {
            let _ = parse_lines(&text);
            let _ = parse_lines(&format!("{HEADER}\n{rows}"));
        }
    }
}
