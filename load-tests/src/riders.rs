//! Sample cards that ride a metro: entry and exit in turn, each tap under the card's
//! next counter, each with the chip's own MAC.
//!
//! A rider is only state; it sends nothing. What was prepared and never sent
//! must not count as ridden, so whoever prepares ahead works on a copy.

use bytes::{BufMut as _, Bytes, BytesMut};
use onecard::{
    crypto::KeyVault,
    model::{Clock as _, Millis, SystemClock},
    proto::{
        common::v1::{Purpose, RequestHeader},
        transit::v1::{OfflineTap, Tap, TapKind, TapRequest, TapStreamRequest, UploadChunkRequest},
    },
    sandbox::{
        card_files::{SampleCard, TapAt},
        people::{Home, SampleHolder, people},
    },
};

/// Stations of one line of Beijing: a ride between any two of them is short and has
/// a fare.
pub const BEIJING: &[&str] =
    &["西直门", "积水潭", "鼓楼大街", "安定门", "雍和宫", "东直门", "朝阳门", "建国门"];

/// Where a card stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Standing {
    /// The counter of its last tap; 0 for none.
    counter: u32,
    /// Entered and not yet left.
    inside: bool,
    tapped_at_ms: Millis,
}

/// A card and where it stands.
#[derive(Debug, Clone)]
pub struct Rider {
    card: SampleCard,
    standing: Standing,
    stations: &'static [&'static str],
}

impl Rider {
    /// The rider of a card that never tapped, in Beijing.
    pub fn new(card: SampleCard) -> Self {
        Rider::on(BEIJING, card)
    }

    /// The rider of a card that has tapped so often, entering and leaving in turn.
    pub fn after(card: SampleCard, taps: u32) -> Self {
        let standing = Standing { counter: taps, inside: taps % 2 == 1, tapped_at_ms: 0 };
        Rider { standing, ..Rider::new(card) }
    }

    /// The rider of a card that never tapped, between stations of one line.
    pub fn on(stations: &'static [&'static str], card: SampleCard) -> Self {
        Rider { card, standing: Standing::default(), stations }
    }

    /// Taps made so far.
    pub fn taps(&self) -> u32 {
        self.standing.counter
    }

    /// The next tap, under a request id of its own: an entry, or the exit of the
    /// entry before.
    pub fn tap(&mut self) -> TapRequest {
        self.standing = self.standing.next(SystemClock.now_ms());
        self.request(self.standing)
    }

    fn read(&self, standing: Standing) -> Tap {
        let kind = if standing.inside { TapKind::Entry } else { TapKind::Exit };
        // A ride ends one station further than it began, so that none is a
        // same-station exit.
        let station = self.stations[standing.counter as usize % self.stations.len()];
        let at = TapAt { kind, station, line: "", tapped_at_ms: standing.tapped_at_ms };
        self.card.tap(at, standing.counter)
    }

    fn request(&self, standing: Standing) -> TapRequest {
        TapRequest {
            header: Some(RequestHeader {
                request_id: uuid::Uuid::now_v7().to_string(),
                terminal_time_ms: standing.tapped_at_ms,
                purpose: Purpose::TransitRide.into(),
                ..RequestHeader::default()
            }),
            tap: Some(self.read(standing)),
        }
    }
}

impl Standing {
    /// After one more tap. Time never goes back, whatever the clock does: an exit
    /// before its entry would be declined.
    fn next(self, now_ms: Millis) -> Self {
        Standing {
            counter: self.counter + 1,
            inside: !self.inside,
            tapped_at_ms: now_ms.max(self.tapped_at_ms),
        }
    }
}

/// People of a home with a normal card, `count` of them, whom the sandbox itself
/// does not have (its seed is another).
pub fn holders(home: &Home, count: u32) -> Vec<SampleHolder> {
    const SEED: u64 = 0x10ad;
    let numbered = |holder: &SampleHolder| {
        holder.short_name.rsplit_once('-').is_some_and(|(_, number)| number.parse::<u32>().is_ok())
    };
    people(home, SEED, count).into_iter().filter(numbered).collect()
}

/// Riders with the cards of these holders, personalised from the region's roots.
///
/// # Errors
/// When the vault lacks a root.
pub fn riders(holders: Vec<SampleHolder>, vault: &dyn KeyVault) -> anyhow::Result<Vec<Rider>> {
    holders.into_iter().map(|holder| Ok(Rider::new(SampleCard::issue(holder, vault)?))).collect()
}

/// How a tap is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a call of its own.
    Alone,
    /// Among the others of a gate's stream.
    Stream,
}

