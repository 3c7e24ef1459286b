//! Reads a gateway's metrics as its operators do: over HTTP, in the text format of
//! Prometheus.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
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

#[cfg(test)]
mod tests {
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
        assert_eq!(samples.all("onecard_ledger_sum_fen"), [-3.0]);
        assert_eq!(samples.all("onecard_requests"), Vec::<f64>::new(), "only the whole name");
    }
}
