//! What the edge must know of each method: how many messages it takes, how large,
//! and how long it may work. Read from the contract itself.

use std::{collections::HashMap, time::Duration};

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::limits;

/// The rule of one method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodRule {
    /// The caller sends exactly one message.
    pub one_request: bool,
    /// The answer is exactly one message; only such methods have a deadline of
    /// their own.
    pub one_answer: bool,
    /// Bytes of one request message.
    pub message_bytes_max: usize,
    /// The longest it works, whatever the caller asks for.
    pub deadline_max: Duration,
}

impl MethodRule {
    /// For paths that are not in the contract: they will be refused further in,
    /// or are gRPC's own services (health, reflection).
    const UNKNOWN: MethodRule = MethodRule {
        one_request: false,
        one_answer: false,
        message_bytes_max: limits::MESSAGE_BYTES_MAX,
        deadline_max: limits::DEADLINE_MAX,
    };
}

/// The descriptors of the contract cannot be decoded.
#[derive(Debug, thiserror::Error)]
#[error("the contract's descriptors cannot be decoded: {0}")]
pub struct BadDescriptors(#[from] prost::DecodeError);

/// The rules of all methods, by path (`/package.Service/Method`).
#[derive(Debug, Clone, Default)]
pub struct Methods(HashMap<Box<str>, MethodRule>);

impl Methods {
    /// Reads an encoded `FileDescriptorSet`; every message may have
    /// [`limits::MESSAGE_BYTES_MAX`] and every call [`limits::DEADLINE_MAX`].
    pub fn from_descriptors(encoded: &[u8]) -> Result<Self, BadDescriptors> {
        let contract = FileDescriptorSet::decode(encoded)?;
        let mut rules = HashMap::new();
        for file in &contract.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let rule = MethodRule {
                        one_request: !method.client_streaming(),
                        one_answer: !method.client_streaming() && !method.server_streaming(),
                        ..MethodRule::UNKNOWN
                    };
                    rules.insert(path.into_boxed_str(), rule);
                }
            }
        }
        Ok(Methods(rules))
    }

    /// Lets the method at `path` take messages of up to `bytes`. A path that is not
    /// in the contract changes nothing.
    pub fn with_message_limit(mut self, path: &str, bytes: usize) -> Self {
        if let Some(rule) = self.0.get_mut(path) {
            rule.message_bytes_max = bytes;
        }
        self
    }

    /// Lets the method at `path` work no longer than `longest`.
    pub fn with_deadline(mut self, path: &str, longest: Duration) -> Self {
        if let Some(rule) = self.0.get_mut(path) {
            rule.deadline_max = longest;
        }
        self
    }

    /// The rule of a path.
    pub fn rule(&self, path: &str) -> MethodRule {
        self.0.get(path).copied().unwrap_or(MethodRule::UNKNOWN)
    }

    /// All paths of the contract, in no order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_says_which_methods_take_one_message() {
        let path = "/onecard.transaction.v1.TransactionService/GetTransaction";
        let methods = Methods::from_descriptors(crate::proto::DESCRIPTORS)
            .expect("the contract is well formed")
            .with_message_limit(path, 7);
        let rule = methods.rule(path);
        assert!(rule.one_request && rule.one_answer);
        assert_eq!(rule.message_bytes_max, 7);
        assert!(!methods.rule("/grpc.health.v1.Health/Watch").one_request);
    }
}
