//! How far it is between any two stations, known in advance, so that a tap-out
//! waits for one look into a matrix and no search.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
};

use super::lines::Line;
use crate::limits;

/// A station of one [`Network`]; means nothing in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StationIx(u16);

/// The way between two stations. The two figures may belong to two different
/// paths: the shortest one, and the one with the fewest intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ride {
    /// Track metres of the shortest path.
    pub metres: u32,
    /// Intervals of the path with the fewest; stations less one.
    pub intervals: u32,
}

/// The network has no such station, or not on that line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no station {station} in this network")]
pub struct UnknownStation {
    pub station: Box<str>,
}

/// The network has more stations than its matrices are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{stations} stations, at most {}", limits::STATIONS_MAX)]
pub struct TooManyStations {
    pub stations: usize,
}

const UNREACHABLE: u32 = u32::MAX;
const NO_WAY: u16 = u16::MAX;

/// Stations, how they are connected, and the way between any two. Stations of one
/// name on several lines are one place, and changing there costs 0 m.
///
/// Two matrices, 6 bytes a pair: the 421 stations of the Beijing network take
/// 1.1 MB, the most a network may have 24 MB.
#[derive(Debug)]
pub struct Network {
    names: Vec<Box<str>>,
    stations: HashMap<Box<str>, StationIx>,
    /// Per station the lines that stop there.
    lines_at: Vec<Vec<Box<str>>>,
    metres: Vec<u32>,
    intervals: Vec<u16>,
}

impl Network {
    /// The network over these lines, with all pairs searched.
    ///
    /// # Errors
    /// When there are too many stations.
    pub fn over(lines: &[&Line]) -> Result<Self, TooManyStations> {
        let mut network = Network {
            names: Vec::new(),
            stations: HashMap::new(),
            lines_at: Vec::new(),
            metres: Vec::new(),
            intervals: Vec::new(),
        };
        let mut tracks: Vec<Vec<(StationIx, u32)>> = Vec::new();
        for line in lines {
            let mut previous: Option<StationIx> = None;
            for stop in &line.stops {
                let here = network.enter(&stop.station, &line.name)?;
                tracks.resize(network.names.len(), Vec::new());
                if let Some(before) = previous {
                    tracks[usize::from(before.0)].push((here, stop.metres_from_previous));
                    tracks[usize::from(here.0)].push((before, stop.metres_from_previous));
                }
                previous = Some(here);
            }
        }
        for from in 0..network.names.len() {
            network.metres.extend(shortest_from(from, &tracks));
            network.intervals.extend(fewest_from(from, &tracks));
        }
        Ok(network)
    }

    fn enter(&mut self, station: &str, line: &str) -> Result<StationIx, TooManyStations> {
        let ix = match self.stations.get(station) {
            Some(ix) => *ix,
            None => {
                let stations = self.names.len();
                let ix = match u16::try_from(stations) {
                    Ok(ix) if stations < limits::STATIONS_MAX => StationIx(ix),
                    Ok(_) | Err(_) => return Err(TooManyStations { stations: stations + 1 }),
                };
                self.names.push(station.into());
                self.stations.insert(station.into(), ix);
                self.lines_at.push(Vec::new());
                ix
            }
        };
        let lines = &mut self.lines_at[usize::from(ix.0)];
        if !lines.iter().any(|known| **known == *line) {
            lines.push(line.into());
        }
        Ok(ix)
    }

    /// How many stations there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no stations.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The station of this name; with a line, only if that line stops there.
    pub fn find(&self, station: &str, line: Option<&str>) -> Option<StationIx> {
        let ix = *self.stations.get(station)?;
        match line {
            None => Some(ix),
            Some(line) => self.lines_at[usize::from(ix.0)].iter().any(|known| **known == *line).then_some(ix),
        }
    }

    /// The station's name.
    pub fn name(&self, ix: StationIx) -> &str {
        &self.names[usize::from(ix.0)]
    }

