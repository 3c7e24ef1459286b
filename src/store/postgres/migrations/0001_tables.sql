-- Tables of the store. The shard leads every key of what is written on the way of
-- a request, so that the same schema and statements run on Citus
-- (docs/postgres.md).

CREATE TABLE onecard.entries (
    shard            integer     NOT NULL,
    transaction_id   uuid        NOT NULL,
    step             integer     NOT NULL,
    chain            text        NOT NULL,
    epoch            bigint      NOT NULL,
    sequence         bigint      NOT NULL,
    place            integer     NOT NULL,
    batch_shard      integer     NOT NULL,
    committed_at     timestamptz NOT NULL,
    business_date    date        NOT NULL,
    participant      text        NOT NULL,
    terminal         text        NOT NULL,
    operator_id      text        NOT NULL,
    purpose          smallint    NOT NULL,
    scene            text        NOT NULL,
    method           text        NOT NULL,
    status           text        NOT NULL,
    reason           text        NOT NULL,
    assurance        smallint    NOT NULL,
    request_id       uuid,
    subject          uuid,
    pairwise_holder  uuid,
    public_part      bytea       NOT NULL,
    sealed_part      bytea       NOT NULL,
    PRIMARY KEY (shard, transaction_id, step)
);
CREATE INDEX entries_about ON onecard.entries (shard, subject, scene, committed_at)
    WHERE subject IS NOT NULL;
-- Reports ask for days; entries come in the order of time, so this costs nearly
-- nothing on the way of a request.
CREATE INDEX entries_committed ON onecard.entries USING brin (committed_at);

CREATE TABLE onecard.claims (
    shard            integer     NOT NULL,
    claim            bytea       NOT NULL,
    fingerprint      bytea       NOT NULL,
    unit_shard       integer     NOT NULL,
    transaction_id   uuid        NOT NULL,
    step             integer     NOT NULL,
    claimed_at       timestamptz NOT NULL,
    PRIMARY KEY (shard, claim)
);

CREATE TABLE onecard.aggregates (
    shard            integer     NOT NULL,
    key              bytea       NOT NULL,
    revision         bigint      NOT NULL,
    schema_number    integer     NOT NULL,
    subject          uuid,
    bound            bytea,
    body             bytea       NOT NULL,
    PRIMARY KEY (shard, key)
);
-- Most are written again and again and never change their key.
ALTER TABLE onecard.aggregates SET (fillfactor = 80);

CREATE TABLE onecard.postings (
    shard            integer     NOT NULL,
    transaction_id   uuid        NOT NULL,
    step             integer     NOT NULL,
    line             smallint    NOT NULL,
    account          text        NOT NULL,
    amount_fen       bigint      NOT NULL,
    business_date    date        NOT NULL,
    committed_at     timestamptz NOT NULL,
    PRIMARY KEY (shard, transaction_id, step, line)
);
CREATE INDEX postings_days ON onecard.postings USING brin (business_date);

CREATE TABLE onecard.tasks (
    shard            integer     NOT NULL,
    transaction_id   uuid        NOT NULL,
    kind             text        NOT NULL,
    due_at           timestamptz NOT NULL,
    body             bytea       NOT NULL,
    opened_at        timestamptz NOT NULL,
    lane             text        NOT NULL,
    tries            bigint      NOT NULL,
    last_error       text        NOT NULL,
    stuck            boolean     NOT NULL,
    lease_owner      text,
    lease_until      timestamptz,
    PRIMARY KEY (shard, transaction_id, kind)
);
CREATE INDEX tasks_due ON onecard.tasks (shard, due_at);

CREATE TABLE onecard.batches (
    shard            integer     NOT NULL,
    chain            text        NOT NULL,
    epoch            bigint      NOT NULL,
    sequence         bigint      NOT NULL,
    entries          integer     NOT NULL,
    committed_at     timestamptz NOT NULL,
    header           bytea       NOT NULL,
    leaves           bytea       NOT NULL,
    signature        bytea       NOT NULL,
    PRIMARY KEY (shard, chain, epoch, sequence)
);

CREATE TABLE onecard.writers (
    shard            integer     NOT NULL,
    chain            text        NOT NULL,
    epoch            bigint      NOT NULL,
    sequence         bigint      NOT NULL,
    hash             bytea       NOT NULL,
    committed_at_ms  bigint      NOT NULL,
    fence            bigint      NOT NULL,
    PRIMARY KEY (shard, chain)
);
-- One row a writer, written with every batch.
ALTER TABLE onecard.writers SET (fillfactor = 20, autovacuum_vacuum_threshold = 1000);

CREATE TABLE onecard.holder_keys (
    shard            integer     NOT NULL,
    subject          uuid        NOT NULL,
    salt             bytea,
    made_at          timestamptz NOT NULL,
    destroyed_at     timestamptz,
    PRIMARY KEY (shard, subject)
);
