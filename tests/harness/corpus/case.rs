//! The cases of the corpus as their files have them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Http2};

/// A file of cases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// What they have in common; also the name of the file.
    pub group: String,
    /// The cases, each of which can be run without the others.
    pub cases: Vec<Case>,
}

/// A request, or several one after the other, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The row of the table of bad inputs, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u16>,
    /// What it is that was sent, in words.
    pub name: String,
    /// The valid case that this one is one change away from. Absent where it is a valid one itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The server that it is sent to; see [`Settings`](super::Settings).
    pub server: String,
    /// What is sent.
    pub steps: Vec<Step>,
}

/// One request, in each version of HTTP in which it can be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Where the server's clock stands, in seconds from that of the settings.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clock: i64,
    /// The bytes, in pieces that are sent as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http1: Option<Vec<Bytes>>,
    /// The fields and the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<Http2>,
    /// What becomes of it, in either version.
    pub expect: Expect,
}

/// What becomes of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status; absent where there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code in the problem details; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Header fields of the answer, names in lower case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Field>,
    /// Whether a handler runs.
    pub handler: bool,
}

/// What a header field of an answer has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Field {
    /// There, with whatever value; or not there.
    There(bool),
    /// Exactly this.
    Exactly(String),
}

fn is_zero(clock: &i64) -> bool {
    *clock == 0
}