    /// The name of the station that was listed as number `at`, for tests that try
    /// them all.
    #[cfg(test)]
    pub(super) fn nth_name(&self, at: usize) -> &str {
        &self.names[at]
    }

    /// The way between two stations, or `None` when there is none. One look into
    /// each matrix.
    pub fn shortest(&self, from: StationIx, to: StationIx) -> Option<Ride> {
        let cell = usize::from(from.0) * self.names.len() + usize::from(to.0);
        let (metres, intervals) = (self.metres[cell], self.intervals[cell]);
        (metres != UNREACHABLE).then_some(Ride { metres, intervals: intervals.into() })
    }

    /// The same by name.
    ///
    /// # Errors
    /// When one of the stations is not in the network.
    pub fn ride(&self, from: &str, to: &str) -> Result<Option<Ride>, UnknownStation> {
        let find = |name: &str| self.find(name, None).ok_or_else(|| UnknownStation { station: name.into() });
        Ok(self.shortest(find(from)?, find(to)?))
    }

    /// The station furthest by track from this one, and the way there. A station
    /// without tracks is its own furthest.
    pub fn furthest(&self, from: StationIx) -> (StationIx, Ride) {
        let here = (from, Ride { metres: 0, intervals: 0 });
        (0..self.names.len())
            .filter_map(|to| {
                let to = StationIx(u16::try_from(to).ok()?);
                self.shortest(from, to).map(|ride| (to, ride))
            })
            .fold(here, |best, found| if found.1.metres > best.1.metres { found } else { best })
    }

    /// One station of each part that is connected in itself. A whole network has
    /// one part.
    pub fn parts(&self) -> Vec<&str> {
        let mut parts: Vec<StationIx> = Vec::new();
        for at in 0..self.names.len() {
            let Ok(at) = u16::try_from(at) else { break };
            if parts.iter().all(|part| self.shortest(*part, StationIx(at)).is_none()) {
                parts.push(StationIx(at));
            }
        }
        parts.into_iter().map(|part| self.name(part)).collect()
    }
}

/// Dijkstra over track metres.
fn shortest_from(from: usize, tracks: &[Vec<(StationIx, u32)>]) -> Vec<u32> {
    let mut metres = vec![UNREACHABLE; tracks.len()];
    metres[from] = 0;
    let mut next = BinaryHeap::from([Reverse((0, from))]);
    while let Some(Reverse((here, at))) = next.pop() {
        if here > metres[at] {
            continue;
        }
        for (to, gap) in &tracks[at] {
            let (to, there) = (usize::from(to.0), here.saturating_add(*gap));
            if there < metres[to] {
                metres[to] = there;
                next.push(Reverse((there, to)));
            }
        }
    }
    metres
}

