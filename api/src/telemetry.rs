//! What operators see: logs with fields, and metrics. No bodies, no secrets; no names of sandboxes among the labels.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sandglass_runtime::{Host, LiveCall};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends logs to standard error. `filter` is in the words of `tracing_subscriber`'s `EnvFilter`, such as `info` or
/// `sandglass=debug`.
///
/// # Errors
/// The filter can't be read, or logs are sent somewhere already.
pub fn log_to_stderr(filter: &str, format: LogFormat) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(filter)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    tool: String,
    status: &'static str,
}

/// The counts of a service.
#[derive(Clone)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_time: Histogram,
    call_time: Histogram,
}

impl Metrics {
    pub(crate) fn new(host: Host) -> Self {
        let mut registry = Registry::with_prefix("sandglass");
        let requests = Family::<RequestLabels, Counter>::default();
        let request_time = Histogram::new(exponential_buckets(0.000_1, 2.0, 20));
        let call_time = Histogram::new(exponential_buckets(0.001, 2.0, 18));
        registry.register("http_requests", "Requests answered, by route", requests.clone());
        let seconds = || Unit::Seconds;
        registry.register_with_unit("http_request", "Time to the head of the answer", seconds(), request_time.clone());
        registry.register_with_unit("call", "Time on the clock of calls", seconds(), call_time.clone());
        registry.register_collector(Box::new(HostCollector { host }));
        Self { registry: Arc::new(registry), requests, request_time, call_time }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        // Methods that nobody registered could be of any number.
        let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD].contains(method);
        let method = if known { method.to_string() } else { "other".to_owned() };
        let labels = RequestLabels { method, route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.request_time.observe(took.as_secs_f64());
    }

    /// Measures a call when it ends.
    pub(crate) fn watch(&self, live: Arc<LiveCall>) {
        let call_time = self.call_time.clone();
        tokio::spawn(async move {
            if let Ok(call) = live.wait().await {
                call_time.observe(call.usage.wall.as_secs_f64());
            }
        });
    }

    /// Writes all in the OpenMetrics text format.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// Asks the host for its counts whenever somebody asks for the metrics.
struct HostCollector {
    host: Host,
}

impl fmt::Debug for HostCollector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HostCollector")
    }
}

impl Collector for HostCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.host.stats();
        let gauges = [
            ("sandboxes", "Sandboxes there are", stats.sandboxes),
            ("store_segments", "Segment files", usize::try_from(stats.store.segments).unwrap_or(usize::MAX)),
            (
                "store_cached_bytes",
                "Bytes of nodes in memory",
                usize::try_from(stats.store.cache_bytes).unwrap_or(usize::MAX),
            ),
            ("calls_live", "Calls that wait or run", stats.calls_live),
            ("calls_running", "Calls whose guest runs", stats.calls_running),
            ("calls_kept_bytes", "Memory of calls that ended lately", stats.calls_kept_bytes),
            ("sessions_awake", "Sessions that rest in memory, ready to go on", stats.sessions_awake),
            ("sessions_bytes", "Memory of sessions at hand", stats.sessions_bytes),
            ("calls_running_max", "Calls that may run at once", stats.calls_running_max),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let store = &stats.store;
        let counters = [
            ("store_records", "Records written to the journal", store.records),
            ("store_entries", "Log entries written", store.entries),
            ("store_nodes", "Nodes written", store.nodes),
            ("store_nodes_known", "Nodes given that the store had already", store.nodes_known),
            ("store_written_bytes", "Bytes written to the journal", store.bytes_written),
            ("store_syncs", "Syncs of the journal", store.syncs),
            ("store_cache_hits", "Nodes found in the cache", store.cache_hits),
            ("store_cache_misses", "Nodes read from a segment", store.cache_misses),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let wall = ConstCounter::new(stats.calls_wall.as_secs_f64());
        wall.encode(encoder.encode_descriptor(
            "calls_wall",
            "Time of all calls",
            Some(&Unit::Seconds),
            wall.metric_type(),
        )?)?;
        let none = ConstCounter::new(0u64);
        let mut family =
            encoder.encode_descriptor("calls_ended", "Calls ended, by tool and status", None, none.metric_type())?;
        for ((tool, status), count) in stats.calls_ended {
            ConstCounter::new(count).encode(family.encode_family(&CallLabels { tool, status })?)?;
        }
        Ok(())
    }
}
