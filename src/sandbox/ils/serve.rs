//! The sockets of the simulated library.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::AbortHandle,
};

use super::{
    Fault, IlsOptions, fault,
    library::{Library, Moves},
    talk::{Heard, Misheard, hear},
};

/// Connections at once; more are closed at once.
const CONNECTIONS_MAX: usize = 256;

/// Longest line that is read.
const LINE_MAX: usize = 16 * 1024;

/// A simulated library that listens.
pub struct IlsServer;

/// Steers a running library and looks into its books. Cheap to clone; the library
/// stops when the last handle is dropped.
#[derive(Clone)]
pub struct IlsHandle {
    shared: Arc<Shared>,
    _stop: Arc<Stop>,
}

struct Stop(AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    options: IlsOptions,
    library: Mutex<Library>,
    /// Faults for the next messages of a code.
    faults: Mutex<BTreeMap<String, VecDeque<Fault>>>,
    heard: Mutex<BTreeMap<String, u64>>,
    release: Notify,
    /// Told whenever a message has been heard.
    hears: Notify,
}

/// What a message does to its connection.
enum Then {
    Answer(Vec<u8>),
    Silence,
    Cut,
}

impl IlsServer {
    /// Listens on an address; port 0 takes any free one.
    ///
    /// # Errors
    /// When the address cannot be taken.
    pub async fn bind(addr: SocketAddr, options: IlsOptions) -> std::io::Result<(SocketAddr, IlsHandle)> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let library = Mutex::new(Library::new(&options));
        let shared = Arc::new(Shared {
            options,
            library,
            faults: Mutex::default(),
            heard: Mutex::default(),
            release: Notify::new(),
            hears: Notify::new(),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Ok((addr, IlsHandle { shared, _stop: Arc::new(Stop(accepting.abort_handle())) }))
    }
}

impl IlsHandle {
    /// The next message of this code (for example `11`) goes wrong; several wait
    /// for each other.
    pub fn fail_next(&self, code: &str, fault: Fault) {
        lock(&self.shared.faults).entry(code.to_owned()).or_default().push_back(fault);
    }

    /// What 98 says.
    pub fn set_service(&self, online: bool, lends: bool) {
        let mut library = lock(&self.shared.library);
        library.online = online;
        library.lends = lends;
    }

    /// Lets answers go that [`Fault::Held`] keeps.
    pub fn release(&self) {
        self.shared.release.notify_waiters();
    }

    /// Who has an item.
    pub fn holder_of(&self, item: &str) -> Option<String> {
        lock(&self.shared.library).holder_of(item)
    }

    /// How often an item has gone out and come back by the library's own count.
    pub fn moves_of(&self, item: &str) -> Moves {
        lock(&self.shared.library).moves_of(item)
    }

    /// What a reader owes, fen; `None` for a reader nobody knows.
    pub fn owes(&self, reader: &str) -> Option<i64> {
        lock(&self.shared.library).owes(reader)
    }

    /// Charges or blocks a reader; false when nobody knows them.
    pub fn set_reader(&self, number: &str, fees_fen: i64, blocked: bool) -> bool {
        let mut library = lock(&self.shared.library);
        library.reader_mut(number).is_some_and(|reader| {
            reader.fees_fen = fees_fen;
            reader.blocked = blocked;
            true
        })
    }

    /// Messages of a code that were heard.
    pub fn heard(&self, code: &str) -> u64 {
        lock(&self.shared.heard).get(code).copied().unwrap_or(0)
    }

