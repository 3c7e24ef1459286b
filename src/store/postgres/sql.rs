//! Every statement that the engine sends, in one place.
//!
//! **Architecture Invariant:** `$1` is the shard, and a statement names no other:
//! reads say `shard = $1`, every row of an insert begins with `$1`. So each of
//! them is one shard's affair wherever the tables are distributed by it. Only
//! migrations, the views and reports over the ledger cross shards.

use std::borrow::Cow;

use super::value::Value;

/// Rows of one insert at most: with the widest table some 6,000 parameters, a
/// tenth of what the protocol can carry.
const INSERT_ROWS_MAX: usize = 256;

/// A statement with what goes into it.
#[derive(Debug)]
pub(super) struct Request {
    /// Under which it is kept prepared.
    pub(super) name: (&'static str, usize),
    pub(super) text: Cow<'static, str>,
    pub(super) params: Vec<Value>,
}

/// A statement with a fixed text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fixed(pub(super) &'static str);

impl Fixed {
    /// The statement for a shard.
    pub(super) fn on(self, shard: i32, rest: impl IntoIterator<Item = Value>) -> Request {
        let params = std::iter::once(Value::Int(shard)).chain(rest).collect();
        Request { name: (self.0, 1), text: Cow::Borrowed(self.0), params }
    }
}

/// Locks the head of a chain and tells where it stands.
pub(super) const LOCK_WRITER: Fixed =
    Fixed("SELECT sequence, fence FROM onecard.writers WHERE shard = $1 AND chain = $2 FOR UPDATE");
/// Shuts out whoever wrote the chain before and tells where it stands. It writes,
/// so when it is acknowledged everything before it is as durable as it is.
pub(super) const RAISE_FENCE: Fixed = Fixed(
    "UPDATE onecard.writers SET fence = fence + 1 WHERE shard = $1 AND chain = $2 \
     RETURNING epoch, sequence, hash, committed_at_ms, fence",
);
pub(super) const BEGIN_CHAIN: Fixed = Fixed(
    "INSERT INTO onecard.writers (shard, chain, epoch, sequence, hash, committed_at_ms, fence) \
     VALUES ($1, $2, $3, 0, $4, $5, 0) ON CONFLICT (shard, chain) DO NOTHING",
);
pub(super) const MOVE_HEAD: Fixed = Fixed(
    "UPDATE onecard.writers SET sequence = $3, hash = $4, committed_at_ms = $5 \
     WHERE shard = $1 AND chain = $2",
);
pub(super) const LOCK_TRANSACTIONS: Fixed = Fixed(
    "SELECT transaction_id FROM onecard.entries \
     WHERE shard = $1 AND transaction_id = ANY($2) AND step = 0 ORDER BY transaction_id FOR UPDATE",
);
pub(super) const LAST_STEPS: Fixed = Fixed(
    "SELECT DISTINCT ON (transaction_id) transaction_id, step, status FROM onecard.entries \
     WHERE shard = $1 AND transaction_id = ANY($2) ORDER BY transaction_id, step DESC",
);
pub(super) const CLAIMS: Fixed = Fixed(
    "SELECT claim, fingerprint, unit_shard, transaction_id, step FROM onecard.claims \
     WHERE shard = $1 AND claim = ANY($2)",
);
pub(super) const DROP_CLAIMS: Fixed =
    Fixed("DELETE FROM onecard.claims WHERE shard = $1 AND claim = ANY($2)");
pub(super) const NUMBER_CLAIM: Fixed =
    Fixed("UPDATE onecard.claims SET step = $3 WHERE shard = $1 AND claim = $2");
pub(super) const LOCK_AGGREGATES: Fixed = Fixed(
    "SELECT key, revision, schema_number, subject, bound, body FROM onecard.aggregates \
     WHERE shard = $1 AND key = ANY($2) ORDER BY key FOR UPDATE",
);
pub(super) const DROP_AGGREGATES: Fixed =
    Fixed("DELETE FROM onecard.aggregates WHERE shard = $1 AND key = ANY($2)");
pub(super) const DROP_TASK: Fixed =
    Fixed("DELETE FROM onecard.tasks WHERE shard = $1 AND transaction_id = $2 AND kind = $3");
pub(super) const ADD_BATCH: Fixed = Fixed(
    "INSERT INTO onecard.batches \
     (shard, chain, epoch, sequence, entries, committed_at, header, leaves, signature) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
);

pub(super) const AGGREGATE: Fixed = Fixed(
    "SELECT key, revision, schema_number, subject, bound, body FROM onecard.aggregates \
     WHERE shard = $1 AND key = $2",
);
pub(super) const AGGREGATES_BETWEEN: Fixed = Fixed(
    "SELECT key, revision, schema_number, subject, bound, body FROM onecard.aggregates \
     WHERE shard = $1 AND key >= $2 AND key < $3 ORDER BY key LIMIT $4",
);
pub(super) const STEPS: Fixed = Fixed(
    "SELECT public_part, sealed_part, chain, epoch, sequence, place, batch_shard FROM onecard.entries \
     WHERE shard = $1 AND transaction_id = $2 ORDER BY step",
);
/// The last step that no later request asked for.
pub(super) const LAST_STEP: Fixed = Fixed(
    "SELECT public_part, sealed_part, chain, epoch, sequence, place, batch_shard FROM onecard.entries \
     WHERE shard = $1 AND transaction_id = $2 AND (step = 0 OR request_id IS NULL) \
     ORDER BY step DESC LIMIT 1",
);
pub(super) const ONE_STEP: Fixed = Fixed(
    "SELECT public_part, sealed_part, chain, epoch, sequence, place, batch_shard FROM onecard.entries \
     WHERE shard = $1 AND transaction_id = $2 AND step = $3",
);
pub(super) const ABOUT: Fixed = Fixed(
    "SELECT public_part, sealed_part, chain, epoch, sequence, place, batch_shard, committed_at \
     FROM onecard.entries WHERE shard = $1 AND subject = $2 AND scene = $3 \
     ORDER BY committed_at DESC, sequence DESC, place DESC LIMIT $4",
);
/// The same of entries about several holders.
pub(super) const ABOUT_AMONG: Fixed = Fixed(
    "SELECT e.public_part, e.sealed_part, e.chain, e.epoch, e.sequence, e.place, e.batch_shard, e.committed_at \
     FROM onecard.entry_holders AS h JOIN onecard.entries AS e \
     ON e.shard = h.shard AND e.transaction_id = h.transaction_id AND e.step = h.step \
     WHERE h.shard = $1 AND h.subject = $2 AND h.scene = $3 \
     ORDER BY h.committed_at DESC, e.sequence DESC, e.place DESC LIMIT $4",
);
pub(super) const BATCH: Fixed = Fixed(
    "SELECT header, leaves, signature FROM onecard.batches \
     WHERE shard = $1 AND chain = $2 AND epoch = $3 AND sequence = $4",
);
pub(super) const DUE_TASKS: Fixed = Fixed(
    "SELECT transaction_id, body FROM onecard.tasks \
     WHERE shard = $1 AND due_at <= $2 ORDER BY due_at, transaction_id, kind LIMIT $3",
);
pub(super) const OPEN_TASKS: Fixed = Fixed(
    "SELECT kind, stuck, count(*), min(opened_at), max(tries) FROM onecard.tasks \
     WHERE shard = $1 GROUP BY kind, stuck",
);
/// Leases due tasks of known kinds, as many a lane as it may have out. Whoever comes
/// second waits for the row and finds it leased: the last condition is looked at
/// again under the lock.
pub(super) const LEASE_TASKS: Fixed = Fixed(
    "UPDATE onecard.tasks SET lease_owner = $2, lease_until = $3 \
     WHERE shard = $1 AND (transaction_id, kind) IN (\
        SELECT transaction_id, kind FROM (\
            SELECT transaction_id, kind, lane, due_at, \
                row_number() OVER (PARTITION BY lane ORDER BY due_at, transaction_id, kind) AS place \
            FROM onecard.tasks WHERE shard = $1 AND due_at <= $4 AND NOT stuck \
                AND kind = ANY(string_to_array($5, ',')) AND (lease_until IS NULL OR lease_until <= $4)\
        ) AS due \
        WHERE place + (SELECT count(*) FROM onecard.tasks AS held \
            WHERE held.shard = $1 AND held.lane = due.lane AND held.lease_until > $4) <= $6 \
        ORDER BY place, due_at LIMIT $7) \
     AND (lease_until IS NULL OR lease_until <= $4) \
     RETURNING transaction_id, body",
);
pub(super) const RELEASE_TASK: Fixed = Fixed(
    "UPDATE onecard.tasks SET lease_owner = NULL, lease_until = NULL \
     WHERE shard = $1 AND transaction_id = $2 AND kind = $3 AND lease_owner = $4",
);
pub(super) const LOCK_TASKS: Fixed = Fixed(
    "SELECT transaction_id, kind FROM onecard.tasks \
     WHERE shard = $1 AND transaction_id = ANY($2) ORDER BY transaction_id, kind FOR UPDATE",
);
/// Changes another transaction's task, which is locked and open.
pub(super) const CHANGE_TASK: Fixed = Fixed(
    "UPDATE onecard.tasks SET due_at = $4, body = $5, opened_at = $6, lane = $7, tries = $8, \
        last_error = $9, stuck = $10, lease_owner = NULL, lease_until = NULL \
     WHERE shard = $1 AND transaction_id = $2 AND kind = $3",
);

pub(super) const HOLDER_KEYS: Fixed =
    Fixed("SELECT subject, salt FROM onecard.holder_keys WHERE shard = $1 AND subject = ANY($2)");
pub(super) const DESTROY_HOLDER_KEY: Fixed = Fixed(
    "INSERT INTO onecard.holder_keys (shard, subject, salt, made_at, destroyed_at) \
     VALUES ($1, $2, NULL, $3, $3) \
     ON CONFLICT (shard, subject) DO UPDATE SET salt = NULL, destroyed_at = excluded.destroyed_at",
);

/// A statement over all shards at once, so that it is of one moment: for reports
/// that are never on the way of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report(pub(super) &'static str);

impl Report {
    /// The statement with what goes into it.
    pub(super) fn with(self, params: Vec<Value>) -> Request {
        Request { name: (self.0, 1), text: Cow::Borrowed(self.0), params }
    }
}

pub(super) const BALANCES: Report = Report(
    "SELECT account, business_date, coalesce(sum(amount_fen) FILTER (WHERE amount_fen > 0), 0)::bigint, \
     coalesce(-sum(amount_fen) FILTER (WHERE amount_fen < 0), 0)::bigint, count(*) FROM onecard.postings \
     WHERE business_date BETWEEN $1 AND $2 AND starts_with(account, $3) \
     GROUP BY account, business_date ORDER BY account COLLATE \"C\", business_date",
);
pub(super) const TOTALS: Report = Report(
    "SELECT coalesce(sum(amount_fen) FILTER (WHERE amount_fen > 0), 0)::text, \
     coalesce(-sum(amount_fen) FILTER (WHERE amount_fen < 0), 0)::text, count(*) FROM onecard.postings",
);

/// An insert of many rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Insert {
    name: &'static str,
    table: &'static str,
    /// After the shard.
    columns: &'static [&'static str],
    tail: &'static str,
}

