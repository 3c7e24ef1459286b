//! The operators' hand: a Unix socket in the folder of the gateway's store, over which
//! somebody on the machine acts. Who may write to the folder may act; the socket is
//! its owner's alone. What an act does is said by who serves it.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{Router, extract::State, http::StatusCode, routing::post};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};
use tokio_util::sync::CancellationToken;

/// The socket's name in the store's folder.
const NAME: &str = "operators.sock";

/// An answer of at most this is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// Carries out an act, given as JSON: what to tell the operator, or why not.
pub type Act = Box<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// A bound socket. The file goes with it.
pub struct HandServer {
    listener: UnixListener,
    router: Router,
    path: PathBuf,
}

/// Why an act was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// No gateway runs over this folder.
    #[error("no gateway listens there")]
    NotRunning,
    #[error("the gateway cannot be reached: {0}")]
    Io(#[from] io::Error),
    /// The gateway's own words.
    #[error("{0}")]
    Refused(String),
}

impl HandServer {
    /// Binds the socket in `folder`, over which `acts` are carried out, each by its path. One that a process left behind when it died is
    /// taken over; the caller holds the store, so no other process is alive there.
    ///
    /// # Errors
    /// When the socket cannot be made; the path may be at most some 100 bytes long.
    pub fn bind(folder: &Path, acts: Vec<(&'static str, Act)>) -> io::Result<Self> {
        let path = folder.join(NAME);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let router = acts.into_iter().fold(Router::new(), |router, (about, act)| {
            router.route(about, post(acted).with_state(Arc::new(act)))
        });
        Ok(HandServer { listener, router, path })
    }

    /// Serves until `stop`.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        let served =
            axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await;
        let _ = fs::remove_file(&self.path);
        served
    }
}

async fn acted(State(act): State<Arc<Act>>, body: String) -> (StatusCode, String) {
    match act(body).await {
        Ok(told) => (StatusCode::OK, told),
        Err(why) => (StatusCode::CONFLICT, why),
    }
}

/// Asks the gateway over `folder` to carry out the act of the path `about`.
///
/// # Errors
/// See [`HandError`].
pub async fn act(folder: &Path, about: &str, body: &str) -> Result<String, HandError> {
    let mut stream = UnixStream::connect(folder.join(NAME)).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => HandError::NotRunning,
        _ => HandError::Io(error),
    })?;
    let head = format!(
        "POST {about} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
    let (head, told) =
        answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(told.to_owned()),
        _ => Err(HandError::Refused(told.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_act_is_carried_out_or_refused_in_the_gateways_words() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(act(folder.path(), "/tasks", "{}").await, Err(HandError::NotRunning)));
        let serve = || {
            let act = |body: String| -> BoxFuture<'static, _> {
                Box::pin(
                    async move { if body == "do" { Ok("done".into()) } else { Err("no such task".into()) } },
                )
            };
            HandServer::bind(folder.path(), vec![("/tasks", Box::new(act) as Act)]).expect("a socket")
        };
        // What a process that died has left behind is in nobody's way.
        drop(serve());
        let server = serve();
        let mode = fs::metadata(folder.path().join(NAME)).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "its owner's alone");
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.serve(stop.clone()));
        assert_eq!(act(folder.path(), "/tasks", "do").await.expect("done"), "done");
        let refused = act(folder.path(), "/tasks", "x").await.expect_err("refused");
        assert_eq!(refused.to_string(), "no such task");
        stop.cancel();
        serving.await.expect("no panic").expect("served");
        assert!(matches!(act(folder.path(), "/tasks", "do").await, Err(HandError::NotRunning)));
    }
}
