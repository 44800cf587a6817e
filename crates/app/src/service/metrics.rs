//! [`Metrics`]: what the service counts and times, shown in Prometheus' text format.
//!
//! | metric | labels | |
//! |---|---|---|
//! | `larder_requests_total` | `method`, `path`, `status` | answers; `path` is the route, not what was asked |
//! | `larder_request_seconds` | `method`, `path` | until the head of the answer is there |
//! | `larder_requests_in_flight` | | |
//! | `larder_statements_total` | `kind` | what was asked of the store: `read`, `write`, `begin`, .. |
//! | `larder_statement_errors_total` | `kind`, `error` | those that failed, by the kind of the error |
//! | `larder_round_trip_seconds` | `kind` | reads that go together are one |
//! | `larder_pool_connections` | `state` | where the store has a pool: `in_use`, `idle`, `max` |
//! | `larder_pool_waiting` | | tasks that wait for a connection |

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use larder_core::ErrorKind;
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

/// The bounds of the histograms' buckets, in seconds: from a cached read to the time limit.
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];
/// After so many samples those that have gathered are put into their buckets, scraped or not.
const UPKEEP_EVERY: u64 = 4_096;

const METADATA: Metadata<'static> = Metadata::new("larder", Level::INFO, None);

/// What is counted. Clones share it; each service has its own, and nothing is global.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    samples: AtomicU64,
    in_flight: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&BUCKETS).expect("there are some");
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        let in_flight = Key::from_static_name("larder_requests_in_flight");
        let in_flight = recorder.register_gauge(&in_flight, &METADATA);
        Self(Arc::new(Inner {
            recorder,
            handle,
            samples: AtomicU64::new(0),
            in_flight,
        }))
    }

    /// The text that Prometheus reads.
    pub(crate) fn render(&self) -> String {
        self.0.handle.run_upkeep();
        self.0.handle.render()
    }

    /// A request has come in; it is in flight until this is dropped.
    pub(crate) fn request(&self) -> InFlight {
        self.0.in_flight.increment(1.0);
        InFlight(self.0.in_flight.clone())
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &str, path: &str, status: u16, took: Duration) {
        let (method, path) = (label("method", method), label("path", path));
        let status = label("status", status.to_string());
        let labels = vec![method.clone(), path.clone(), status];
        self.counter("larder_requests_total", labels).increment(1);
        let seconds = self.histogram("larder_request_seconds", vec![method, path]);
        seconds.record(took.as_secs_f64());
        self.sampled();
    }

    /// Statements were answered by the store, in one round trip.
    pub(crate) fn statements(
        &self,
        kind: &'static str,
        count: u64,
        took: Duration,
        error: Option<ErrorKind>,
    ) {
        let kind = label("kind", kind);
        let labels = vec![kind.clone()];
        self.counter("larder_statements_total", labels.clone())
            .increment(count);
        let seconds = self.histogram("larder_round_trip_seconds", labels);
        seconds.record(took.as_secs_f64());
        if let Some(error) = error {
            let labels = vec![kind, label("error", format!("{error:?}").to_lowercase())];
            self.counter("larder_statement_errors_total", labels)
                .increment(1);
        }
        self.sampled();
    }

    /// Sets a number that goes up and down.
    pub(crate) fn set(&self, name: &'static str, labels: &[(&'static str, &'static str)], to: f64) {
        let labels: Vec<Label> = labels
            .iter()
            .map(|&(name, value)| label(name, value))
            .collect();
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_gauge(&key, &METADATA).set(to);
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_counter(&key, &METADATA)
    }

    fn histogram(&self, name: &'static str, labels: Vec<Label>) -> Histogram {
        let key = Key::from_parts(name, labels);
        self.0.recorder.register_histogram(&key, &METADATA)
    }

    /// Keeps what gathers between two scrapes small.
    fn sampled(&self) {
        if self.0.samples.fetch_add(1, Ordering::Relaxed) % UPKEEP_EVERY == UPKEEP_EVERY - 1 {
            self.0.handle.run_upkeep();
        }
    }
}

fn label(name: &'static str, value: impl Into<String>) -> Label {
    Label::new(name, value.into())
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_shown() {
        let metrics = Metrics::new();
        let took = Duration::from_millis(3);
        metrics.answered("GET", "/api/tags", 200, took);
        metrics.statements("read", 3, took, None);
        metrics.statements("write", 1, took, Some(ErrorKind::Unique));
        metrics.set("larder_pool_connections", &[("state", "idle")], 4.0);
        let in_flight = metrics.request();
        let text = metrics.render();
        drop(in_flight);
        for line in [
            r#"larder_requests_total{method="GET",path="/api/tags",status="200"} 1"#,
            r#"larder_request_seconds_bucket{method="GET",path="/api/tags",le="0.005"} 1"#,
            r#"larder_statements_total{kind="read"} 3"#,
            r#"larder_statement_errors_total{kind="write",error="unique"} 1"#,
            r#"larder_pool_connections{state="idle"} 4"#,
            "larder_requests_in_flight 1",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
