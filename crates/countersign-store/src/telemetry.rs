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
        "countersign_sealed_key_refused_total",
        "Look-ups of HMAC keys that this server refused because the master key that sealed their secret was not given"
    );
    metrics::describe_counter!(
        "countersign_replay_recoveries_total",
        "Times this server raised the low-water mark in Redis because claims may be lost"
    );
    metrics::describe_counter!(
        "countersign_limits_fallback_total",
        "Reads that this server counted alone because Redis did not reply"
    );
    metrics::describe_counter!(
        "countersign_registry_lookups_total",
        "Times the database of the registry was asked for a key, by outcome: known, unknown, failed, or refused since too many were under way"
    );
    metrics::describe_counter!(
        "countersign_registry_polls_total",
        "Times this server looked for changes of the registry, by outcome: done or failed"
    );
    metrics::describe_counter!(
        "countersign_usage_left_out_total",
        "Calls that were left out of usage because they were counted too long ago, or in the future"
    );
    metrics::describe_counter!(
        "countersign_usage_others_total",
        "Calls whose network, product or event was counted with others because there were too many, by which of them"
    );
    metrics::describe_gauge!(
        "countersign_registry_contact_age_seconds",
        metrics::Unit::Seconds,
        "How long ago the registry was last reached, as seen at the last look for changes: 0 unless it cannot be reached"
    );
}
