//! One connection: one request in flight, matched to its answer by kind and
//! sequence number. Whoever gets an error drops the connection.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    options::Sip2Options,
    pool::Lost,
    wire::{
        WireError,
        frame::{ErrorDetection, Frame},
        request::{Request, Site},
        response::{AcsStatus, Response},
        splitter::Splitter,
    },
};
use crate::model::Millis;

/// A connection that is logged in; see [`super::pool`].
pub(super) struct Connection {
    stream: TcpStream,
    splitter: Splitter,
    /// Of the next request, 0 to 9.
    sequence: u8,
    /// What the library last said it serves.
    pub(super) status: AcsStatus,
    /// When it last sent something.
    pub(super) used_at_ms: Millis,
}

/// Whether a server that is asked to repeat its answer still knows it.
struct Conversation<'a> {
    request: &'a Request,
    bytes: Vec<u8>,
    sequence: Option<u8>,
    resends_left: u32,
    /// An answer came, but garbled: from now on nothing counts as "not sent".
    answered: bool,
}

impl Connection {
    /// Opens the socket. Nothing is said on it yet.
    pub(super) async fn open(options: &Sip2Options, until: Instant) -> Result<Self, Lost> {
        let until = until.min(Instant::now() + options.connect_timeout());
        let opened = timeout_at(until, TcpStream::connect(&options.address)).await;
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(Lost::NotSent(format!("no connection: {error}"))),
            Err(_) => return Err(Lost::NotSent("no connection in time".into())),
        };
        // Without it a short request may wait for the acknowledgement of the one
        // before. Failing to set it costs time only.
        let _ = stream.set_nodelay(true);
        let status = AcsStatus {
            online: false,
            checkin: false,
            checkout: false,
            renewal: false,
            timeout: None,
            resends: true,
            screen_message: String::new(),
        };
        Ok(Connection { stream, splitter: Splitter::default(), sequence: 0, status, used_at_ms: 0 })
    }

    /// Whether nothing has arrived since the last answer and the other side has
    /// not closed.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 64];
        loop {
            match self.stream.try_read(&mut byte) {
                Ok(0) => return false,
                Ok(count) => self.splitter.push(&byte[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return self.splitter.is_clean();
                }
                Err(_) => return false,
            }
        }
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// [`Lost::NotSent`] while the message's end has not been written,
    /// [`Lost::Unknown`] afterwards.
    pub(super) async fn exchange(
        &mut self,
        request: &Request,
        site: &Site,
        options: &Sip2Options,
        now: Millis,
        until: Instant,
    ) -> Result<Response, Lost> {
        let detection = if options.error_detection { ErrorDetection::On } else { ErrorDetection::Off };
        let sequence = options.error_detection.then_some(self.sequence);
        self.sequence = (self.sequence + 1) % 10;
        let frame = Frame { sequence, ..request.frame(site, now) };
        let bytes = frame.encode(options.encoding, detection).map_err(Lost::unfit)?;
        if !self.is_quiet() {
            return Err(Lost::NotSent("the connection was closed while idle".into()));
        }
        let until = until.min(Instant::now() + options.request_timeout());
        self.used_at_ms = now;
        self.write(&bytes, until).await?;
        let mut talk =
            Conversation { request, bytes, sequence, resends_left: options.resends_max, answered: false };
        loop {
            let line = match timeout_at(until, self.read_line()).await {
                Ok(line) => line?,
                Err(_) => return Err(Lost::Unknown("no answer in time".into())),
            };
            match Frame::decode(&line, options.encoding, detection) {
                Ok(frame) if frame.code == *b"96" => self.repeat(&mut talk, until).await?,
                Ok(frame) => {
                    return talk.accept(&frame);
                }
                Err(WireError::Checksum) => self.ask_again(&mut talk, options, until).await?,
                Err(error) => return Err(Lost::Unknown(error.to_string())),
            }
        }
    }

    /// The server could not read our message: the same again, same sequence.
    async fn repeat(&mut self, talk: &mut Conversation<'_>, until: Instant) -> Result<(), Lost> {
        if talk.answered {
            return Err(Lost::Unknown("the answer came garbled and was not repeated".into()));
        }
        let Some(left) = talk.resends_left.checked_sub(1) else {
            return Err(Lost::NotSent("the server cannot read our messages".into()));
        };
        talk.resends_left = left;
        // The first copy was refused and this one is not whole: still not sent.
        self.write(&talk.bytes, until).await
    }

    /// The answer came garbled: ask for it again, where the server can.
    async fn ask_again(
        &mut self,
        talk: &mut Conversation<'_>,
        options: &Sip2Options,
        until: Instant,
    ) -> Result<(), Lost> {
        talk.answered = true;
        let garbled = || Lost::Unknown("the answer came garbled".into());
        if !self.status.resends {
            return Err(garbled());
        }
        talk.resends_left = talk.resends_left.checked_sub(1).ok_or_else(garbled)?;
        let frame = Request::Resend.frame(&Site::default(), 0);
        let bytes = frame.encode(options.encoding, ErrorDetection::On).map_err(|_| garbled())?;
        self.write(&bytes, until).await.map_err(|_| garbled())
    }

    /// Writes a whole message. The line end is its last byte, so a message that
    /// was not written to its end cannot have been taken.
    async fn write(&mut self, bytes: &[u8], until: Instant) -> Result<(), Lost> {
        match timeout_at(until, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Lost::NotSent(format!("not written: {error}"))),
            Err(_) => Err(Lost::NotSent("not written in time".into())),
        }
    }

    async fn read_line(&mut self) -> Result<Vec<u8>, Lost> {
        let mut chunk = [0; 2_048];
        loop {
            if let Some(line) = self.splitter.next_line().map_err(|error| Lost::Unknown(error.to_string()))? {
                return Ok(line);
            }
            match self.stream.read(&mut chunk).await {
                Ok(0) => return Err(Lost::Unknown("the connection was closed before the answer".into())),
                Ok(count) => self.splitter.push(&chunk[..count]),
                Err(error) => return Err(Lost::Unknown(format!("the connection broke: {error}"))),
            }
        }
    }
}

impl Conversation<'_> {
    /// Takes an answer only when it is the one to this request.
    fn accept(&self, frame: &Frame) -> Result<Response, Lost> {
        if self.sequence.is_some() && frame.sequence != self.sequence {
            return Err(Lost::Unknown("an answer to another request came".into()));
        }
        if self.request.answered_by() != Some(frame.code) {
            return Err(Lost::Unknown("an answer of another kind came".into()));
        }
        Response::read(frame).map_err(|error| Lost::Unknown(error.to_string()))
    }
}
