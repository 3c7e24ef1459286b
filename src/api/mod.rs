//! The gRPC services for terminals: proto to domain types and back. Decides
//! nothing: what is allowed and what follows is the gateway's.
//!
//! One file a service. `door` lets a call in, `parse` turns wire fields into
//! types that cannot be wrong and names every violation, `answer` projects a
//! journal entry into the answer, `status` is the one place where a refusal
//! becomes a gRPC status.

mod answer;
mod authentication;
mod card;
mod door;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod ledger;
mod library;
mod medical;
mod parse;
mod status;
#[cfg(test)]
mod tests;
mod transaction;
mod transit;
mod upload;

use std::sync::Arc;

use tonic::service::Routes;

pub use answer::answer;
pub use door::{Door, fingerprint};
pub use parse::{Fields, header as parse_header};
pub use status::to_status;

use crate::{
    gateway::Gateway,
    limits,
    proto::{
        auth::v1::authentication_service_server::AuthenticationServiceServer,
        card::v1::card_service_server::CardServiceServer,
        ledger::v1::ledger_service_server::LedgerServiceServer,
        library::v1::library_service_server::LibraryServiceServer,
        medical::v1::medical_service_server::MedicalServiceServer,
        transaction::v1::transaction_service_server::TransactionServiceServer,
        transit::v1::transit_service_server::TransitServiceServer,
    },
};

/// All services of the terminals' contract over one gateway.
pub fn routes(gateway: Arc<Gateway>) -> Routes {
    let door = Door::new(gateway);
    Routes::new(
        TransitServiceServer::new(transit::Transit(door.clone()))
            .max_decoding_message_size(limits::UPLOAD_BYTES_MAX),
    )
    .add_service(
        LedgerServiceServer::new(ledger::Ledger(door.clone()))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
    .add_service(
        LibraryServiceServer::new(library::Library(door.clone()))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
    .add_service(
        MedicalServiceServer::new(medical::Medical(door.clone()))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
    .add_service(
        AuthenticationServiceServer::new(authentication::Authentication(door.clone()))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
    .add_service(
        CardServiceServer::new(card::Card(door.clone())).max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
    .add_service(
        TransactionServiceServer::new(transaction::Transactions(door))
            .max_decoding_message_size(limits::MESSAGE_BYTES_MAX),
    )
}

#[cfg(test)]
mod contract_tests {
    use std::collections::BTreeSet;

    use prost::Message as _;

    use crate::{gateway::method, proto};

    #[test]
    fn every_method_of_the_contract_has_its_rank_and_roles() {
        let contract = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS).expect("contract");
        let mut in_contract = BTreeSet::new();
        for file in &contract.file {
            for service in &file.service {
                for method in &service.method {
                    in_contract.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
        in_contract.remove(method::PEER.path);
        let in_table: BTreeSet<_> = method::ALL.iter().map(|method| method.path.to_owned()).collect();
        assert_eq!(in_table, in_contract);
    }
}
