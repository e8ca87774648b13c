//! Saves one batch of usage in ClickHouse, for the tests with peers.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use countersign::{Code, Timestamp};
use countersign_store::{
    CallAccess, CallCount, CallKey, CallOutcome, ClickHouse, ClientKey, CredentialId, EventCount,
    EventKey, EventKind, PlaceKey, Platform, RouteLabel, UsageBatch, UsageSink as _,
};
use http::{Method, StatusCode};

/// Saves five calls of a minute, with their places, clients and an event. Ends with 1 if they cannot be saved.
#[derive(Parser)]
struct Arguments {
    url: String,
    server: u64,
    number: u64,
    /// The number of the minute, in which the calls are
    minute: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let saved = match ClickHouse::at(&arguments.url) {
        Ok(usage) => usage.save(&batch(&arguments), Timestamp::from_unix(0)).await,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match saved {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", countersign::with_reasons(&error));
            ExitCode::FAILURE
        }
    }
}

fn batch(&Arguments { server, number, minute, .. }: &Arguments) -> UsageBatch {
    let mut batch = UsageBatch::new(server, number);
    let minute = Timestamp::from_unix(minute.saturating_mul(60));
    let hour = Timestamp::from_unix(minute.unix().div_euclid(3600).saturating_mul(3600));
    let shop = Some(CredentialId::new(7));
    let count = |calls: u64| {
        let mut count = CallCount::default();
        (0..calls).for_each(|_| count.add(Duration::from_millis(15), 100, 1000));
        count
    };
    let signed = CallKey {
        minute,
        credential: shop,
        route: RouteLabel::Declared("POST /v1/orders/{id}".into()),
        method: Method::POST,
        access: CallAccess::Signed,
        outcome: CallOutcome::Passed,
        status: StatusCode::CREATED,
    };
    let refused = CallKey {
        minute,
        credential: None,
        route: RouteLabel::Other,
        method: Method::GET,
        access: CallAccess::Open,
        outcome: CallOutcome::Refused(Code::KeyRequired),
        status: StatusCode::UNAUTHORIZED,
    };
    batch.calls.extend([(signed, count(3)), (refused, count(2))]);
    let address = std::net::IpAddr::from([192, 0, 2, 7]);
    let prefix = Some(countersign_store::AddressPrefix::of(address));
    let place = PlaceKey { hour, credential: shop, prefix, access: CallAccess::Signed };
    let elsewhere = PlaceKey { hour, credential: None, prefix: None, access: CallAccess::Open };
    batch.places.extend([(place, 3), (elsewhere, 2)]);
    let client = ClientKey {
        hour,
        credential: shop,
        platform: Platform::Ios,
        product: Some("Alamofire".into()),
        access: CallAccess::Signed,
    };
    batch.clients.insert(client, 3);
    let event =
        EventKey { credential: CredentialId::new(7), kind: EventKind::Replayed, detail: None };
    let seen = EventCount { first: minute, last: minute, count: 2, verified: 0 };
    batch.events.insert(event, seen);
    batch
}