pub(super) const ADD_ENTRIES: Insert = Insert {
    name: "add_entries",
    table: "entries",
    columns: &[
        "transaction_id",
        "step",
        "chain",
        "epoch",
        "sequence",
        "place",
        "batch_shard",
        "committed_at",
        "business_date",
        "participant",
        "terminal",
        "operator_id",
        "purpose",
        "scene",
        "method",
        "status",
        "reason",
        "assurance",
        "request_id",
        "subject",
        "pairwise_holder",
        "public_part",
        "sealed_part",
    ],
    tail: "",
};
pub(super) const ADD_ENTRY_HOLDERS: Insert = Insert {
    name: "add_entry_holders",
    table: "entry_holders",
    columns: &["transaction_id", "step", "subject", "pairwise_holder", "scene", "committed_at"],
    tail: "",
};
pub(super) const ADD_CLAIMS: Insert = Insert {
    name: "add_claims",
    table: "claims",
    columns: &["claim", "fingerprint", "unit_shard", "transaction_id", "step", "claimed_at"],
    tail: " ON CONFLICT (shard, claim) DO NOTHING RETURNING claim",
};
/// Rows for aggregates that do not exist yet: what is not there cannot be locked.
pub(super) const HOLD_AGGREGATES: Insert = Insert {
    name: "hold_aggregates",
    table: "aggregates",
    columns: &["key", "revision", "schema_number", "body"],
    tail: " ON CONFLICT (shard, key) DO NOTHING RETURNING key",
};
pub(super) const PUT_AGGREGATES: Insert = Insert {
    name: "put_aggregates",
    table: "aggregates",
    columns: &["key", "revision", "schema_number", "subject", "bound", "body"],
    tail: " ON CONFLICT (shard, key) DO UPDATE SET revision = excluded.revision, \
           schema_number = excluded.schema_number, subject = excluded.subject, bound = excluded.bound, \
           body = excluded.body",
};
pub(super) const ADD_POSTINGS: Insert = Insert {
    name: "add_postings",
    table: "postings",
    columns: &["transaction_id", "step", "line", "account", "amount_fen", "business_date", "committed_at"],
    tail: "",
};
pub(super) const PUT_TASKS: Insert = Insert {
    name: "put_tasks",
    table: "tasks",
    columns: &[
        "transaction_id",
        "kind",
        "due_at",
        "body",
        "opened_at",
        "lane",
        "tries",
        "last_error",
        "stuck",
    ],
    tail: " ON CONFLICT (shard, transaction_id, kind) DO UPDATE SET due_at = excluded.due_at, \
           body = excluded.body, opened_at = excluded.opened_at, lane = excluded.lane, \
           tries = excluded.tries, last_error = excluded.last_error, stuck = excluded.stuck, \
           lease_owner = NULL, lease_until = NULL",
};
pub(super) const MAKE_HOLDER_KEYS: Insert = Insert {
    name: "make_holder_keys",
    table: "holder_keys",
    columns: &["subject", "salt", "made_at"],
    tail: " ON CONFLICT (shard, subject) DO NOTHING",
};

