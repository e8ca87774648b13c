use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;

use super::failure::Failure;

/// A connection that is replaced when it is lost.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    Up(Connected),
    /// The connection was lost, and the first attempt to reconnect is under way.
    Connecting,
    /// The last attempt to reconnect failed; more will follow.
    Down(Arc<Failure>),
}

/// A connection, and its number within the link.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    number: u64,
}

/// Whether the caller has to replace a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// The caller has to reconnect.
    Yours,
    /// Another caller reconnects already, or has done so.
    Others,
}

impl Link {
    pub(super) fn new(connection: MultiplexedConnection) -> Self {
        let connected = Connected { connection, number: 0 };
        Self { state: watch::Sender::new(State::Up(connected)) }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(*self.state.borrow(), State::Up(_))
    }

    /// Returns the connection, or an error if the link is down or connecting.
    pub(super) fn now(&self) -> Result<Connected, Failure> {
        match &*self.state.borrow() {
            State::Up(connected) => Ok(connected.clone()),
            State::Connecting => Err(Failure::Connecting),
            State::Down(failure) => Err(Failure::NotConnected(Arc::clone(failure))),
        }
    }

    /// Returns the connection. Waits for the first attempt to reconnect, but not for later attempts.
    pub(super) async fn soon(&self) -> Result<Connected, Failure> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        drop(settled);
        self.now()
    }

    /// Reports a connection as lost.
    pub(super) fn lost(&self, lost: &Connected) -> Duty {
        let was_up = self.state.send_if_modified(|state| match state {
            State::Up(connected) if connected.number == lost.number => {
                *state = State::Connecting;
                true
            }
            _ => false,
        });
        if was_up { Duty::Yours } else { Duty::Others }
    }

    /// Sets the connection that replaces `lost`.
    pub(super) fn up(&self, connection: MultiplexedConnection, lost: &Connected) {
        let number = lost.number.wrapping_add(1);
        self.state.send_replace(State::Up(Connected { connection, number }));
    }

    /// Records a failed attempt to reconnect.
    pub(super) fn down(&self, failure: Failure) {
        self.state.send_replace(State::Down(Arc::new(failure)));
    }
}
