//! `onecard holder erase`: destroys a holder's key, by two operators. A running gateway
//! is asked; the store of a stopped one is opened here.

use std::{path::PathBuf, sync::Arc};

use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{load, tasks::over_stopped};
use crate::{
    gateway::{ErasingHands, Gateway, HolderOf, NotErased},
    identity::CardIdentifier,
    model::TransactionId,
    net::{Act, HandError, hand},
};

/// Erase a holder for good
#[derive(Debug, Args)]
pub struct HolderArgs {
    #[command(subcommand)]
    act: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Destroy the key of a holder: what is personal is never read again, their cards
    /// close. Cannot be undone. 清除持卡人资料，不可恢复
    Erase(Erase),
}

#[derive(Debug, Args)]
struct Erase {
    /// The region's folder of the configuration, for example config/tianjin
    #[arg(long)]
    config: PathBuf,
    /// Any transaction of the holder
    #[arg(long, required_unless_present = "card", conflicts_with = "card")]
    transaction: Option<TransactionId>,
    /// A card of the holder, AAZ501, 32 hexadecimal digits
    #[arg(long)]
    card: Option<CardIdentifier>,
    /// Who acts; stands in the journal
    #[arg(long)]
    operator: String,
    /// Who else was there and agrees; stands in the journal
    #[arg(long)]
    second: String,
    /// Why, in a few words; stands in the journal and names no person
    #[arg(long)]
    reason: String,
}

/// An erasure as it is sent to a running gateway.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseAsk {
    transaction: Option<String>,
    card: Option<String>,
    operator: String,
    second: String,
    reason: String,
}

/// The path of this act on the operators' socket.
pub const HAND: &str = "/holders";

/// Runs it.
///
/// # Errors
/// When the configuration is wrong, or nobody was erased.
pub fn run(args: &HolderArgs) -> anyhow::Result<()> {
    let Command::Erase(erase) = &args.act;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{}", runtime.block_on(erase.ask())?);
    Ok(())
}

impl Erase {
    async fn ask(&self) -> anyhow::Result<String> {
        let loaded = load::load(&self.config)?;
        let ask = EraseAsk {
            transaction: self.transaction.map(|id| id.to_string()),
            card: self.card.map(|card| hex::encode(card.as_bytes())),
            operator: self.operator.clone(),
            second: self.second.clone(),
            reason: self.reason.clone(),
        };
        match hand::act(&loaded.file.store.dir, HAND, &serde_json::to_string(&ask)?).await {
            Ok(told) => Ok(told),
            Err(HandError::NotRunning) => {
                over_stopped(loaded, async |gateway| {
                    carry_out(gateway, &ask).await.map_err(anyhow::Error::msg)
                })
                .await
            }
            Err(error @ (HandError::Io(_) | HandError::Refused(_))) => Err(error.into()),
        }
    }
}

async fn carry_out(gateway: &Gateway, ask: &EraseAsk) -> Result<String, String> {
    let said = |refused: NotErased| refused.to_string();
    let hands = ErasingHands::new(&ask.operator, &ask.second, &ask.reason).map_err(said)?;
    let of = match (&ask.transaction, &ask.card) {
        (Some(id), None) => id.parse().map(HolderOf::Transaction).map_err(|_| said(NotErased::NobodyOf))?,
        (None, Some(card)) => card.parse().map(HolderOf::Card).map_err(|_| said(NotErased::NotOurs))?,
        (Some(_), Some(_)) | (None, None) => return Err("name one transaction or one card".into()),
    };
    let cards = gateway.erase_holder(of, &hands).await.map_err(said)?;
    tracing::warn!(operator = ask.operator, second = ask.second, cards, "a holder was erased");
    Ok(format!("已清除，{cards} 张卡已关闭 / erased; {cards} cards closed"))
}

/// What a running gateway does for operators on its machine.
pub fn hand_of(gateway: Arc<Gateway>) -> Act {
    Box::new(move |body| -> BoxFuture<'static, _> {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move {
            // A parser's own words may quote what was sent.
            let ask: EraseAsk = serde_json::from_str(&body).map_err(|_| "not an erasure".to_owned())?;
            carry_out(&gateway, &ask).await
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        holder: HolderArgs,
    }

    #[test]
    fn two_people_a_reason_and_one_name_of_the_holder_are_asked_for() {
        Line::command().debug_assert();
        let card = "110101000000000000000000000000aa";
        for (line, understood) in [
            (format!("x erase --config c --card {card} --operator a --second b --reason r"), true),
            (format!("x erase --config c --card {card} --operator a --reason r"), false),
            (format!("x erase --config c --card {card} --operator a --second b"), false),
            ("x erase --config c --operator a --second b --reason r".into(), false),
        ] {
            let parsed = Line::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), understood, "{line}: {:?}", parsed.err());
        }
    }
}