impl Insert {
    /// The statement for so many rows. Only powers of two are asked for, so that
    /// few texts stay prepared.
    fn text(self, rows: usize) -> String {
        let mut text =
            format!("INSERT INTO onecard.{} (shard, {}) VALUES ", self.table, self.columns.join(", "));
        let mut param = 1;
        for row in 0..rows {
            text.push_str(if row == 0 { "($1" } else { ", ($1" });
            for _ in self.columns {
                param += 1;
                text.push_str(&format!(", ${param}"));
            }
            text.push(')');
        }
        text.push_str(self.tail);
        text
    }

    /// The statements that insert `values`, row after row, into a shard.
    pub(super) fn on(self, shard: i32, mut values: Vec<Value>) -> Vec<Request> {
        let width = self.columns.len();
        debug_assert_eq!(values.len() % width, 0, "whole rows of {}", self.table);
        let mut requests = Vec::new();
        while !values.is_empty() {
            let rows = values.len() / width;
            let now = (1 << rows.ilog2()).min(INSERT_ROWS_MAX);
            let later = values.split_off(now * width);
            let mut params = Vec::with_capacity(1 + values.len());
            params.push(Value::Int(shard));
            params.append(&mut values);
            values = later;
            requests.push(Request { name: (self.name, now), text: Insert::text(self, now).into(), params });
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_parted_into_powers_of_two() {
        let values = vec![Value::Null; 4 * 600];
        let requests = HOLD_AGGREGATES.on(3, values);
        let rows: Vec<_> = requests.iter().map(|request| (request.params.len() - 1) / 4).collect();
        assert_eq!(rows, [256, 256, 64, 16, 8]);
        assert_eq!(
            requests[4].text.matches("($1, ").count(),
            8,
            "every row begins with the shard: {}",
            requests[4].text
        );
        assert!(HOLD_AGGREGATES.on(3, Vec::new()).is_empty());
    }
}
