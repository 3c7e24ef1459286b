//! The Beijing metro as the tour knows it: the distance table read plainly, the
//! shortest way by trying every edge until nothing improves, and the price list of
//! 28 December 2014. On purpose it shares no line with the fare tables it checks.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;

use crate::config::assets;

/// Lines with gates and prices of their own.
const OWN_FARES: [&str; 2] = ["首都机场线", "大兴机场线"];

/// Metres between two stations by the shortest way.
pub(super) fn metres(from: &str, to: &str) -> anyhow::Result<u32> {
    let text = assets::read_text("stations/beijing.csv").context("the distances are not built in")?;
    shortest(&edges(&text)?, from, to).with_context(|| format!("no way from {from} to {to}"))
}

/// The price of a distance, fen: 3 yuan up to 6 km, 4 up to 12, 5 up to 22, 6 up to
/// 32, then 1 yuan for every 20 km begun.
pub(super) fn fare(metres: u32) -> i64 {
    match metres {
        0..=6_000 => 300,
        6_001..=12_000 => 400,
        12_001..=22_000 => 500,
        22_001..=32_000 => 600,
        _ => 600 + 100 * i64::from((metres - 32_000).div_ceil(20_000)),
    }
}

type Edges = Vec<(String, String, u32)>;

fn edges(text: &str) -> anyhow::Result<Edges> {
    let mut before: HashMap<&str, &str> = HashMap::new();
    let mut edges = Vec::new();
    let rows = text.lines().filter(|row| !row.starts_with('#') && !row.trim().is_empty()).skip(1);
    for row in rows {
        let fields: Vec<&str> = row.split(',').collect();
        let [line, _, station, metres] = fields[..] else {
            anyhow::bail!("`{row}` is no row of four");
        };
        if OWN_FARES.contains(&line) {
            continue;
        }
        if let Some(last) = before.insert(line, station) {
            edges.push((last.to_owned(), station.to_owned(), metres.trim().parse()?));
        }
    }
    Ok(edges)
}

/// Bellman and Ford; a city has few enough stations.
fn shortest(edges: &Edges, from: &str, to: &str) -> Option<u32> {
    let mut reached: BTreeMap<&str, u32> = BTreeMap::from([(from, 0)]);
    loop {
        let mut improved = false;
        for (one, other, metres) in edges {
            for (start, end) in [(one, other), (other, one)] {
                let Some(so_far) = reached.get(start.as_str()) else { continue };
                let there = so_far + metres;
                if reached.get(end.as_str()).is_none_or(|known| there < *known) {
                    reached.insert(end, there);
                    improved = true;
                }
            }
        }
        if !improved {
            return reached.get(to).copied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_list_steps_where_it_says() {
        for (metres, fen) in
            [(0, 300), (6_000, 300), (6_001, 400), (12_001, 500), (32_000, 600), (32_001, 700), (52_001, 800)]
        {
            assert_eq!(fare(metres), fen, "{metres}");
        }
    }

    #[test]
    fn the_shortest_way_changes_lines_and_shuns_lines_with_their_own_gates() {
        let text = "# c\nline,seq,station,m\n1,1,a,0\n1,2,b,500\n1,3,c,900\n2,1,a,0\n2,2,x,300\n2,3,c,400\n首都机场线,1,a,0\n首都机场线,2,c,1\n";
        let edges = edges(text).expect("rows");
        assert_eq!(shortest(&edges, "a", "c"), Some(700));
        assert_eq!(shortest(&edges, "c", "b"), Some(900));
        assert_eq!(shortest(&edges, "a", "nowhere"), None);
    }
}