/// Taps of some riders made ready as gRPC frames, so that a measured second is
/// not spent on making them. Riders take turns, so that a card's next tap is sent
/// long after its last was answered.
#[derive(Debug)]
pub struct Magazine {
    riders: Vec<Rider>,
    /// Whose turn the first frame is.
    turn: usize,
    frames: Vec<Bytes>,
    sent: usize,
}

impl Magazine {
    /// # Panics
    /// Without riders.
    pub fn of(riders: Vec<Rider>) -> Self {
        assert!(!riders.is_empty(), "somebody must ride");
        Magazine { riders, turn: 0, frames: Vec::new(), sent: 0 }
    }

    /// Makes `count` taps ready in the place of those that were not sent.
    pub fn fill(&mut self, count: usize, way: Way) {
        let crowd = self.riders.len();
        let now_ms = SystemClock.now_ms();
        for at in 0..self.sent {
            let rider = &mut self.riders[(self.turn + at) % crowd];
            // The exact instant was in the frame; only its order matters now.
            rider.standing = rider.standing.next(now_ms);
        }
        self.turn = (self.turn + self.sent) % crowd;
        self.sent = 0;
        let mut standings: Vec<Standing> = self.riders.iter().map(|rider| rider.standing).collect();
        let mut bytes = BytesMut::with_capacity(count * FRAME_BYTES_USUAL);
        self.frames.clear();
        self.frames.reserve(count);
        for at in 0..count {
            let who = (self.turn + at) % crowd;
            standings[who] = standings[who].next(now_ms);
            let request = self.riders[who].request(standings[who]);
            self.frames.push(match way {
                Way::Alone => frame(&request, &mut bytes),
                Way::Stream => frame(&TapStreamRequest { tap: Some(request) }, &mut bytes),
            });
        }
    }

    /// The next tap that was never sent; `None` when all were.
    pub fn take(&mut self) -> Option<Bytes> {
        let frame = self.frames.get(self.sent)?.clone();
        self.sent += 1;
        Some(frame)
    }

    /// The place of the rider who was sent last.
    pub fn last_card(&self) -> Option<usize> {
        Some((self.turn + self.sent.checked_sub(1)?) % self.riders.len())
    }

    /// The riders, as they stand after what was sent.
    pub fn into_riders(mut self) -> Vec<Rider> {
        self.fill(0, Way::Alone);
        self.riders
    }

    /// The frame at a place, for a server that does not mind seeing it again.
    ///
    /// # Panics
    /// When none was made ready.
    pub fn again(&self, at: usize) -> Bytes {
        self.frames[at % self.frames.len()].clone()
    }
}

/// Uploads of one caller, made ready as gRPC frames. The caller has its own cards and
/// its own range of the terminal's sequences.
#[derive(Debug)]
pub struct Uploads {
    riders: Vec<Rider>,
    turn: usize,
    sequence: u64,
    /// With a bit for each tap that is an exit.
    frames: std::vec::IntoIter<(Bytes, u128)>,
}

impl Uploads {
    /// The uploads of the caller with this number.
    pub fn of(caller: usize, riders: Vec<Rider>) -> Self {
        assert!(!riders.is_empty(), "somebody must ride");
        Uploads { riders, turn: 0, sequence: (caller as u64) << 32, frames: Vec::new().into_iter() }
    }

    /// Makes `count` uploads of so many taps ready, at most 128, behind those that are
    /// left.
    pub fn fill(&mut self, count: usize, taps: usize) {
        let mut frames: Vec<_> = std::mem::take(&mut self.frames).collect();
        let mut bytes = BytesMut::new();
        for _ in 0..count {
            let mut exits = 0_u128;
            let mut upload = UploadChunkRequest {
                header: Some(RequestHeader {
                    request_id: uuid::Uuid::now_v7().to_string(),
                    terminal_time_ms: SystemClock.now_ms(),
                    purpose: Purpose::TransitRide.into(),
                    ..RequestHeader::default()
                }),
                taps: Vec::with_capacity(taps),
            };
            for place in 0..taps {
                let crowd = self.riders.len();
                let rider = &mut self.riders[self.turn % crowd];
                self.turn += 1;
                self.sequence += 1;
                rider.standing = rider.standing.next(SystemClock.now_ms());
                exits |= u128::from(!rider.standing.inside) << place;
                upload
                    .taps
                    .push(OfflineTap { sequence: self.sequence, tap: Some(rider.read(rider.standing)) });
            }
            frames.push((frame(&upload, &mut bytes), exits));
        }
        self.frames = frames.into_iter();
    }

    /// The next upload.
    pub fn take(&mut self) -> Option<(Bytes, u128)> {
        self.frames.next()
    }
}

