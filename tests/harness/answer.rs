use std::time::Duration;

/// How long to wait for what has to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, read from the socket.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The content.
    pub body: String,
}

impl Answer {
    /// The value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The code of a refusal; empty for what is none.
    pub fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem.get("code").and_then(|code| code.as_str()).unwrap_or_default().to_owned()
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It was answered.
    Answer(Answer),
    /// Its HTTP/2 stream was reset, with this error code, and the connection goes on.
    StreamError(u32),
    /// The HTTP/2 connection was given up, with this error code.
    ConnectionError(u32),
    /// The connection was closed, and nobody said why.
    Closed,
    /// Nothing came: the sender gave the request up, or lost patience.
    Nothing,
}

impl Outcome {
    /// The answer.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }
}
