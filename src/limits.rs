//! Every bound of the product in one place, each with its reason.

use std::time::Duration;

// ---- the wire -------------------------------------------------------------

/// One request message. The largest unary request is a few hundred bytes; 64 KiB
/// leaves room for every scene to come and keeps a hostile caller cheap.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// An upload of offline taps: 1,000 taps of at most 512 bytes, with slack.
pub const UPLOAD_BYTES_MAX: usize = 1024 * 1024;

/// Taps in one upload.
pub const UPLOAD_TAPS_MAX: usize = 1_000;

/// Taps in one upload that is one entry of the journal: all of them are decided in
/// one go, so it must stay below a millisecond of the committer.
pub const CHUNK_TAPS_MAX: usize = 128;

/// The highest sequence of a terminal, 2^53: exact in every language.
pub const TAP_SEQUENCE_MAX: u64 = 1 << 53;

/// Cards whose holder the gateway remembers between uploads: some 64 bytes each.
pub const HOLDERS_KNOWN_MAX: usize = 65_536;

/// Request headers of a call. Peers send at most 8 KiB by default.
pub const HEADER_LIST_BYTES_MAX: u32 = 8 * 1024;

/// Streams a connection may have open. A gate has one or two, a city's
/// concentrator some dozens; unlimited streams cost 18 KB each (facts/perf.md §1g).
pub const STREAMS_PER_CONNECTION_MAX: u32 = 128;

/// HTTP/2 resets that are tolerated before the connection is closed: rapid reset
/// and MadeYouReset (facts/perf.md §2.3).
pub const PENDING_ACCEPT_RESETS_MAX: usize = 20;
pub const LOCAL_ERROR_RESETS_MAX: usize = 64;

/// TLS handshake. Healthy ones take well under 100 ms.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(3);

/// From the end of the handshake to the first request; drops slow-header
/// connections.
pub const FIRST_REQUEST_MAX: Duration = Duration::from_secs(5);

/// Handshakes under way at once; each costs some 300 µs of CPU.
pub const HANDSHAKES_MAX: usize = 256;

/// Connections at once: 38 KB each (facts/perf.md §1a) make 10,000 gates 380 MB.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Connections of one certificate: a concentrator holds a few, a leak many.
pub const CONNECTIONS_PER_TERMINAL_MAX: usize = 32;

/// A connection is drained at this age (±10 %), so that certificates are checked
/// again and load spreads.
pub const CONNECTION_AGE_MAX: Duration = Duration::from_secs(3_600);

/// Keep-alive ping and the wait for its answer.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
pub const KEEPALIVE_WAIT: Duration = Duration::from_secs(10);

/// Bytes a caller may send ahead on one stream and on one connection: HTTP/2's
/// own default for a message, one whole upload for the connection.
pub const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
pub const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Answer bytes kept for a stream whose reader is slow.
pub const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// Connections the kernel keeps for us to accept: a line's gates reconnect
/// together.
pub const ACCEPT_BACKLOG: u32 = 4_096;

/// Participants that get a label of their own on metrics; the rest are `other`.
pub const PARTICIPANT_LABELS_MAX: usize = 256;

/// No call works longer than this, whatever the caller asks for.
pub const DEADLINE_MAX: Duration = Duration::from_secs(10);

/// The deadline of a call that names none: a gate's user waits no longer.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(2);

/// Kept back of a caller's deadline when a backend is called, so that its answer
/// can still be committed: a sync on a busy disk takes 4 ms, a stalled one more.
pub const COMMIT_RESERVE: Duration = Duration::from_millis(100);

/// How long a library's system is waited for when a reader's session ends: ours ends
/// without its answer.
pub const GOODBYE_MAX: Duration = Duration::from_millis(1_000);

/// How long a drain waits for calls under way.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Taps of one stream or upload that are under way at once: enough to fill
/// batches of the journal, few enough that one gate cannot crowd out others.
pub const STREAM_TAPS_IN_FLIGHT_MAX: usize = 64;

// ---- admission ------------------------------------------------------------

/// Calls under way in the whole gateway; beyond it even the highest rank is shed.
pub const CALLS_IN_FLIGHT_MAX: usize = 4_096;

/// Requests a second of one participant unless the registry says otherwise, and
/// how many it may send at once.
pub const PARTICIPANT_RATE_DEFAULT: u32 = 20_000;

/// Messages a second of one member region. A region of 30 million cards relays some
/// hundreds at its peak; each costs two SM2 checks.
pub const PEER_RATE: std::num::NonZeroU32 = match std::num::NonZeroU32::new(2_000) {
    Some(rate) => rate,
    None => panic!("2,000 is not zero"),
};

