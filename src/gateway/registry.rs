//! Who may call: participants, their terminals, scenes, rates and the attributes
//! a policy line grants them. Read from `participants.toml`, checked whole.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::method::{Method, Role};
use crate::{
    limits,
    model::{CertIdentity, ParticipantId, PeerCertificate, Reason, Scene, TerminalId},
    scenes::card::{AttributeCode, Granted},
};

/// `participants.toml` as it is written.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryFile {
    #[serde(default)]
    pub participant: Vec<ParticipantLine>,
}

/// One participant. Every field is named as operators write it.
#[derive(Debug, Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantLine {
    pub id: String,
    pub name_zh: String,
    pub name_en: String,
    pub role: Role,
    /// Scenes its terminals may use.
    pub scenes: Vec<Scene>,
    pub terminals: Vec<String>,
    /// Attributes of holders it may be told, by sector code.
    #[serde(default)]
    pub attributes: Vec<String>,
    /// Requests a second; `limits::PARTICIPANT_RATE_DEFAULT` when absent.
    #[serde(default)]
    pub rate_per_second: Option<u32>,
    /// The library its terminals mean when they name none.
    #[serde(default)]
    pub library: Option<String>,
}

/// A participant as the gateway knows it.
#[derive(Debug)]
pub struct Participant {
    pub id: ParticipantId,
    pub role: Role,
    pub scenes: Vec<Scene>,
    pub granted: Granted,
    pub library: Option<String>,
    rate: DefaultDirectRateLimiter,
}

/// A terminal that has shown its certificate.
#[derive(Debug)]
pub struct Caller {
    pub participant: Arc<Participant>,
    pub terminal: TerminalId,
}

impl Caller {
    /// Whether the terminal may call the method at all.
    ///
    /// # Errors
    /// `SceneNotPermitted` or `RoleNotPermitted`.
    pub fn may(&self, method: &Method) -> Result<(), Reason> {
        let participant = &self.participant;
        if !participant.scenes.contains(&method.scene) && method.scene != Scene::Transaction {
            return Err(Reason::SceneNotPermitted);
        }
        if !method.roles.is_empty() && !method.roles.contains(&participant.role) {
            return Err(Reason::RoleNotPermitted);
        }
        Ok(())
    }

    /// Takes one request out of the participant's rate. A message that carries many
    /// takes them one by one, so that none is larger than the rate.
    ///
    /// # Errors
    /// `RateExceeded`; a refused call takes nothing, so trying early does not
    /// lengthen the wait.
    pub fn within_rate(&self) -> Result<(), Reason> {
        self.participant.rate.check().map_err(|_| Reason::RateExceeded)
    }
}

/// A line of the registry that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("participant `{participant}`: {what}")]
pub struct RegistryProblem {
    pub participant: String,
    pub what: String,
}

/// All callers, by participant and terminal.
#[derive(Debug, Default)]
pub struct Registry {
    /// By the URI of the certificate, so that a request costs one look-up.
    callers: HashMap<String, Arc<Caller>>,
    participants: Vec<Arc<Participant>>,
}

impl Registry {
    /// Builds the registry, or says everything that is wrong with it.
    ///
    /// # Errors
    /// All problems, not the first.
    pub fn build(file: &RegistryFile) -> Result<Self, Vec<RegistryProblem>> {
        let mut registry = Registry::default();
        let mut problems = Vec::new();
        for line in &file.participant {
            if let Err(mut found) = registry.add(line) {
                problems.append(&mut found);
            }
        }
        if problems.is_empty() { Ok(registry) } else { Err(problems) }
    }

    fn add(&mut self, line: &ParticipantLine) -> Result<(), Vec<RegistryProblem>> {
        let problem = |what: String| RegistryProblem { participant: line.id.clone(), what };
        let mut problems = Vec::new();

        let id: Option<ParticipantId> =
            line.id.parse().map_err(|bad| problems.push(problem(format!("{bad}")))).ok();
        if id.as_ref().is_some_and(|id| self.participants.iter().any(|known| known.id == *id)) {
            problems.push(problem("the id is used twice".into()));
        }
        if is_reserved(&line.id) {
            problems.push(problem("the id is the gateway's own, or looks like one of another region".into()));
        }
        let attributes = parse_all::<AttributeCode>(&line.attributes, |bad| problems.push(problem(bad)));
        let terminals = parse_all::<TerminalId>(&line.terminals, |bad| problems.push(problem(bad)));
        let mut sorted = terminals.clone();
        sorted.sort();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            problems.push(problem("a terminal is listed twice".into()));
        }
        let per_second = line.rate_per_second.unwrap_or(limits::PARTICIPANT_RATE_DEFAULT);
        let per_second = NonZeroU32::new(per_second);
        if per_second.is_none() {
            problems.push(problem("rate_per_second is 0; leave it out or give at least 1".into()));
        }
        let (Some(id), Some(per_second), true) = (id, per_second, problems.is_empty()) else {
            return Err(problems);
        };