    /// Waits until so many messages of a code have been heard.
    pub async fn until_heard(&self, code: &str, count: u64) {
        loop {
            let told = self.shared.hears.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.heard(code) >= count {
                return;
            }
            told.await;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Connections end with the server, as those of a process do.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                if connections.len() >= CONNECTIONS_MAX {
                    continue;
                }
                connections.spawn(converse(stream, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
            else => return,
        }
    }
}

/// One connection until it closes. A broken one is nobody's loss here.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut chunk = [0; 1_024];
    let mut last = Vec::new();
    let mut logged_in = shared.options.login.is_none();
    while let Ok(count @ 1..) = stream.read(&mut chunk).await {
        bytes.extend_from_slice(&chunk[..count]);
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let line: Vec<u8> = bytes.drain(..=end).take(end).collect();
            if line.is_empty() {
                continue;
            }
            match shared.message(&line, &mut last, &mut logged_in).await {
                Then::Answer(answer) if stream.write_all(&answer).await.is_ok() => {}
                Then::Silence => {}
                Then::Answer(_) | Then::Cut => return,
            }
        }
        if bytes.len() > LINE_MAX {
            return;
        }
    }
}

impl Shared {
    async fn message(&self, line: &[u8], last: &mut Vec<u8>, logged_in: &mut bool) -> Then {
        let heard = match hear(line, self.options.charset) {
            Ok(heard) => heard,
            Err(Misheard::Checksum) => return Then::Answer(b"96AZFEF6\r".to_vec()),
            Err(Misheard::Nonsense) => return Then::Cut,
        };
        *lock(&self.heard).entry(heard.code.clone()).or_default() += 1;
        self.hears.notify_waiters();
        match heard.code.as_str() {
            "97" if self.options.answers_resend => return Then::Answer(last.clone()),
            "97" => return Then::Silence,
            "93" => {
                *logged_in = self.lets_in(&heard);
                let reply = super::talk::Reply::new(if *logged_in { "941" } else { "940" });
                return Then::Answer(reply.bytes(&heard, self.options.charset));
            }
            _ if !*logged_in => return Then::Cut,
            _ => {}
        }
        let fault = self.fault_of(&heard);
        let reply = match fault {
            Some(fault) if !fault.books() => None,
            Some(_) | None => lock(&self.library).answer(&heard, &self.options),
        };
        let answer = reply.map(|reply| reply.bytes(&heard, self.options.charset));
        *last = answer.clone().unwrap_or_default();
        self.break_it(fault, answer).await
    }

    /// Does to an answer what the fault wants.
    async fn break_it(&self, fault: Option<Fault>, answer: Option<Vec<u8>>) -> Then {
        let answered = |answer: Option<Vec<u8>>| answer.map_or(Then::Silence, Then::Answer);
        match fault {
            None => answered(answer),
            Some(Fault::SilentBefore | Fault::SilentAfter) => Then::Silence,
            Some(Fault::CutBefore | Fault::CutAfter) => Then::Cut,
            Some(Fault::AsksAgain) => Then::Answer(b"96AZFEF6\r".to_vec()),
            Some(Fault::Slow(long)) => {
                tokio::time::sleep(long).await;
                answered(answer)
            }
            Some(Fault::Held) => {
                self.release.notified().await;
                answered(answer)
            }
            Some(Fault::Garbled) => answered(answer.map(|mut bytes| {
                // One character of the message changes, the checksum stays.
                if let Some(byte) = bytes.get_mut(2) {
                    *byte ^= 1;
                }
                bytes
            })),
            Some(Fault::WrongSequence) => answered(answer.map(|bytes| other_sequence(&bytes))),
        }
    }

    fn lets_in(&self, heard: &Heard) -> bool {
        match &self.options.login {
            Some((user, password)) => heard.field("CN") == user && heard.field("CO") == password,
            None => true,
        }
    }

    fn fault_of(&self, heard: &Heard) -> Option<Fault> {
        let ordered = lock(&self.faults).get_mut(&heard.code).and_then(VecDeque::pop_front);
        let magic = || match heard.code.as_str() {
            "11" | "29" | "15" => fault::of_item(heard.field("AB"), self.options.slow_ms),
            _ => None,
        };
        ordered.or_else(magic)
    }
}

/// The same message under the next sequence number, with a checksum that fits.
fn other_sequence(bytes: &[u8]) -> Vec<u8> {
    let Some(at) = bytes.len().checked_sub(8).filter(|at| bytes[at - 2..*at] == *b"AY") else {
        return bytes.to_vec();
    };
    let mut other = bytes[..at].to_vec();
    other.push(b'0' + (bytes[at] - b'0' + 1) % 10);
    other.extend_from_slice(b"AZ");
    let sum = super::talk::sum(&other);
    other.extend_from_slice(sum.as_bytes());
    other.push(b'\r');
    other
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