/// Refusals of one terminal that are journalled one by one in a minute; what
/// comes beyond is summed, so that garbage cannot fill a disk.
pub const REFUSALS_JOURNALLED_PER_MINUTE: u32 = 6;

/// How far a terminal's clock may be off, milliseconds. Offline uploads are
/// judged by the tap's own age instead.
pub const TERMINAL_CLOCK_SKEW_MS: i64 = 24 * 3_600 * 1_000;

/// Documents that did not fit which one terminal may try at once, and how long until
/// one more may be tried: a clerk mistypes now and then, a program that tries a list of
/// names needs thousands.
pub const DOCUMENT_TRIES_PER_TERMINAL: u32 = 20;
pub const DOCUMENT_TRY_BACK_PER_TERMINAL_MS: i64 = 10_000;

/// The same of one document's number, at whatever terminals: five names at once, then
/// 30 an hour.
pub const DOCUMENT_TRIES_PER_NUMBER: u32 = 5;
pub const DOCUMENT_TRY_BACK_PER_NUMBER_MS: i64 = 2 * 60_000;

/// Numbers whose tries are remembered, 24 bytes each. Some 800 terminals at their own
/// limit fill it; then further documents wait.
pub const DOCUMENTS_TRIED_MAX: usize = 65_536;

// ---- credentials ----------------------------------------------------------

/// An e-card code lives one minute (facts/domain.md §2.6).
pub const CODE_LIFE_MS: i64 = 60_000;

/// Clock skew between the region that signed a code and the one that reads it.
pub const CODE_SKEW_MS: i64 = 30_000;

/// From the first to the second call of the chip relay: a reader needs seconds.
pub const CHIP_SESSION_MS: i64 = 60_000;

/// A holder session: one visit to a counter.
pub const HOLDER_SESSION_MS: i64 = 10 * 60_000;

/// A temporary loss lapses by itself. Sources say 10 or 15 days
/// (facts/domain.md §2.5); configurable, this is the default.
pub const TEMPORARY_LOSS_MS: i64 = 15 * 24 * 3_600 * 1_000;

/// How far before its commitment a tap sent on line may have been taken. A gate
/// repeats one whose answer was lost for some minutes at most, and then the first
/// answer is found again; an older tap belongs into an upload. A generous bound
/// would let a gate choose its fare table and its rider's time.
pub const ONLINE_TAP_AGE_MS: i64 = 5 * 60_000;

/// How far a tap, on line or uploaded, may lie ahead of its commitment. Gates keep
/// time to the second; an entry far ahead would make every true exit out of order.
pub const TAP_AHEAD_MS: i64 = 2 * 60_000;

/// Offline taps older than this are declined.
pub const OFFLINE_TAP_AGE_MS: i64 = 7 * 24 * 3_600 * 1_000;

// ---- transit --------------------------------------------------------------

/// Rows of one file of stations. Beijing's rail has 542; a province's bus routes
/// some ten thousand.
pub const STATION_ROWS_MAX: usize = 50_000;

/// Stations of one network: all pairs take 6 bytes each, so 24 MB at most.
pub const STATIONS_MAX: usize = 2_000;

/// Fare tables in one book, and operators that run them.
pub const FARE_TABLES_MAX: usize = 256;

/// A single fare or surcharge, fen: 1,000 yuan. No city ride comes near; a typing
/// error does.
pub const FARE_FEN_MAX: i64 = 100_000;

/// One amount that is reserved, captured or refunded: a million yuan. A typing error
/// has more digits, a counter's sale fewer.
pub const AMOUNT_FEN_MAX: i64 = 100_000_000;

/// Steps of one transaction. Whoever refunds in parts needs a handful; each request
/// about a transaction reads them all, and a declined one is a step as well.
pub const STEPS_MAX: usize = 64;

/// The last of them are for reversals alone: who filled a transaction with declined
/// requests must not keep its money from going back.
pub const STEPS_FOR_REVERSALS: usize = 8;

/// How long a reservation may stand: long enough for a hotel stay, short enough that a
/// forgotten one frees the purse. Shorter than a second nobody could capture it.
pub const RESERVATION_LIFE_MS: std::ops::RangeInclusive<i64> = 1_000..=30 * 86_400_000;

/// How long after its midnight a business day is called final: longer than any commit
/// takes that was stamped before.
pub const WINDOW_SETTLES_MS: i64 = 60_000;

/// Held under a cap while a charge is decided whose amount only the fare table knows:
/// 100 yuan, more than any city ride costs.
pub const CHARGE_HELD_FEN: i64 = 10_000;

