//! Identifiers that cannot be mixed up.

use std::{fmt, str::FromStr, sync::Arc};

use super::{Millis, Rng};

/// An identifier was not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not well formed; expected {expected}")]
pub struct BadId {
    pub what: &'static str,
    pub expected: &'static str,
}

/// The client's id for a request: a UUID, unique for its participant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId([u8; 16]);

impl RequestId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        RequestId(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = BadId { what: "request_id", expected: "a UUID as 8-4-4-4-12 hexadecimal digits" };
        if text.len() != 36 {
            return Err(bad);
        }
        match uuid::Uuid::try_parse(text) {
            Ok(id) if !id.is_nil() => Ok(RequestId(id.into_bytes())),
            _ => Err(bad),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A transaction: province of the journal that holds it, shard, time, chance.
/// Sorted by province, then shard, then time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionId([u8; 16]);

impl TransactionId {
    /// `province` is the 6-digit code (110000), below 2^20; `shard` below 2^12.
    pub fn new(province: u32, shard: u16, now_ms: Millis, rng: &dyn Rng) -> Self {
        assert!(province < 1 << 20, "a province has six digits");
        assert!(shard < 1 << 12, "4,096 shards at most");
        let mut bytes = [0; 16];
        let head = (province << 12) | u32::from(shard);
        bytes[..4].copy_from_slice(&head.to_be_bytes());
        let time = u64::try_from(now_ms).unwrap_or(0);
        bytes[4..10].copy_from_slice(&time.to_be_bytes()[2..]);
        rng.fill(&mut bytes[10..]);
        TransactionId(bytes)
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        TransactionId(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Province of the journal that holds it, 6 digits.
    pub fn province(&self) -> u32 {
        u32::from_be_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]) >> 12
    }

    /// When it was made, by the clock of the gateway that made it.
    pub fn made_at_ms(&self) -> Millis {
        let mut time = [0; 8];
        time[2..].copy_from_slice(&self.0[4..10]);
        i64::from_be_bytes(time)
    }

    pub fn shard(&self) -> u16 {
        u16::from_be_bytes([self.0[2], self.0[3]]) & 0x0fff
    }

    /// The same id as that of an upload: its last byte is 0. The taps of an upload have
    /// the same id with their place, from 1, in the last byte; ids of other
    /// transactions keep their chance there.
    pub fn as_upload(mut self) -> Self {
        self.0[15] = 0;
        self
    }

    /// The id of the tap at `place` (from 0) of the upload with this id.
    pub fn of_tap(mut self, place: u32) -> Self {
        assert!(place < 255, "a byte numbers the places");
        self.0[15] = place as u8 + 1;
        self
    }

    /// The upload and the place in it that this id may name, if there is such an
    /// upload.
    pub fn tap_of(&self) -> Option<(Self, u32)> {
        Some((self.as_upload(), u32::from(self.0[15].checked_sub(1)?)))
    }

    /// The same id in another shard, for whoever learns only after making it whose
    /// card the transaction is about. Not for one that is committed.
    pub fn in_shard(mut self, shard: u16) -> Self {
        assert!(shard < 1 << 12, "4,096 shards at most");
        let [high, low] = shard.to_be_bytes();
        self.0[2] = (self.0[2] & 0xf0) | high;
        self.0[3] = low;
        self
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:06}-{:03x}-{}-{}",
            self.province(),
            self.shard(),
            hex::encode(&self.0[4..10]),
            hex::encode(&self.0[10..])
        )
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TransactionId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let parse = || -> Option<TransactionId> {
            let mut parts = text.split('-');
            let (province, shard, time, chance) =
                (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            let lengths = [province.len(), shard.len(), time.len(), chance.len()];
            if lengths != [6, 3, 12, 12] || parts.next().is_some() {
                return None;
            }
            if !province.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let head = (province.parse::<u32>().ok()? << 12) | u32::from_str_radix(shard, 16).ok()?;
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&head.to_be_bytes());
            hex::decode_to_slice(time, &mut bytes[4..10]).ok()?;
            hex::decode_to_slice(chance, &mut bytes[10..]).ok()?;
            Some(TransactionId(bytes))
        };
        parse().ok_or(BadId {
            what: "transaction_id",
            expected: "province-shard-time-random, for example 110000-000-0192a3b4c5d6-9f8e7d6c5b4a",
        })
    }
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let fits = (1..=64).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
                if fits {
                    Ok($name(text.into()))
                } else {
                    Err(BadId { what: $what, expected: "1 to 64 of a-z, 0-9, '-', '_', '.'" })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_id!(
    /// An organisation that uses the gateway, for example `bj-metro`.
    ParticipantId,
    "participant"
);
name_id!(
    /// A terminal of a participant, for example `gate-01`; unique within it.
    TerminalId,
    "terminal"
);

macro_rules! token_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                $name(bytes)
            }

            pub fn from_slice(bytes: &[u8]) -> Result<Self, BadId> {
                bytes.try_into().map($name).map_err(|_| BadId { what: $what, expected: "16 bytes" })
            }

            pub fn random(rng: &dyn Rng) -> Self {
                let mut bytes = [0; 16];
                rng.fill(&mut bytes);
                $name(bytes)
            }

            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes)
                    .map_err(|_| BadId { what: $what, expected: "32 hexadecimal digits" })?;
                Ok($name(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        /// Shows the first four bytes: enough to follow a story in a log, too
        /// little to use.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}…", hex::encode(&self.0[..4]))
            }
        }
    };
}

