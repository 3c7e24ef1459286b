//! Reads a gateway's metrics as its operators do: over HTTP, in the text format of
//! Prometheus; once, or once a second beside a run.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval_at, timeout},
};

/// A page of metrics is some tens of kilobytes.
const PAGE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A gateway that does not tell its metrics within this is left out of the second.
const SCRAPE_MAX: Duration = Duration::from_millis(900);

/// All samples of a page.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<(String, f64)>);

impl Samples {
    /// Reads a page; lines that are no samples are left out.
    pub fn of(page: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split(['{', ' ']).next().unwrap_or(series);
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            is_name.then_some((name.to_owned(), value.parse().ok()?))
        };
        Samples(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The values of a metric, one a set of labels; none when it is not told.
    pub fn all(&self, name: &str) -> Vec<f64> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| *value).collect()
    }

    /// Their sum; 0 when it is not told, as counters begin.
    pub fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().sum()
    }
}

/// The metrics of the gateway whose operators' address this is, now.
///
/// # Errors
/// When it does not answer in time.
pub async fn scrape(operators: SocketAddr) -> io::Result<Samples> {
    let read = async {
        let mut stream = TcpStream::connect(operators).await?;
        // Version 1.0, so that the answer comes in one piece.
        stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").await?;
        let mut page = Vec::new();
        stream.take(PAGE_BYTES_MAX).read_to_end(&mut page).await?;
        Ok(Samples::of(&String::from_utf8_lossy(&page)))
    };
    timeout(SCRAPE_MAX, read).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// What the gateways said at one moment of a run.
#[derive(Debug, Clone)]
pub struct Scraped {
    pub at: Duration,
    /// By region; `None` for one that did not answer.
    pub regions: Vec<Option<Samples>>,
}

/// Scrapes once a second until it is stopped.
pub struct Watching {
    stop: watch::Sender<bool>,
    task: JoinHandle<Vec<Scraped>>,
}

impl Watching {
    /// Begins with a scrape at once.
    pub fn begin(operators: Vec<SocketAddr>) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let began = Instant::now();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            let mut every = interval_at(tokio::time::Instant::now(), Duration::from_secs(1));
            every.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    _ = every.tick() => seen.push(all(&operators, began).await),
                    _ = stopped.changed() => break,
                }
            }
            seen.push(all(&operators, began).await);
            seen
        });
        Watching { stop, task }
    }

    /// Scrapes once more and hands everything over.
    ///
    /// # Errors
    /// When the task panicked.
    pub async fn end(self) -> anyhow::Result<Vec<Scraped>> {
        self.stop.send_replace(true);
        Ok(self.task.await?)
    }
}

async fn all(operators: &[SocketAddr], began: Instant) -> Scraped {
    let mut regions = Vec::with_capacity(operators.len());
    let at = began.elapsed();
    for operators in operators {
        regions.push(scrape(*operators).await.ok());
    }
    Scraped { at, regions }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PAGE: &str = "\
HTTP/1.0 200 OK\r
content-type: text/plain\r
\r
# HELP onecard_requests_total Requests
# TYPE onecard_requests_total counter
onecard_requests_total{method=\"Tap\",outcome=\"approved, all right\"} 41
onecard_requests_total{method=\"Checkout\",outcome=\"pending\"} 1
onecard_ledger_sum_fen -3
onecard_commit_seconds_sum 1.5e-3
";

    #[test]
    fn samples_are_read_and_other_lines_are_not() {
        let samples = Samples::of(PAGE);
        assert_eq!(samples.0.len(), 4, "{samples:?}");
        assert!((samples.sum("onecard_requests_total") - 42.0).abs() < 1e-9);
        assert_eq!(samples.all("onecard_ledger_sum_fen"), [-3.0]);
        assert!((samples.sum("onecard_commit_seconds_sum") - 0.0015).abs() < 1e-12);
        assert_eq!(samples.all("onecard_requests"), Vec::<f64>::new(), "only the whole name");
    }

    #[tokio::test]
    async fn a_run_is_watched_from_beginning_to_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 256];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(PAGE.as_bytes()).await;
            }
        });
        let nobody =
            TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
        let watching = Watching::begin(vec![at, nobody]);
        let seen = watching.end().await.expect("watched");
        let last = seen.last().expect("the last scrape");
        assert_eq!(last.regions[0], Some(Samples::of(PAGE)));
        assert_eq!(last.regions[1], None, "nobody listens there");
    }
}