/// So long before midnight what is held under a cap is held of the next day too: the
/// longest call, and half as much again for a batch that waits for its disk.
pub const CAPS_HELD_AHEAD_MS: i64 = 15_000;

// ---- medical ----------------------------------------------------------------

/// Fee lines of one request: each some 250 bytes, so that a request stays within a
/// message and its entry within the journal's.
pub const FEE_LINES_PER_CALL_MAX: usize = 100;

/// Fee lines of one visit: what it remembers of each (some 45 bytes) must stay within an
/// entry. A longer stay is settled in between.
pub const FEE_LINES_PER_VISIT_MAX: usize = 1_000;

/// Diagnoses of one visit; the interface knows a main one and some secondary ones.
pub const DIAGNOSES_MAX: usize = 40;

/// A file to or from the insurer in one message.
pub const MEDICAL_FILE_BYTES_MAX: usize = 48 * 1024;

/// How long what the insurer said of a person is used: a day at a hospital.
pub const MEDICAL_PERSON_AGE_MS: i64 = 24 * 3_600 * 1_000;

// ---- keys and trust --------------------------------------------------------

/// Holder keys kept ready in memory: about 0.5 KB each make 32 MB; a miss costs
/// one index read and a key schedule.
pub const HOLDER_KEYS_CACHED_MAX: usize = 65_536;

/// Work factor of the passphrase of a vault file, PBKDF2 iterations. A file that
/// asks for more than the maximum is refused, or opening it could take for ever.
pub const VAULT_ITERATIONS: u32 = 200_000;
pub const VAULT_ITERATIONS_MAX: u32 = 10_000_000;

/// A vault file holds seven keys: some 600 bytes.
pub const VAULT_FILE_BYTES_MAX: u64 = 64 * 1024;

/// A passphrase that comes in over a file descriptor.
pub const PASSPHRASE_BYTES_MAX: u64 = 4_096;

/// The trust list: 34 province-level members of about 700 bytes, with slack.
pub const TRUST_MEMBERS_MAX: usize = 64;
pub const TRUST_LIST_BYTES_MAX: usize = 1024 * 1024;

// ---- store ----------------------------------------------------------------

/// Units that may wait for the committer: 8 full batches.
pub const COMMIT_QUEUE_MAX: usize = 8_192;

/// Entries in one batch: 1,024 of 400 bytes still sync in 0.3 ms
/// (facts/perf.md §1b).
pub const BATCH_ENTRIES_MAX: usize = 1_024;

/// Cards of one import that are under way at once: a batch that is written and one
/// that is decided meanwhile.
pub const IMPORT_AT_ONCE: usize = 2 * BATCH_ENTRIES_MAX;

/// Lines of a file of cards that are in memory at once.
pub const IMPORT_LINES_AT_ONCE: usize = 16_384;

/// An entry's encoded public and sealed part together. The largest is an upload of
/// 128 taps, some 400 bytes each and five times that where stations have the longest
/// names there may be.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;

/// Encoded entries of one batch together: 16 times the usual full batch, and an
/// eighth of a segment, so that rolling wastes little.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Aggregates that one unit of work may name.
///
/// An upload of taps names most: three files a card and its own blocks.
pub const UNIT_TOUCHES_MAX: usize = 4 * CHUNK_TAPS_MAX;

/// Rows that one unit of housekeeping deletes: so few that taps never wait for it.
pub const SWEPT_AT_ONCE_MAX: usize = 8;

/// A journal segment, zero-filled before use: extending a file costs two to
/// three times a sync (facts/perf.md §1b).
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Entries that are journalled and not yet indexed; beyond it admission waits.
pub const INDEX_LAG_ENTRIES_MAX: usize = 262_144;

/// Aggregates kept ready in front of the index: some 150,000 of a city's cards
/// that are on the road at the same time.
pub const AGGREGATES_RECENT_BYTES: u64 = 64 * 1024 * 1024;

/// Aggregates that callers have read and the committer will ask for at once: as many
/// as calls under way, four times over.
pub const AGGREGATES_SEEN_BYTES: u64 = 8 * 1024 * 1024;

/// How long after its end the row of a scanned code, a chip relay, a session or a
/// day of stand-ins is kept: clocks may go back and a late terminal hears `SESSION_EXPIRED`.
pub const SWEPT_AFTER_MS: i64 = 3_600 * 1_000;

/// Rows that a sweep looks at in one read: a few milliseconds aside of the calls.
pub const SWEEP_ROWS_PER_PART: usize = 256;

