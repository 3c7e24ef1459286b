//! Sets up the recorder once for the process.

use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalogue;

/// How often the recorder folds its samples. Without this, memory grows until
/// somebody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why metrics cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error("the metrics recorder cannot be built: {0}")]
    Build(#[from] BuildError),
    #[error("another metrics recorder is installed")]
    Taken,
}

/// Installs the recorder of the process, describes every metric and spawns the
/// upkeep. Call once, within a tokio runtime, before the first request. The handle
/// renders the text that `/metrics` serves.
pub fn install() -> Result<PrometheusHandle, InstallError> {
    let recorder = builder()?.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| InstallError::Taken)?;
    catalogue::describe();
    let kept = handle.clone();
    tokio::spawn(async move {
        let mut every = tokio::time::interval(UPKEEP);
        loop {
            every.tick().await;
            kept.run_upkeep();
        }
    });
    Ok(handle)
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    catalogue::BUCKETS.iter().try_fold(PrometheusBuilder::new(), |builder, (name, buckets)| {
        builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), buckets)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_histogram_has_buckets_and_a_description() {
        let recorder = builder().expect("the buckets are well formed").build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            catalogue::describe();
            for (name, _) in catalogue::BUCKETS {
                metrics::histogram!(*name).record(0.003);
            }
        });
        let text = handle.render();
        for (name, _) in catalogue::BUCKETS {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described\n{text}");
            assert!(text.contains(&format!("# TYPE {name} histogram")), "{name} is a summary\n{text}");
            assert!(text.contains(&format!("{name}_bucket{{le=\"+Inf\"}} 1")), "{name}\n{text}");
        }
    }
}
