//! Which ports the town takes and how many people live in it.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use crate::sandbox::people::{HOMES, Home};

/// People with a normal card in each region, besides the special ones.
const PEOPLE: u32 = 12;

/// One region of the town. Everything listens on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionPlan {
    /// Folder of the configuration, and the name in certificates.
    pub name: &'static str,
    pub home: &'static Home,
    /// Port for terminals.
    pub grpc: u16,
    /// Port for operators.
    pub ops: u16,
    /// Port for peers.
    pub peers: u16,
    /// Port of the region's simulated library.
    pub library: u16,
    /// Port of the region's simulated medical insurer.
    pub insurer: u16,
}

/// The whole town.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TownPlan {
    /// People follow from it.
    pub seed: u64,
    /// People with a normal card in each region.
    pub people: u32,
    pub regions: [RegionPlan; 3],
    /// Unknown outcomes of libraries and insurers are inquired about within a second instead
    /// of the product's five, for a story that should not wait.
    pub impatient: bool,
}

/// Another program has a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {port} ({purpose} of {region}) is taken by another program; stop it, or use --free-ports")]
pub struct PortTaken {
    pub port: u16,
    pub purpose: &'static str,
    pub region: &'static str,
}

/// Ports of a region.
const PORTS: usize = 5;

const NAMES: [&str; 3] = ["beijing", "tianjin", "hebei"];

impl TownPlan {
    /// The ports everybody knows: Beijing 7110, 7111, 7112 with its library at
    /// 7161 and its insurer at 7171, Tianjin 7120 … with 7162 and 7172, Hebei 7130 … with
    /// 7163 and 7173.
    pub fn standard(seed: u64) -> Self {
        let mut next = 0;
        let regions = std::array::from_fn(|at| {
            next += 1;
            let first = 7_100 + 10 * next;
            region(at, [first, first + 1, first + 2, 7_160 + next, 7_170 + next])
        });
        TownPlan { seed, people: PEOPLE, regions, impatient: false }
    }

    /// Ports that nobody has at this moment.
    ///
    /// # Errors
    /// When the system gives none.
    pub fn free(seed: u64) -> io::Result<Self> {
        // All are held until all are found, so that no port is given twice.
        let held = (0..3 * PORTS)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .collect::<io::Result<Vec<_>>>()?;
        let ports =
            held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<io::Result<Vec<_>>>()?;
        let regions =
            std::array::from_fn(|at| region(at, std::array::from_fn(|which| ports[at * PORTS + which])));
        Ok(TownPlan { seed, people: PEOPLE, regions, impatient: false })
    }

    /// Looks whether every port can be had.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check_ports(&self) -> Result<(), PortTaken> {
        for region in &self.regions {
            for (port, purpose) in region.ports() {
                if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                    return Err(PortTaken { port, purpose, region: region.name });
                }
            }
        }
        Ok(())
    }
}

impl RegionPlan {
    /// A port of this machine as an address.
    pub fn at(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Every port with what it is for.
    pub fn ports(&self) -> [(u16, &'static str); PORTS] {
        [
            (self.grpc, "terminals"),
            (self.ops, "operators"),
            (self.peers, "peers"),
            (self.library, "the simulated library"),
            (self.insurer, "the simulated insurer"),
        ]
    }
}

fn region(at: usize, [grpc, ops, peers, library, insurer]: [u16; PORTS]) -> RegionPlan {
    RegionPlan { name: NAMES[at], home: &HOMES[at], grpc, ops, peers, library, insurer }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_standard_ports_are_the_documented_ones() {
        let plan = TownPlan::standard(1);
        let ports = plan.regions.map(|region| region.ports().map(|(port, _)| port));
        assert_eq!(
            ports,
            [[7110, 7111, 7112, 7161, 7171], [7120, 7121, 7122, 7162, 7172], [7130, 7131, 7132, 7163, 7173]]
        );
        let names = plan.regions.map(|region| (region.name, region.home.prefix));
        assert_eq!(names, [("beijing", "bj"), ("tianjin", "tj"), ("hebei", "he")]);
    }

    #[test]
    fn free_ports_are_free_and_each_given_once() {
        let plan = TownPlan::free(1).expect("ports");
        let ports: HashSet<u16> =
            plan.regions.iter().flat_map(|region| region.ports().map(|(port, _)| port)).collect();
        assert_eq!(ports.len(), 3 * PORTS);
    }

    #[test]
    fn a_taken_port_is_named_with_its_way_out() {
        let mut plan = TownPlan::free(1).expect("ports");
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        plan.regions[1].ops = other.local_addr().expect("an address").port();
        let taken = plan.check_ports().expect_err("it is taken");
        assert_eq!((taken.port, taken.region), (plan.regions[1].ops, "tianjin"));
        assert!(taken.to_string().contains("--free-ports"));
    }
}
