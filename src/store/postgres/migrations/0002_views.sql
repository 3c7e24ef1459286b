-- What operators read. Nothing personal is in the clear in any of them.

CREATE FUNCTION onecard.transaction_name(id uuid) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT lpad((('x' || substr(h, 1, 5))::bit(20)::integer)::text, 6, '0')
        || '-' || substr(h, 6, 3) || '-' || substr(h, 9, 12) || '-' || substr(h, 21, 12)
    FROM (SELECT replace(id::text, '-', '') AS h) AS hex
$$;
COMMENT ON FUNCTION onecard.transaction_name(uuid) IS
    'A transaction as terminals, logs and receipts name it: province-shard-time-random.';

CREATE VIEW onecard.transactions AS
    SELECT DISTINCT ON (shard, transaction_id)
        onecard.transaction_name(transaction_id) AS transaction, shard, transaction_id, step,
        participant, terminal, operator_id, scene, method, status, reason, committed_at, business_date,
        request_id, subject, pairwise_holder
    FROM onecard.entries
    ORDER BY shard, transaction_id, step DESC;
COMMENT ON VIEW onecard.transactions IS 'Every transaction as its last step left it.';

CREATE VIEW onecard.account_days AS
    SELECT account, business_date,
        sum(amount_fen) FILTER (WHERE amount_fen > 0) AS debit_fen,
        -sum(amount_fen) FILTER (WHERE amount_fen < 0) AS credit_fen,
        sum(amount_fen) AS balance_fen, count(*) AS postings
    FROM onecard.postings
    GROUP BY account, business_date;
COMMENT ON VIEW onecard.account_days IS 'Movements of every account by business day (Asia/Shanghai), fen.';

CREATE VIEW onecard.ledger_sum AS
    SELECT coalesce(sum(amount_fen), 0) AS sum_fen, count(*) AS postings FROM onecard.postings;
COMMENT ON VIEW onecard.ledger_sum IS 'The sum of all postings; anything but zero is a fault.';

CREATE VIEW onecard.open_tasks AS
    SELECT onecard.transaction_name(transaction_id) AS transaction, kind, opened_at, due_at,
        now() - opened_at AS age, lane, tries, last_error, stuck, lease_owner, lease_until
    FROM onecard.tasks;
COMMENT ON VIEW onecard.open_tasks IS 'What must still happen, how long it has been open, who works on it.';

CREATE VIEW onecard.declines_by_hour AS
    SELECT date_trunc('hour', committed_at) AS hour, participant, scene, method, reason, count(*) AS declines
    FROM onecard.entries
    WHERE status = 'declined'
    GROUP BY 1, 2, 3, 4, 5;
COMMENT ON VIEW onecard.declines_by_hour IS 'How often each reason was answered, by hour and participant.';

CREATE VIEW onecard.chains AS
    SELECT w.chain, w.shard, w.epoch, w.sequence AS batches, w.hash AS head,
        to_timestamp(w.committed_at_ms / 1000.0) AS committed_at
    FROM onecard.writers AS w;
COMMENT ON VIEW onecard.chains IS 'The head of every writer''s chain.';

COMMENT ON TABLE onecard.entries IS
    'The journal, one row a step. public_part and sealed_part are the very bytes that were hashed; the columns repeat public_part for people.';
COMMENT ON COLUMN onecard.entries.subject IS 'The person within this region, a keyed hash; never leaves it.';
COMMENT ON COLUMN onecard.entries.pairwise_holder IS 'The person as this participant knows them.';
COMMENT ON COLUMN onecard.entries.batch_shard IS 'Where the row of the batch is.';
COMMENT ON COLUMN onecard.entries.place IS 'Leaf in the batch''s Merkle tree, from 0.';
COMMENT ON TABLE onecard.claims IS
    'Which transaction a request made. unit_shard other than shard: the outcome, if there is one, stands under the same claim there.';
COMMENT ON TABLE onecard.aggregates IS
    'State. key is the kind and the id; with a subject, body is the sealed part of the entry that wrote it.';
COMMENT ON TABLE onecard.postings IS 'Double entry: debit positive, credit negative, fen; a step''s lines sum to zero.';
COMMENT ON TABLE onecard.tasks IS 'What must still happen.';
COMMENT ON TABLE onecard.batches IS 'One row a batch: the signed header and the leaves of its Merkle tree.';
COMMENT ON TABLE onecard.writers IS 'The head of every writer''s chain; the lock that tells what became of a commit.';
COMMENT ON TABLE onecard.holder_keys IS
    'Salts of the keys that seal personal data; useless without the vault. No salt: the person was erased.';
