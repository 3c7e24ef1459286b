-- Whom an entry about several holders is about: an upload of taps. The shard is the
-- entry's, so that both are found in one.

CREATE TABLE onecard.entry_holders (
    shard            integer     NOT NULL,
    transaction_id   uuid        NOT NULL,
    step             integer     NOT NULL,
    subject          uuid        NOT NULL,
    pairwise_holder  uuid,
    scene            text        NOT NULL,
    committed_at     timestamptz NOT NULL,
    PRIMARY KEY (shard, transaction_id, step, subject)
);
CREATE INDEX entry_holders_about ON onecard.entry_holders (shard, subject, scene, committed_at);
COMMENT ON TABLE onecard.entry_holders IS
    'The holders of an entry that is about several; entries.subject is null then.';