        let participant = Arc::new(Participant {
            id: id.clone(),
            role: line.role,
            scenes: line.scenes.clone(),
            granted: Granted::new(attributes),
            library: line.library.clone(),
            rate: RateLimiter::direct(Quota::per_second(per_second)),
        });
        for terminal in terminals {
            let caller = Caller { participant: Arc::clone(&participant), terminal: terminal.clone() };
            let uri = CertIdentity::Terminal { participant: id.clone(), terminal }.to_string();
            self.callers.insert(uri, Arc::new(caller));
        }
        self.participants.push(participant);
        Ok(())
    }

    /// The caller that a certificate names by its only `onecard:` URI.
    pub fn caller(&self, certificate: &PeerCertificate) -> Option<Arc<Caller>> {
        let mut ours = certificate.uris.iter().filter(|uri| uri.starts_with("onecard:"));
        match (ours.next(), ours.next()) {
            (Some(uri), None) => self.callers.get(uri).cloned(),
            _ => None,
        }
    }

    pub fn participant(&self, id: &ParticipantId) -> Option<&Arc<Participant>> {
        self.participants.iter().find(|participant| participant.id == *id)
    }

    pub fn participants(&self) -> &[Arc<Participant>] {
        &self.participants
    }

    pub fn terminal_count(&self) -> usize {
        self.callers.len()
    }
}

/// The gateway journals its own acts as `gateway`, and another region's
/// participants as `120000.name`: one of ours under such a name would see their
/// pseudonyms and meet their request ids.
fn is_reserved(id: &str) -> bool {
    let province = id.split_once('.').map(|(province, _)| province);
    id == "gateway" || province.is_some_and(|province| province.bytes().all(|b| b.is_ascii_digit()))
}

fn parse_all<T: std::str::FromStr>(texts: &[String], mut bad: impl FnMut(String)) -> Vec<T>
where
    T::Err: std::fmt::Display,
{
    texts
        .iter()
        .filter_map(|text| text.parse().map_err(|error| bad(format!("`{text}`: {error}"))).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::method, *};

    fn line(id: &str) -> ParticipantLine {
        ParticipantLine {
            id: id.into(),
            name_zh: "样例".into(),
            name_en: "Sample".into(),
            role: Role::Terminal,
            scenes: vec![Scene::Transit],
            terminals: vec!["gate-01".into()],
            attributes: vec![],
            rate_per_second: Some(2),
            library: None,
        }
    }

    fn build(lines: Vec<ParticipantLine>) -> Result<Registry, Vec<RegistryProblem>> {
        Registry::build(&RegistryFile { participant: lines })
    }

    fn caller(registry: &Registry) -> Arc<Caller> {
        let certificate = PeerCertificate {
            serial: "01".into(),
            not_after: 0,
            common_name: None,
            uris: vec!["onecard:terminal:bj-metro:gate-01".into()],
            fingerprint: [0; 32],
        };
        registry.caller(&certificate).expect("registered")
    }

    #[test]
    fn a_terminal_may_use_its_scenes_only() {
        let registry = build(vec![line("bj-metro")]).expect("good");
        let caller = caller(&registry);
        assert_eq!(caller.may(&method::TAP), Ok(()));
        assert_eq!(caller.may(&method::CHECKOUT), Err(Reason::SceneNotPermitted));
        assert_eq!(caller.may(&method::ISSUE_CODE), Err(Reason::SceneNotPermitted));
        assert_eq!(caller.may(&method::GET_TRANSACTION), Ok(()));
    }

    #[test]
    fn a_code_is_issued_to_the_ecard_backend_only() {
        let mut desk = line("bj-metro");
        desk.scenes = vec![Scene::Card];
        assert_eq!(
            caller(&build(vec![desk]).expect("good")).may(&method::ISSUE_CODE),
            Err(Reason::RoleNotPermitted)
        );
    }

    #[test]
    fn the_rate_is_the_participants() {
        let registry = build(vec![line("bj-metro")]).expect("good");
        let caller = caller(&registry);
        assert_eq!(caller.within_rate(), Ok(()));
        assert_eq!(caller.within_rate(), Ok(()));
        assert_eq!(caller.within_rate(), Err(Reason::RateExceeded));
    }

    #[test]
    fn nobody_is_registered_as_the_gateway_or_as_another_regions_participant() {
        for id in ["gateway", "120000.tj-library", ".x"] {
            let problems = build(vec![line(id)]).expect_err(id);
            assert_eq!(problems.len(), 1, "{id}: {problems:?}");
        }
        assert!(build(vec![line("bj.metro"), line("gateway-2")]).is_ok());
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let mut bad = line("Bad Id");
        bad.attributes = vec!["AAC999".into()];
        bad.rate_per_second = Some(0);
        let problems = build(vec![line("a"), line("a"), bad]).expect_err("bad");
        assert_eq!(problems.len(), 4, "{problems:?}");
    }
}
