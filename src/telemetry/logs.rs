//! Log lines: one event a line, JSON for machines or text for a terminal, every
//! line masked by [`redact`](super::redact) on its way out; and a panic hook that
//! tells where and not what.

use std::{
    io::{self, Write},
    panic::PanicHookInfo,
};

use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, format::FmtSpan},
};

use super::redact::mask;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For a person at a terminal.
    Text,
}

/// What is logged.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LogOptions {
    pub format: LogFormat,
    /// A filter such as `info` or `info,onecard::store=debug`. The environment
    /// variable `ONECARD_LOG` goes before it.
    pub filter: String,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { format: LogFormat::Json, filter: "info".into() }
    }
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log filter is not well formed: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("another log subscriber is installed")]
    Taken,
}

/// Logs to standard error from here on, and installs the panic hook. Call once.
pub fn install(options: &LogOptions) -> Result<(), LogError> {
    let filter = match std::env::var("ONECARD_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        Ok(_) | Err(_) => options.filter.clone(),
    };
    let filter = EnvFilter::try_new(filter)?;
    let taken = tracing::subscriber::set_global_default(subscriber(options.format, filter, io::stderr));
    taken.map_err(|_| LogError::Taken)?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(at = %place(panic), "a task panicked")));
    Ok(())
}

fn subscriber<W>(format: LogFormat, filter: EnvFilter, out: W) -> Box<dyn tracing::Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let base = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(Masking { out });
    match format {
        LogFormat::Json => Box::new(base.json().flatten_event(true).with_current_span(false).finish()),
        LogFormat::Text => Box::new(base.with_ansi(false).finish()),
    }
}

/// Where it panicked. The message is left out: it may quote what was worked on.
fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(|| "unknown".to_owned(), |at| format!("{}:{}", at.file(), at.line()))
}

/// Makes writers that mask each event as a whole.
struct Masking<W> {
    out: W,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Masking<W> {
    type Writer = MaskedEvent<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        MaskedEvent { out: self.out.make_writer(), event: Vec::new() }
    }
}

/// Gathers one event and writes it masked when it is whole: a number split over
/// two writes would slip through otherwise.
struct MaskedEvent<W: Write> {
    out: W,
    event: Vec<u8>,
}

impl<W: Write> Write for MaskedEvent<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.event.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for MaskedEvent<W> {
    fn drop(&mut self) {
        let line = mask(&String::from_utf8_lossy(&self.event));
        // There is nowhere to tell that the log itself cannot be written.
        let _ = self.out.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let out = captured.clone();
        let subscriber = subscriber(format, EnvFilter::new("info"), move || out.clone());
        tracing::subscriber::with_default(subscriber, log);
        let bytes = captured.0.lock().expect("not poisoned").clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_number_of_a_person_never_reaches_the_log() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = logged(format, || {
                tracing::info!(
                    holder = "110101199001011237",
                    count = 3,
                    "checked 0123456789abcdef0123456789abcdef"
                );
                tracing::debug!("not shown");
            });
            assert!(!text.contains("110101199001011237") && !text.contains("0123456789abcdef"), "{text}");
            assert!(text.contains("[masked]") && !text.contains("not shown"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn a_line_is_one_json_object() {
        let text = logged(LogFormat::Json, || {
            tracing::warn!(name = "张三", participant = "bj-metro", "a line\nwith a break");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).expect("JSON");
        assert_eq!(line["participant"], "bj-metro");
        assert_eq!(line["name"], "[masked]");
        assert_eq!(line["level"], "WARN");
    }
}
