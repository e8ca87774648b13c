use std::collections::HashMap;

use super::{
    call::{CallCount, CallKey},
    client::ClientKey,
    event::{EventCount, EventKey},
    place::PlaceKey,
};

/// What one server counted between two flushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageBatch {
    /// A random number that the server drew at its start.
    pub server: u64,
    /// The number of this batch, from 1. A server hands over its batches in their order.
    pub number: u64,
    /// Calls by minute.
    pub calls: HashMap<CallKey, CallCount>,
    /// Calls by hour and network.
    pub places: HashMap<PlaceKey, u64>,
    /// Calls by hour and program.
    pub clients: HashMap<ClientKey, u64>,
    /// What looks like a stolen or forgotten key.
    pub events: HashMap<EventKey, EventCount>,
}

impl UsageBatch {
    /// Makes an empty batch.
    pub fn new(server: u64, number: u64) -> Self {
        Self {
            server,
            number,
            calls: HashMap::new(),
            places: HashMap::new(),
            clients: HashMap::new(),
            events: HashMap::new(),
        }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.places.is_empty()
            && self.clients.is_empty()
            && self.events.is_empty()
    }
}