token_id!(
    /// A holder in their home region. Survives reissue of the card; never leaves
    /// the region.
    HolderId,
    "holder id"
);
token_id!(
    /// The holder as one participant knows them. Two participants cannot join
    /// their records by it.
    PairwiseHolder,
    "pairwise holder id"
);
token_id!(
    /// The person an entry of this region's journal is about: a keyed hash of the
    /// card, so that the public part of the journal names nobody. Names the key
    /// that seals the entry's personal part.
    Subject,
    "subject"
);
token_id!(
    /// A single-use secret handle: holder session, chip session.
    Token16,
    "session"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed;
    impl crate::model::Rng for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0xab);
        }
    }

    #[test]
    fn a_transaction_id_carries_region_and_shard() {
        let id = TransactionId::new(130_000, 7, 1_790_000_000_000, &Fixed);
        assert_eq!((id.province(), id.shard()), (130_000, 7));
        assert_eq!(id.made_at_ms(), 1_790_000_000_000);
        let moved = id.in_shard(0xabc);
        assert_eq!((moved.province(), moved.shard()), (130_000, 0xabc));
        assert_eq!(moved.in_shard(7), id);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string(), "130000-007-01a0c4506c00-abababababab");
        let upload = id.as_upload();
        assert_eq!(upload.tap_of(), None);
        assert_eq!(upload.of_tap(0).tap_of(), Some((upload, 0)));
        assert_eq!(upload.of_tap(127).tap_of(), Some((upload, 127)));
    }

    #[test]
    fn ids_that_are_not_well_formed_are_refused() {
        for text in
            ["", "x", "00000000-0000-0000-0000-000000000000", "{67e55044-10b1-426f-9247-bb680e5fe0c8}"]
        {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
        for text in ["", "110000-000-0192a3b4c5d6", "+10000-000-0192a3b4c5d6-9f8e7d6c5b4a"] {
            assert!(text.parse::<TransactionId>().is_err(), "{text}");
        }
        for text in ["", "Gate", "a b", "a/b"] {
            assert!(text.parse::<TerminalId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<RequestId>();
            let _ = text.parse::<TransactionId>();
            let _ = text.parse::<Token16>();
            let _ = text.parse::<ParticipantId>();
        }

        #[test]
        fn transaction_ids_round_trip(bytes in any::<[u8; 16]>()) {
            let id = TransactionId::from_bytes(bytes);
            prop_assume!(id.province() <= 999_999);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