/// Parts of a kind that are looked at in one turn: with a turn a second and nothing
/// to do, 256 parts are seen in 16 s.
pub const SWEEP_PARTS_PER_TURN: usize = 16;

/// Bytes of a prefix that names a part: a whole id. Random ids never need as many;
/// the identifiers of one issuer's cards differ in their last bytes only.
pub const SWEEP_PREFIX_MAX: usize = 16;
/// Entries after which a batch of the journal carries a checkpoint: what a start
/// reads back at most, some 50 MB, beside what the index lags behind.
pub const CHECKPOINT_ENTRIES: u64 = 65_536;

/// The most that may be configured: some seconds of reading at a start.
pub const CHECKPOINT_ENTRIES_MAX: u64 = 1_000_000;

/// A checkpoint, encoded: some 55 bytes an account, so about 19,000 accounts. In
/// small segments it is an eighth of the segment, so that it fits beside a batch.
pub const CHECKPOINT_BYTES_MAX: usize = 1024 * 1024;

/// Milliseconds after which the next batch carries a checkpoint, so that a quiet
/// region's heads are signed with its totals every few minutes too.
pub const CHECKPOINT_MS: i64 = 5 * 60 * 1_000;
/// Reaching one server of the database; over a data centre's network it takes
/// milliseconds.
pub const DATABASE_CONNECT_MAX: Duration = Duration::from_secs(3);

/// The database's answer to one step of a batch, longer than it lets a statement
/// run: a connection that is silent for so long is dead.
pub const DATABASE_ANSWER_MAX: Duration = Duration::from_secs(12);

/// How long callers wait for a database that is away before they are told to come
/// back: within the longest deadline of a call.
pub const DATABASE_PATIENCE: Duration = Duration::from_secs(8);

/// Lanes of a node in one shard: while one waits for the disk the other decides.
pub const DATABASE_LANES: u16 = 2;

/// Lanes of a node in one shard at most: each is a connection with a chain of its
/// own, and what many lanes gain in turns they lose in smaller batches.
pub const DATABASE_LANES_MAX: u16 = 16;

/// Connections of one node that serve reads; each carries many at once.
pub const DATABASE_READ_LINES: usize = 4;

/// Tries of a batch that met a deadlock or a lock that was held too long.
pub const BATCH_TRIES_MAX: u32 = 4;

/// How long a holder's key is used before the database is asked again: so long
/// may a key that another node destroyed still open.
pub const HOLDER_KEY_TRUSTED: Duration = Duration::from_secs(5);

/// An idempotency key is remembered at least this long.
pub const REQUEST_ID_KEPT_DAYS: u32 = 90;

/// Longest term of a scene's sealed parts, days: a hundred years. More is a slip of the
/// pen; what is to be kept for ever has no term.
pub const RETENTION_DAYS_MAX: u32 = 36_525;

/// How far the machine's clock may be off what it should say. Clocks that are kept
/// step by a second or two at most; a wrong one by minutes and more.
pub const CLOCK_OFF_MAX_MS: i64 = 10_000;

// ---- tasks ----------------------------------------------------------------

/// Newest entries about a holder, a scene, in which their cards are looked for before
/// they are erased: a person has a handful of cards, each with an import and some calls.
pub const ERASED_ENTRIES_LOOKED_AT: usize = 10_000;

/// Tries of tasks under way at once, in all lanes: each waits for a backend most of
/// its time, and live calls need the processor more.
pub const TASKS_AT_ONCE_MAX: usize = 32;

/// Tries under way at once in one lane: half of the connections to one library, so
/// that people at its counters are served beside them.
pub const TASKS_PER_LANE_MAX: usize = 2;

/// The longest one try may take: a backend's deadline, a retry and two commits.
pub const TASK_RUN_MAX: Duration = Duration::from_secs(10);

/// How long a task belongs to who leased it: three times the longest try.
pub const TASK_LEASE_MS: i64 = 30_000;

/// Tries that may fail inside the gateway, beyond those a backend may let fail,
/// before people are called.
pub const TASK_FAILURES_MAX: u32 = 12;

/// Age beyond which a failing task is for people, whatever its tries: a day.
pub const TASK_AGE_MAX_MS: i64 = 24 * 3_600 * 1_000;

/// From a stand-in to the first try to settle it: a home region that was only slow
/// hears of it while it is fresh.
pub const STAND_IN_SETTLE_AFTER_MS: i64 = 2_000;

/// A stand-in is settled this long after it; then people look. A region cut off for
/// longer than a week has other worries.
pub const STAND_IN_SETTLE_MAX_MS: i64 = 7 * 24 * 3_600 * 1_000;

