use clickhouse::Row;
use countersign::Timestamp;
use serde::Serialize;

use crate::{
    credential::CredentialId,
    usage::{
        call::{CallCount, CallKey, RouteLabel},
        client::ClientKey,
        event::{EventCount, EventKey},
        place::PlaceKey,
    },
};

#[derive(Debug, Row, Serialize)]
pub(super) struct CallRow {
    at: u32,
    credential: i64,
    route: String,
    method: String,
    access: &'static str,
    outcome: &'static str,
    status: u16,
    calls: u64,
    bytes_in: u64,
    bytes_out: u64,
    duration: u64,
    latency_0: u64,
    latency_1: u64,
    latency_2: u64,
    latency_3: u64,
    latency_4: u64,
    latency_5: u64,
    latency_6: u64,
    latency_7: u64,
    latency_8: u64,
    latency_9: u64,
    latency_10: u64,
    latency_11: u64,
    latency_12: u64,
}

impl CallRow {
    pub(super) fn of(key: &CallKey, count: &CallCount) -> Self {
        let [
            latency_0,
            latency_1,
            latency_2,
            latency_3,
            latency_4,
            latency_5,
            latency_6,
            latency_7,
            latency_8,
            latency_9,
            latency_10,
            latency_11,
            latency_12,
        ] = *count.latencies.counts();
        Self {
            at: seconds(key.minute),
            credential: number(key.credential),
            route: match &key.route {
                RouteLabel::Declared(route) => route.to_string(),
                RouteLabel::Other => String::new(),
            },
            method: key.method.to_string(),
            access: key.access.as_str(),
            outcome: key.outcome.as_str(),
            status: key.status.as_u16(),
            calls: count.calls,
            bytes_in: count.bytes_in,
            bytes_out: count.bytes_out,
            duration: u64::try_from(count.duration.as_micros()).unwrap_or(u64::MAX),
            latency_0,
            latency_1,
            latency_2,
            latency_3,
            latency_4,
            latency_5,
            latency_6,
            latency_7,
            latency_8,
            latency_9,
            latency_10,
            latency_11,
            latency_12,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct PlaceRow {
    at: u32,
    credential: i64,
    access: &'static str,
    prefix: String,
    calls: u64,
}

impl PlaceRow {
    pub(super) fn of(key: &PlaceKey, calls: u64) -> Self {
        Self {
            at: seconds(key.hour),
            credential: number(key.credential),
            access: key.access.as_str(),
            prefix: key.prefix.map(|prefix| prefix.to_string()).unwrap_or_default(),
            calls,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct ClientRow {
    at: u32,
    credential: i64,
    access: &'static str,
    platform: &'static str,
    product: String,
    calls: u64,
}

impl ClientRow {
    pub(super) fn of(key: &ClientKey, calls: u64) -> Self {
        Self {
            at: seconds(key.hour),
            credential: number(key.credential),
            access: key.access.as_str(),
            platform: key.platform.as_str(),
            product: key.product.as_deref().unwrap_or_default().to_owned(),
            calls,
        }
    }
}

#[derive(Debug, Row, Serialize)]
pub(super) struct EventRow {
    at: u32,
    first: u32,
    credential: i64,
    kind: &'static str,
    detail: String,
    count: u64,
    verified: u64,
}

impl EventRow {
    pub(super) fn of(key: &EventKey, count: &EventCount) -> Self {
        Self {
            at: seconds(count.last),
            first: seconds(count.first),
            credential: key.credential.get(),
            kind: key.kind.as_str(),
            detail: key.detail.as_deref().unwrap_or_default().to_owned(),
            count: count.count,
            verified: count.verified,
        }
    }
}

/// A `DateTime` of ClickHouse ends in 2106.
fn seconds(time: Timestamp) -> u32 {
    u32::try_from(time.unix()).unwrap_or(u32::MAX)
}

/// Calls without a known key have the number 0.
fn number(credential: Option<CredentialId>) -> i64 {
    credential.map_or(0, CredentialId::get)
}