/// A tap with its frame; room for it is made at once.
const FRAME_BYTES_USUAL: usize = 160;

/// A message as gRPC frames it: not compressed, length, bytes.
fn frame(message: &impl prost::Message, into: &mut BytesMut) -> Bytes {
    let length = message.encoded_len();
    into.reserve(5 + length);
    into.put_u8(0);
    into.put_u32(u32::try_from(length).expect("a tap is far below 4 GiB"));
    message.encode(into).expect("room was made for it");
    into.split().freeze()
}

#[cfg(test)]
mod tests {
    use onecard::{crypto::SoftVault, model::SystemRng, sandbox::people::HOMES};
    use prost::Message as _;

    use super::*;

    fn magazine(count: u32) -> Magazine {
        let vault = SoftVault::generate(&SystemRng);
        Magazine::of(riders(holders(&HOMES[1], count), &vault).expect("two roots"))
    }

    fn told(frame: &Bytes) -> (i32, u32, Vec<u8>) {
        let message = TapRequest::decode(&frame[5..]).expect("a tap");
        let tap = message.tap.expect("it carries one");
        let read = tap.read.expect("it was read");
        (tap.kind, read.counter, read.card_identifier)
    }

    fn taken(magazine: &mut Magazine, count: usize) -> Vec<(i32, u32, Vec<u8>)> {
        (0..count).map(|_| told(&magazine.take().expect("ready"))).collect()
    }

    #[test]
    fn a_card_enters_and_leaves_in_turn_under_growing_counters() {
        let mut magazine = magazine(2);
        magazine.fill(8, Way::Alone);
        let taps = taken(&mut magazine, 8);
        for (at, (kind, counter, card)) in taps.iter().enumerate() {
            let nth = u32::try_from(at / 2).expect("small") + 1;
            assert_eq!(*counter, nth);
            assert_eq!(*kind, if nth % 2 == 1 { 1 } else { 2 });
            assert_eq!(card, &taps[at % 2].2, "riders take turns");
        }
        assert!(magazine.take().is_none());
    }

    #[test]
    fn a_tap_that_was_not_sent_was_not_ridden() {
        let mut magazine = magazine(3);
        magazine.fill(100, Way::Alone);
        let first = taken(&mut magazine, 4);
        magazine.fill(5, Way::Alone);
        let second = taken(&mut magazine, 5);
        assert_eq!(first[3].1, 2, "the first rider again");
        assert_eq!(second.iter().map(|tap| tap.1).collect::<Vec<_>>(), [2, 2, 3, 3, 3]);
        assert_eq!(second[0].2, first[1].2, "the turn goes on where it stopped");
    }

    #[test]
    fn a_frame_is_a_whole_grpc_message_under_its_own_request_id() {
        let mut magazine = magazine(1);
        magazine.fill(2, Way::Alone);
        let frames = [magazine.take().expect("one"), magazine.take().expect("two")];
        let id = |frame: &Bytes| {
            assert_eq!(frame[0], 0);
            let length = u32::from_be_bytes(frame[1..5].try_into().expect("four bytes"));
            assert_eq!(length as usize, frame.len() - 5);
            assert!(frame.len() <= FRAME_BYTES_USUAL, "{}", frame.len());
            TapRequest::decode(&frame[5..]).expect("a tap").header.expect("a header").request_id
        };
        assert_ne!(id(&frames[0]), id(&frames[1]));
    }

    #[test]
    fn a_tap_of_a_stream_is_the_same_tap_in_another_wrapping() {
        let mut magazine = magazine(2);
        magazine.fill(1, Way::Alone);
        let alone = told(&magazine.take().expect("one"));
        magazine.fill(1, Way::Stream);
        let frame = magazine.take().expect("one");
        let streamed = TapStreamRequest::decode(&frame[5..]).expect("a tap of a stream");
        let read = streamed.tap.and_then(|tap| tap.tap).and_then(|tap| tap.read).expect("a read card");
        assert_eq!((read.counter, alone.1), (1, 1));
        assert_ne!(read.card_identifier, alone.2, "the next rider's turn");
    }

    #[test]
    fn the_holders_are_ordinary_people_the_sandbox_does_not_have() {
        let ours = holders(&HOMES[0], 20);
        assert_eq!(ours.len(), 20);
        assert!(ours.iter().all(|holder| holder.state == 1 && holder.valid_until > 20_300_000));
        let sandbox = people(&HOMES[0], 1, 20);
        assert!(
            ours.iter()
                .all(|holder| sandbox.iter().all(|known| known.card_identifier != holder.card_identifier))
        );
    }
}
