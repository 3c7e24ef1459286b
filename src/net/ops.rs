//! The operators' HTTP server: read-only, plain, on the machine itself.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | Prometheus text |
//! | `/healthz` | 200 while the process answers at all |
//! | `/readyz` | 200 when every check passes, else 503 and the names of those that do not |
//! | `/version` | name and version, JSON |
//! | `/tasks` | what must still happen, JSON; 503 while it cannot be read |

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Where operators look.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OpsOptions {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Listen beyond the loopback. There is no authentication: only behind
    /// something that has it.
    #[serde(default)]
    pub beyond_loopback: bool,
}

/// Why the operators' server does not stand.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    #[error("{0} is not on the loopback; set beyond-loopback if something in front authenticates")]
    BeyondLoopback(SocketAddr),
    #[error("cannot listen at {at}: {why}")]
    Bind { at: SocketAddr, why: io::Error },
}

/// A named condition without which the gateway should get no traffic.
pub struct ReadinessCheck {
    pub name: &'static str,
    /// Must be quick: it runs at every probe.
    pub passes: Box<dyn Fn() -> bool + Send + Sync>,
}

impl ReadinessCheck {
    /// A check that `passes` while its condition holds.
    pub fn new(name: &'static str, passes: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        ReadinessCheck { name, passes: Box::new(passes) }
    }
}

/// What the operators' server shows.
pub struct OpsSources {
    /// Renders the metrics, for example `move || handle.render()`.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    pub readiness: Vec<ReadinessCheck>,
    /// The open tasks as JSON; `None` while they cannot be read.
    pub tasks: Box<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>,
}

/// A bound operators' server.
pub struct OpsServer {
    listener: TcpListener,
    router: Router,
}

impl OpsServer {
    /// Binds; refuses an address beyond the loopback unless told otherwise.
    pub async fn bind(options: &OpsOptions, sources: OpsSources) -> Result<Self, OpsError> {
        let at = options.listen;
        if !at.ip().is_loopback() && !options.beyond_loopback {
            return Err(OpsError::BeyondLoopback(at));
        }
        let listener = TcpListener::bind(at).await.map_err(|why| OpsError::Bind { at, why })?;
        Ok(OpsServer { listener, router: router(sources) })
    }

    /// The address bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop`. Stop it last: `/readyz` should be seen failing while
    /// the gateway drains.
    pub async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

/// The routes, for whoever has a server of their own.
pub fn router(sources: OpsSources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/version", get(version))
        .route("/tasks", get(tasks))
        .with_state(Arc::new(sources))
}

async fn metrics(State(sources): State<Arc<OpsSources>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (sources.metrics)())
}

async fn ready(State(sources): State<Arc<OpsSources>>) -> (StatusCode, String) {
    let failing: Vec<_> =
        sources.readiness.iter().filter(|check| !(check.passes)()).map(|check| check.name).collect();
    if failing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", failing.join(", ")))
    }
}

async fn tasks(State(sources): State<Arc<OpsSources>>) -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    match (sources.tasks)().await {
        Some(tasks) => (StatusCode::OK, json, tasks),
        None => (StatusCode::SERVICE_UNAVAILABLE, json, "null".to_owned()),
    }
}

async fn version() -> impl IntoResponse {
    let text = concat!(
        "{\"name\":\"",
        env!("CARGO_PKG_NAME"),
        "\",\"version\":\"",
        env!("CARGO_PKG_VERSION"),
        "\"}\n"
    );
    ([(header::CONTENT_TYPE, "application/json")], text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tower::ServiceExt;

    async fn fetch(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("a router never fails");
        let status = response.status();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let journal = Arc::new(AtomicBool::new(false));
        let seen = journal.clone();
        let router = router(OpsSources {
            metrics: Box::new(|| "onecard_connections_open 1\n".into()),
            readiness: vec![
                ReadinessCheck::new("trust-list", || true),
                ReadinessCheck::new("journal", move || seen.load(Ordering::Relaxed)),
            ],
            tasks: Box::new(|| Box::pin(async { Some("[]".to_owned()) })),
        });
        let (status, text) = fetch(&router, "/readyz").await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "not ready: journal\n"));
        journal.store(true, Ordering::Relaxed);
        assert_eq!(fetch(&router, "/readyz").await.0, StatusCode::OK);
        assert_eq!(fetch(&router, "/healthz").await.0, StatusCode::OK);
        assert_eq!(fetch(&router, "/metrics").await.1, "onecard_connections_open 1\n");
        let (_, version) = fetch(&router, "/version").await;
        let version: serde_json::Value = serde_json::from_str(&version).expect("JSON");
        assert_eq!(version["name"], "onecard");
        assert_eq!(fetch(&router, "/tasks").await, (StatusCode::OK, "[]".to_owned()));
    }

    #[tokio::test]
    async fn the_operators_server_stays_on_the_machine() {
        let options = OpsOptions { listen: "0.0.0.0:0".parse().expect("an address"), beyond_loopback: false };
        let sources = OpsSources {
            metrics: Box::new(String::new),
            readiness: Vec::new(),
            tasks: Box::new(|| Box::pin(async { None })),
        };
        assert!(matches!(OpsServer::bind(&options, sources).await, Err(OpsError::BeyondLoopback(_))));
    }
}