/// Breadth first: fewest intervals.
fn fewest_from(from: usize, tracks: &[Vec<(StationIx, u32)>]) -> Vec<u16> {
    let mut intervals = vec![NO_WAY; tracks.len()];
    intervals[from] = 0;
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        for (to, _) in &tracks[at] {
            let to = usize::from(to.0);
            if intervals[to] == NO_WAY {
                intervals[to] = intervals[at] + 1;
                next.push_back(to);
            }
        }
    }
    intervals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes::transit::{parse_lines, samples};
    use proptest::prelude::*;

    fn network(rows: &str) -> Network {
        let lines =
            parse_lines(&format!("line,seq,station,metres_from_previous\n{rows}")).expect("well formed");
        Network::over(&lines.iter().collect::<Vec<_>>()).expect("small")
    }

    #[test]
    fn the_shortest_path_and_the_fewest_intervals_may_differ() {
        let network = network("A,1,x,0\nA,2,y,5000\nB,1,x,0\nB,2,p,1000\nB,3,y,1000\n");
        assert_eq!(network.ride("x", "y"), Ok(Some(Ride { metres: 2_000, intervals: 1 })));
    }

    #[test]
    fn a_loop_is_ridden_the_shorter_way() {
        let network = network("A,1,x,0\nA,2,y,5\nA,3,z,5\nA,4,w,5\nA,5,x,5\n");
        assert_eq!(network.ride("x", "w"), Ok(Some(Ride { metres: 5, intervals: 1 })));
        assert_eq!(network.len(), 4);
    }

    #[test]
    fn parts_that_are_not_connected_are_seen() {
        let network = network("A,1,x,0\nA,2,y,5\nB,1,p,0\nB,2,q,5\n");
        assert_eq!(network.parts(), ["x", "p"]);
        assert_eq!(network.ride("x", "q"), Ok(None));
        assert_eq!(network.ride("x", "n"), Err(UnknownStation { station: "n".into() }));
    }

    #[test]
    fn a_station_is_found_only_on_its_own_lines() {
        let network = network("A,1,x,0\nA,2,y,5\nB,1,y,0\nB,2,q,5\n");
        assert!(network.find("y", Some("A")).is_some() && network.find("y", Some("B")).is_some());
        assert!(network.find("x", Some("A")).is_some() && network.find("x", Some("B")).is_none());
    }

    #[test]
    fn the_furthest_stop_of_a_route_is_its_farther_end() {
        let network = network("A,1,x,0\nA,2,y,5\nA,3,z,9\n");
        let y = network.find("y", None).expect("listed");
        let (end, ride) = network.furthest(y);
        assert_eq!((network.name(end), ride.metres), ("z", 9));
    }

    #[test]
    fn distances_in_beijing_are_sums_of_the_data_set() {
        let lines = parse_lines(samples::BEIJING_STATIONS).expect("well formed");
        let network = Network::over(&lines.iter().collect::<Vec<_>>()).expect("fits");
        assert_eq!(network.parts().len(), 1);
        let check = |from: &str, to: &str, metres: u32, intervals: u32| {
            assert_eq!(network.ride(from, to), Ok(Some(Ride { metres, intervals })), "{from} {to}");
        };
        check("军事博物馆", "公主坟", 1_172, 1);
        check("四惠", "四惠东", 1_714, 1);
        check("西直门", "车公庄", 910, 1);
        check("西直门", "积水潭", 1_899, 1);
        check("香山", "巴沟", 983 + 1_733 + 1_550 + 1_505 + 2_922, 5);
        check("丰台站", "首经贸", 1_717, 1);
    }

    fn any_lines() -> impl Strategy<Value = Vec<Line>> {
        let stop = (0u8..12, 1u32..9_000);
        proptest::collection::vec(proptest::collection::vec(stop, 2..6), 1..5).prop_map(|lines| {
            let stop = |at: usize, station: u8, metres| super::super::Stop {
                station: station.to_string().into(),
                metres_from_previous: if at == 0 { 0 } else { metres },
            };
            lines
                .into_iter()
                .enumerate()
                .map(|(line, stops)| Line {
                    name: line.to_string().into(),
                    stops: stops.into_iter().enumerate().map(|(at, (s, m))| stop(at, s, m)).collect(),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn distance_is_a_metric(lines in any_lines()) {
            let network = Network::over(&lines.iter().collect::<Vec<_>>()).expect("small");
            let all: Vec<_> = network.names.iter().map(|name| network.stations[name]).collect();
            for a in &all {
                prop_assert_eq!(network.shortest(*a, *a), Some(Ride { metres: 0, intervals: 0 }));
                for b in &all {
                    let ab = network.shortest(*a, *b);
                    prop_assert_eq!(ab, network.shortest(*b, *a));
                    for c in &all {
                        if let (Some(ab), Some(bc)) = (ab, network.shortest(*b, *c)) {
                            let ac = network.shortest(*a, *c).expect("a way over b");
                            prop_assert!(ac.metres <= ab.metres + bc.metres);
                            prop_assert!(ac.intervals <= ab.intervals + bc.intervals);
                        }
                    }
                }
            }
        }
    }
}