// ---- adapters and peers ---------------------------------------------------

/// One SIP2 message. Patron information with long item lists is the largest.
pub const SIP2_MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Connections to one library.
pub const SIP2_CONNECTIONS_MAX: usize = 4;

/// Messages at once to one insurer's platform: at 50 ms an answer 10,000 a second.
pub const NHSA_IN_FLIGHT_MAX: usize = 512;

/// One answer of an insurer. Its largest are files of a day's settlements.
pub const NHSA_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Numbers of answers that are remembered, to tell one that comes twice.
pub const NHSA_REFERENCES_MAX: usize = 1_024;

/// A retry budget is this share of the calls, in percent.
pub const RETRY_BUDGET_PERCENT: u32 = 20;

/// An envelope older or newer than this is refused.
pub const ENVELOPE_SKEW_MS: i64 = 30_000;

/// Envelope ids remembered against replay: longer than the skew on both sides.
pub const ENVELOPE_MEMORY_MS: i64 = 120_000;

/// Of one member: its own messages at its full rate, and as many answers to ours.
pub const ENVELOPES_PER_MEMBER_MAX: u64 = 500_000;

/// An epoch of a deny list, told by its region or of ours by a peer, beyond our clock: more can
/// only come of a clock that was far off, or of a lie that would use the numbers up.
pub const DENY_EPOCH_AHEAD_MAX_MS: u64 = 86_400_000;

/// Parts in which a peer tells what it knows of our deny list: ten million cards.
pub const DENY_TOLD_PARTS_MAX: u32 = 10_000;

/// A peer's answer to a relayed call.
pub const PEER_CALL_MAX: Duration = Duration::from_millis(1_500);

// ---- the terminal library -------------------------------------------------

/// How often a terminal sends one request in all. The fourth try is past what a
/// person at a counter waits for.
pub const CLIENT_TRIES_MAX: u32 = 4;

/// The first pause between tries, and the longest. Longer hints of the gateway
/// are told to the caller instead of waited for.
pub const CLIENT_PAUSE_MIN: Duration = Duration::from_millis(50);
pub const CLIENT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Retries a terminal may save up for one bad moment.
pub const CLIENT_RETRIES_SAVED_MAX: i64 = 10;

/// HTTP/2 windows of a terminal: the largest answer, and an upload's answer
/// beside it.
pub const CLIENT_STREAM_WINDOW_BYTES: u32 = 256 * 1024;
pub const CLIENT_CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// Taps of one stream that are sent and not yet taken by the connection.
pub const CLIENT_STREAM_QUEUE_MAX: usize = 64;

/// Taps a terminal keeps while its line is down: more than a day of the busiest
/// gate line.
pub const OFFLINE_TAPS_MAX: usize = 100_000;
// ---- reconciliation -------------------------------------------------------

/// A file of a day's movements: 2 million lines of some 100 bytes. Beijing's metro
/// has ten million rides on a full day and files by line.
pub const SETTLEMENT_FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;
pub const SETTLEMENT_LINES_MAX: usize = 2_000_000;

/// Bad lines that are told of one file; the rest is counted. A file with more has
/// another format than was declared.
pub const SETTLEMENT_PROBLEMS_MAX: usize = 100;

/// One field of such a file; references are 36 characters.
pub const SETTLEMENT_FIELD_BYTES_MAX: usize = 128;

/// Tolerances that may be configured: beyond a day, a yuan and a week two records
/// are two movements.
pub const RECONCILE_TIME_MINUTES_MAX: u32 = 24 * 60;
pub const RECONCILE_AMOUNT_FEN_MAX: u32 = 100;
pub const RECONCILE_DATE_SHIFT_DAYS_MAX: u32 = 7;

/// Exceptions that one run takes into the journal, where they stay for ever. A day
/// with more was compared with the file of another.
pub const RECONCILE_CASES_MAX: usize = 10_000;

/// Bytes of the words that explain a resolution, and of the operator's name, which
/// the journal bounds as it does a terminal's.
pub const RESOLUTION_REASON_BYTES_MAX: usize = 512;
pub const OPERATOR_CHARACTERS_MAX: usize = 32;

// ---- configuration --------------------------------------------------------

/// One configuration file. The largest, a fare table of 500 stations, is some
/// 100 KiB.
pub const CONFIG_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Problems that are told of one configuration; the rest is counted. A person
/// mends a hundred at most before checking again.
pub const CONFIG_PROBLEMS_MAX: usize = 100;

/// Rows of one code table: GB/T 2260 has some 3,200.
pub const CODE_TABLE_ROWS_MAX: usize = 10_000;
