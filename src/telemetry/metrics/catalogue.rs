//! Names, units, descriptions and buckets of all metrics. The names are part of
//! the product: dashboards and alerts use them.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(super) const CONNECTIONS_OPEN: &str = "onecard_connections_open";
pub(super) const CONNECTIONS_REFUSED: &str = "onecard_connections_refused_total";
pub(super) const CONNECTIONS_CLOSED_BY_RELOAD: &str = "onecard_connections_closed_by_reload_total";
pub(super) const ACCEPT_FAILURES: &str = "onecard_accept_failures_total";
pub(super) const HANDSHAKE_SECONDS: &str = "onecard_handshake_seconds";
pub(super) const TLS_RELOADS: &str = "onecard_tls_reloads_total";
pub(super) const SERVER_CERTIFICATE_EXPIRES: &str = "onecard_server_certificate_expires_timestamp_seconds";
pub(super) const REVOCATION_LISTS_EXPIRE: &str = "onecard_revocation_lists_expire_timestamp_seconds";
pub(super) const REQUESTS: &str = "onecard_requests_total";
pub(super) const REQUESTS_REFUSED: &str = "onecard_requests_refused_total";
pub(super) const REQUEST_SECONDS: &str = "onecard_request_seconds";
pub(super) const REFUSALS: &str = "onecard_refusals_total";
pub(super) const TASKS_RUN: &str = "onecard_tasks_run_total";
pub(super) const ROWS_SWEPT: &str = "onecard_rows_swept_total";
pub(super) const GUESSES_LIMITED: &str = "onecard_document_guesses_limited_total";
pub(super) const TASKS_OPEN: &str = "onecard_tasks_open";
pub(super) const TASKS_OLDEST_SECONDS: &str = "onecard_tasks_oldest_seconds";
pub(super) const TASKS_TRIES_MAX: &str = "onecard_tasks_tries_max";
pub(super) const ENVELOPES_REFUSED: &str = "onecard_envelopes_refused_total";
pub(super) const ENVELOPES_SENT_BACK: &str = "onecard_envelopes_sent_back_total";
pub(super) const SHED: &str = "onecard_requests_shed_total";
pub(super) const COMMIT_BATCH_ENTRIES: &str = "onecard_commit_batch_entries";
pub(super) const COMMIT_SECONDS: &str = "onecard_commit_seconds";
pub(super) const INDEX_LAG_ENTRIES: &str = "onecard_index_lag_entries";
pub(super) const PENDING_TRANSACTIONS: &str = "onecard_pending_transactions";
pub(super) const PENDING_OLDEST_SECONDS: &str = "onecard_pending_oldest_seconds";
pub(super) const LEDGER_SUM_FEN: &str = "onecard_ledger_sum_fen";
pub(super) const LEDGER_FOLDED_SUM_FEN: &str = "onecard_ledger_folded_sum_fen";
pub(super) const LEDGER_FOLDED_POSTINGS: &str = "onecard_ledger_folded_postings";
pub(super) const RETENTION_DROPPED: &str = "onecard_retention_dropped_total";
pub(super) const RETENTION_KEPT: &str = "onecard_retention_kept_entries";
pub(super) const RETENTION_RAN_SECONDS: &str = "onecard_retention_ran_timestamp_seconds";
pub(super) const LEDGER_FOLDED_AT_SECONDS: &str = "onecard_ledger_folded_at_seconds";
pub(super) const LEDGER_FOLD_FAILURES: &str = "onecard_ledger_fold_failures_total";
pub(super) const CLOCK_OFF_SECONDS: &str = "onecard_clock_off_seconds";
pub(super) const SIGN_QUEUE: &str = "onecard_sign_queue_batches";
pub(super) const ADAPTER_CALLS: &str = "onecard_adapter_calls_total";
pub(super) const ADAPTER_CALL_SECONDS: &str = "onecard_adapter_call_seconds";
pub(super) const ADAPTER_BREAKER: &str = "onecard_adapter_breaker_state";
pub(super) const MEDICAL_SUMS_BROKEN: &str = "onecard_medical_sums_broken_total";
pub(super) const PEER_CALLS: &str = "onecard_peer_calls_total";
pub(super) const PEER_CALL_SECONDS: &str = "onecard_peer_call_seconds";
pub(super) const PEER_BREAKER: &str = "onecard_peer_breaker_state";
pub(super) const DENY_LIST_VERSION: &str = "onecard_deny_list_version";
pub(super) const DENY_LIST_BEGUN: &str = "onecard_deny_list_begun_total";
pub(super) const DENY_LIST_TAKEN_UP: &str = "onecard_deny_list_taken_up_total";
pub(super) const DENY_LIST_DROPPED: &str = "onecard_deny_list_dropped_total";
pub(super) const DENY_LIST_UNTOLD: &str = "onecard_deny_list_untold";
pub(super) const DENY_LIST_AGE_SECONDS: &str = "onecard_deny_list_age_seconds";

