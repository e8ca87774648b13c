/// Describes the metrics of this crate to the recorder that is installed, for instance as `# HELP` lines of Prometheus.
/// `countersign_server::describe_metrics` does it too.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "countersign_over_limit_total",
        "Requests over a limit, by budget and whether they were refused (enforced) or only counted (reported)"
    );
    metrics::describe_counter!(
        "countersign_restriction_reported_total",
        "Requests that a restriction would have refused if it were enforced, by kind of restriction"
    );
    metrics::describe_counter!(
        "countersign_replay_recoveries_total",
        "Times this server raised the low-water mark in Redis because claims may be lost"
    );
    metrics::describe_counter!(
        "countersign_limits_fallback_total",
        "Reads that this server counted alone because Redis did not reply"
    );
}
