//! A few connections to one library. Each is logged in (93) and its status read
//! (99) before the first use, and read again after a long idle time. A connection
//! comes back only from a conversation that ended well.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{
    connection::Connection,
    options::{BadSip2Options, Sip2Options},
    wire::{
        WireError,
        request::{Request, Site},
        response::{AcsStatus, Response},
    },
};
use crate::{
    adapters::Observer,
    model::{Clock, Reason},
    scenes::library::Declined,
};

/// Why a conversation brought no answer of success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// No connection came free in time; the library is not to blame.
    Busy,
    /// The order's message was not written to its end, or the server said it could
    /// not read it.
    NotSent(String),
    /// It was written, and its answer was not read.
    Unknown(String),
    Declined(Declined),
}

impl Lost {
    /// A value that the site cannot read: the order is wrong, not the library.
    pub(super) fn unfit(_: WireError) -> Lost {
        Lost::declined(Reason::FieldInvalid, String::new())
    }

    pub(super) fn declined(reason: Reason, screen_message: String) -> Lost {
        Lost::Declined(Declined { reason, screen_message })
    }
}

/// The connections of one library.
pub(super) struct Pool {
    library: String,
    options: Sip2Options,
    site: Site,
    password: SecretString,
    permits: Semaphore,
    idle: Mutex<Vec<Connection>>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// A connection in use. Dropped without [`Lease::give_back`] it is closed.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
    until: Instant,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(
        library: String,
        options: Sip2Options,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, BadSip2Options> {
        let password = options.check(&library)?;
        let site = Site { institution: options.institution.clone(), location: options.location.clone() };
        let permits = Semaphore::new(options.pool_size);
        Ok(Pool { library, options, site, password, permits, idle: Mutex::default(), clock, observer })
    }

    /// Whether another line would be the same, to its password.
    pub(super) fn is_as(&self, other: &Pool) -> bool {
        self.options == other.options && self.password.expose_secret() == other.password.expose_secret()
    }

    pub(super) fn keep_alive_every(&self) -> Duration {
        self.options.keep_alive()
    }

    /// A caller who waits at least so long can tell a sick library from a usual
    /// one: half the time a request is given.
    pub(super) fn patience(&self) -> Duration {
        self.options.request_timeout() / 2
    }

    /// A connection that is ready for an order.
    ///
    /// # Errors
    /// Never [`Lost::Unknown`]: no order has been sent.
    pub(super) async fn take(&self, until: Instant) -> Result<Lease<'_>, Lost> {
        let permit = match timeout_at(until, self.permits.acquire()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(Lost::Busy),
        };
        let mut lease = Lease { pool: self, connection: None, until, _permit: permit };
        while let Some(mut connection) = self.pop() {
            if !connection.is_quiet() {
                self.observer.connection(&self.library, false);
                continue;
            }
            let stale = self.is_stale(&connection);
            lease.connection = Some(connection);
            if !stale || lease.check_status().await.is_ok() {
                return Ok(lease);
            }
            lease.close();
        }
        lease.connection = Some(self.open(until).await?);
        Ok(lease)
    }

    /// Reads the status on connections that have been idle for long; closes those
    /// that do not answer.
    pub(super) async fn keep_alive(&self) {
        loop {
            let Ok(permit) = self.permits.try_acquire() else { return };
            let Some(connection) = self.pop_stale() else { return };
            let until = Instant::now() + self.options.request_timeout();
            let mut lease = Lease { pool: self, connection: Some(connection), until, _permit: permit };
            if lease.check_status().await.is_ok() {
                lease.give_back();
            }
        }
    }

    async fn open(&self, until: Instant) -> Result<Connection, Lost> {
        // Whatever goes wrong here, the order itself was not sent.
        let early = |lost| match lost {
            Lost::Unknown(why) => Lost::NotSent(why),
            Lost::Busy | Lost::NotSent(_) | Lost::Declined(_) => lost,
        };
        let mut connection = Connection::open(&self.options, until).await?;
        if !self.options.user.is_empty() {
            let login = Request::Login {
                user: self.options.user.clone(),
                password: self.password.expose_secret().to_owned(),
            };
            match self.say(&mut connection, &login, until).await.map_err(early)? {
                Response::Login { ok: true } => {}
                _ => return Err(Lost::NotSent("the library refused our login".into())),
            }
        }
        connection.status = self.status(&mut connection, until).await.map_err(early)?;
        self.observer.connection(&self.library, true);
        Ok(connection)
    }

    async fn status(&self, connection: &mut Connection, until: Instant) -> Result<AcsStatus, Lost> {
        match self.say(connection, &Request::ScStatus, until).await? {
            Response::AcsStatus(status) => Ok(status),
            _ => Err(Lost::Unknown("the status came in another form".into())),
        }
    }

    async fn say(
        &self,
        connection: &mut Connection,
        request: &Request,
        until: Instant,
    ) -> Result<Response, Lost> {
        connection.exchange(request, &self.site, &self.options, self.clock.now_ms(), until).await
    }

    fn pop(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn pop_stale(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let at = idle.iter().position(|connection| self.is_stale(connection))?;
        Some(idle.remove(at))
    }

    fn is_stale(&self, connection: &Connection) -> bool {
        let idle_ms = self.clock.now_ms().saturating_sub(connection.used_at_ms);
        u128::try_from(idle_ms).unwrap_or(0) >= self.options.keep_alive().as_millis()
    }
}

impl Lease<'_> {
    /// Sends a request on this connection and reads its answer.
    pub(super) async fn say(&mut self, request: &Request) -> Result<Response, Lost> {
        match &mut self.connection {
            Some(connection) => self.pool.say(connection, request, self.until).await,
            None => Err(Lost::NotSent("the connection is closed".into())),
        }
    }

    /// What the library last said it serves.
    pub(super) fn status(&self) -> Option<&AcsStatus> {
        self.connection.as_ref().map(|connection| &connection.status)
    }

    /// Options of the library.
    pub(super) fn options(&self) -> &Sip2Options {
        &self.pool.options
    }

    /// Reads the status afresh.
    pub(super) async fn check_status(&mut self) -> Result<(), Lost> {
        let Some(connection) = &mut self.connection else {
            return Err(Lost::NotSent("the connection is closed".into()));
        };
        let status = self.pool.status(connection, self.until).await?;
        connection.status = status;
        Ok(())
    }

    /// Leaves the connection to the next order.
    pub(super) fn give_back(mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }

    /// Closes the connection now.
    pub(super) fn close(&mut self) {
        if self.connection.take().is_some() {
            self.pool.observer.connection(&self.pool.library, false);
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