/// A gate's promise is tens of milliseconds, a sync is tenths of one.
const QUICK: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Others' systems: milliseconds to their deadline.
const OUTSIDE: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0];
/// Entries in a batch, up to the largest.
const ENTRIES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Every histogram with its buckets: one without would become a summary.
pub(super) const BUCKETS: &[(&str, &[f64])] = &[
    (HANDSHAKE_SECONDS, QUICK),
    (REQUEST_SECONDS, QUICK),
    (COMMIT_SECONDS, QUICK),
    (COMMIT_BATCH_ENTRIES, ENTRIES),
    (ADAPTER_CALL_SECONDS, OUTSIDE),
    (PEER_CALL_SECONDS, OUTSIDE),
];

/// Describes all metrics to the recorder, in both languages of their readers.
pub(super) fn describe() {
    use Unit::{Count, Seconds};
    for (name, unit, text) in [
        (
            CONNECTIONS_REFUSED,
            Count,
            "Connections refused before any work, by reason. 被拒绝的连接数（按原因）",
        ),
        (
            CONNECTIONS_CLOSED_BY_RELOAD,
            Count,
            "Connections closed by new TLS material. 证书更新后关闭的连接数",
        ),
        (ACCEPT_FAILURES, Count, "Accepts that failed. 接受连接失败次数"),
        (TLS_RELOADS, Count, "Reloads of TLS material, by outcome. 证书重新加载次数（按结果）"),
        (REQUESTS, Count, "Requests, by method, participant and outcome. 请求数（按方法、参与方、结果）"),
        (REQUESTS_REFUSED, Count, "Calls refused at the edge, by reason. 入口拒绝的调用数（按原因）"),
        (REFUSALS, Count, "Calls refused on the way, by reason. 拒绝的请求数（按原因）"),
        (TASKS_RUN, Count, "Tries of due tasks, by kind and end. 到期任务执行次数（按种类、结果）"),
        (ROWS_SWEPT, Count, "Rows removed some time after their end, by kind. 到期清除的记录数（按种类）"),
        (
            GUESSES_LIMITED,
            Count,
            "Documents not looked up after too many that did not fit, by limit. 因核验失败过多而拒绝的证件数（按限制）",
        ),
        (ENVELOPES_REFUSED, Count, "Envelopes of peers refused, by peer. 拒绝的跨区报文数（按对端）"),
        (
            ENVELOPES_SENT_BACK,
            Count,
            "Envelopes of peers sent back: for another run of this gateway, by peer. 因非本次运行而退回的跨区报文数（按对端）",
        ),
        (SHED, Count, "Requests shed under load, by rank. 过载时舍弃的请求数（按优先级）"),
        (RETENTION_DROPPED, Count, "Sealed parts dropped after their scene's term. 到期清除的密封内容数"),
        (LEDGER_FOLD_FAILURES, Count, "Readings of the whole journal that failed. 账本全量汇总失败次数"),
        (ADAPTER_CALLS, Count, "Calls to backends, by adapter and outcome. 后端调用数（按适配器、结果）"),
        (DENY_LIST_BEGUN, Count, "Deny lists begun anew, by region. 黑名单重新起始次数（按地区）"),
        (
            DENY_LIST_DROPPED,
            Count,
            "Denials of our cards that a peer told and no home makes. 对端回告中状态无效而丢弃的条目数",
        ),
        (
            DENY_LIST_TAKEN_UP,
            Count,
            "Losses our store had lost, taken up again on a peer's word. 据对端回告恢复的挂失数",
        ),
        (
            MEDICAL_SUMS_BROKEN,
            Count,
            "Insurers' answers whose amounts do not add up, by identity. 医保返回金额不平次数（按等式）",
        ),
        (PEER_CALLS, Count, "Calls to peer regions, by peer and outcome. 跨区调用数（按对端、结果）"),
    ] {
        describe_counter!(name, unit, text);
    }
    for (name, unit, text) in [
        (CONNECTIONS_OPEN, Count, "Connections open now. 当前连接数"),
        (SERVER_CERTIFICATE_EXPIRES, Seconds, "When the server certificate ends. 服务器证书到期时刻"),
        (REVOCATION_LISTS_EXPIRE, Seconds, "When the first revocation list is due. 吊销列表最早更新期限"),
        (INDEX_LAG_ENTRIES, Count, "Entries journalled and not yet indexed. 已入账未索引的条目数"),
        (PENDING_TRANSACTIONS, Count, "Transactions of unknown outcome. 结果未知的交易数"),
        (PENDING_OLDEST_SECONDS, Seconds, "Age of the oldest of them. 最久未决交易的时长"),
        (LEDGER_SUM_FEN, Count, "Sum of all postings, always 0. 全部分录之和，恒为零"),
        (
            LEDGER_FOLDED_SUM_FEN,
            Count,
            "Sum of all postings, from the whole journal at its last reading; not zero is an alarm. 全部分录之和（应为零）",
        ),
        (LEDGER_FOLDED_POSTINGS, Count, "Postings that were summed then. 上次全量汇总的分录数"),
        (
            RETENTION_KEPT,
            Count,
            "Sealed parts past their term that still hold live state, at the last run. 已到期但仍承载现行状态的密封内容数",
        ),
        (
            RETENTION_RAN_SECONDS,
            Seconds,
            "When terms were last looked at, seconds since 1970. 上次按期限清除的时刻",
        ),
        (LEDGER_FOLDED_AT_SECONDS, Seconds, "When that was, seconds since 1970. 上次全量汇总完成的时刻"),
        (TASKS_OPEN, Count, "Open tasks, by kind and state. 未结任务数（按种类、状态）"),
        (TASKS_OLDEST_SECONDS, Seconds, "Age of the oldest open task, by kind. 最久未结任务的时长"),
        (TASKS_TRIES_MAX, Count, "Most tries of an open task, by kind. 未结任务的最多尝试次数"),
        (
            CLOCK_OFF_SECONDS,
            Seconds,
            "How far the clock is off: moved against the time that passed, behind the journal. 时钟偏差",
        ),
        (SIGN_QUEUE, Count, "Batches waiting for a signature. 等待签名的批次数"),
        (ADAPTER_BREAKER, Count, "Breaker of an adapter: 0 closed, 1 probing, 2 open. 适配器熔断状态"),
        (PEER_BREAKER, Count, "Breaker of a peer: 0 closed, 1 probing, 2 open. 对端熔断状态"),
        (DENY_LIST_VERSION, Count, "Version of a region's deny list held here. 各区黑名单版本"),
        (
            DENY_LIST_UNTOLD,
            Count,
            "1 until a peer has told what it knows of our deny list, begun anew. 对端尚未回告本区黑名单",
        ),
        (DENY_LIST_AGE_SECONDS, Seconds, "Age of a region's deny list. 各区黑名单时效"),
    ] {
        describe_gauge!(name, unit, text);
    }
    for (name, unit, text) in [
        (HANDSHAKE_SECONDS, Seconds, "TLS handshakes that ended well. TLS 握手耗时"),
        (REQUEST_SECONDS, Seconds, "Requests, by method. 请求耗时（按方法）"),
        (COMMIT_BATCH_ENTRIES, Count, "Entries in a durable batch. 每批落盘条目数"),
        (COMMIT_SECONDS, Seconds, "Making a batch durable. 批次落盘耗时"),
        (ADAPTER_CALL_SECONDS, Seconds, "Calls to backends. 后端调用耗时"),
        (PEER_CALL_SECONDS, Seconds, "Calls to peer regions. 跨区调用耗时"),
    ] {
        describe_histogram!(name, unit, text);
    }
}
