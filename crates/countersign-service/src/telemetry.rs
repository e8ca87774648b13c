/// Describes the metrics of this crate to the installed recorder. The verifier describes its own.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        "countersign_upstream_failures_total",
        "Requests that passed the verifier and were not served by an upstream, by code"
    );
    metrics::describe_gauge!(
        "countersign_upstream_healthy",
        "Whether an upstream passes its health check: 1 or 0"
    );
    metrics::describe_counter!(
        "countersign_reloads_total",
        "Attempts to take a new configuration, by outcome: taken or refused"
    );
}
