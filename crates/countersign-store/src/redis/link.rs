use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;

use super::failure::Failure;

/// A connection that is made anew when it is lost.
#[derive(Debug)]
pub(super) struct Link {
    state: watch::Sender<State>,
}

#[derive(Clone, Debug)]
enum State {
    Up(Connected),
    /// It was lost, and the first attempt to make it anew is under way.
    Connecting,
    /// The last attempt failed; there will be others.
    Down(Arc<Failure>),
}

/// A connection, and which one of a link it is.
#[derive(Clone, Debug)]
pub(super) struct Connected {
    pub(super) connection: MultiplexedConnection,
    number: u64,
}

/// Who has to see to it that a lost connection is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Whoever is told this.
    Yours,
    /// Somebody else.
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

    /// The connection, if there is one now.
    pub(super) fn now(&self) -> Result<Connected, Failure> {
        match &*self.state.borrow() {
            State::Up(connected) => Ok(connected.clone()),
            State::Connecting => Err(Failure::Connecting),
            State::Down(failure) => Err(Failure::NotConnected(Arc::clone(failure))),
        }
    }

    /// The connection, waiting for the first attempt to make it anew, and not for those after one that failed.
    pub(super) async fn soon(&self) -> Result<Connected, Failure> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        drop(settled);
        self.now()
    }

    /// Tells that a connection is of no use any more.
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

    /// There is a connection again, the one after `lost`.
    pub(super) fn up(&self, connection: MultiplexedConnection, lost: &Connected) {
        let number = lost.number.wrapping_add(1);
        self.state.send_replace(State::Up(Connected { connection, number }));
    }

    /// An attempt failed.
    pub(super) fn down(&self, failure: Failure) {
        self.state.send_replace(State::Down(Arc::new(failure)));
    }
}
