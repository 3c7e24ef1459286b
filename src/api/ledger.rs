//! What is owed to a participant, day by day.

use tonic::{Request, Response, Status};

use super::door::Door;
use crate::{
    gateway::{Refusal, Violation, method},
    ledger::{
        statement::{Line, Statement},
        window::Window,
    },
    proto::ledger::v1::{self as wire, ledger_service_server::LedgerService},
};

pub struct Ledger(pub Door);

#[tonic::async_trait]
impl LedgerService for Ledger {
    async fn get_statement(
        &self,
        request: Request<wire::GetStatementRequest>,
    ) -> Result<Response<wire::GetStatementResponse>, Status> {
        self.0
            .read_only(request, &method::GET_STATEMENT, |gateway, call, request| async move {
                let window = window_of(&request.date)?;
                let participant = &call.caller.participant.id;
                gateway.statement(participant, window).await.map(|statement| told(&statement))
            })
            .await
    }
}

fn window_of(date: &str) -> Result<Window, Refusal> {
    date.parse().map(Window::on).map_err(|_| {
        Refusal::invalid(vec![Violation::new(
            "date",
            "须为业务日期，如 2026-11-21",
            "must be a business date, for example 2026-11-21",
        )])
    })
}

fn told(statement: &Statement) -> wire::GetStatementResponse {
    wire::GetStatementResponse {
        participant: statement.participant.to_string(),
        date: statement.window.date().to_string(),
        lines: statement.lines.iter().map(line).collect(),
        total: Some(line(&statement.total)),
        r#final: statement.is_final,
    }
}

fn line(line: &Line) -> wire::StatementLine {
    wire::StatementLine {
        account: line.account.clone(),
        opening_fen: line.opening.get(),
        earned_fen: line.earned.get(),
        given_back_fen: line.given_back.get(),
        count: line.count,
        closing_fen: line.closing.get(),
    }
}
