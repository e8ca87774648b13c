use std::process::Stdio;

use countersign::{Scheme, Timestamp};
use http::HeaderValue;

use super::{
    child::{self, Ended},
    private_file::PrivateFile,
    response::{Response, ResponseBody},
};
use crate::{
    failure::{Exit, Failure},
    request::{CURL_FLAGS, Request, body::cannot_keep, header_line::HeaderLine},
};

/// How long a probe may take, in seconds.
const TIMEOUT: &str = "20";

/// What came of a request whose content nobody reads.
#[derive(Debug)]
pub(crate) enum Probed {
    Answered(Answer),
    /// curl got no response: its exit code.
    Unreached(i32),
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The time of the server.
    pub(crate) date: Option<Timestamp>,
    /// The refusal of a Countersign server.
    pub(crate) refusal: Option<Failure>,
}

/// Sends a GET request with these added fields. curl does not get the descriptors of `secrets`.
pub(crate) fn probe(
    request: &Request,
    added: &[(&'static str, HeaderValue)],
    secrets: &[i32],
) -> Result<Probed, Failure> {
    let mut lines = vec![HeaderLine::field("Host", host(request)?)];
    lines.extend(added.iter().map(|(name, value)| HeaderLine::field(name, value.clone())));
    let mut fields = Vec::new();
    for line in &lines {
        fields.extend(line.for_curl());
        fields.push(b'\n');
    }
    let prepare = || {
        let (headers, head) = (PrivateFile::new(&fields), PrivateFile::new(b""));
        let headers = headers.map_err(|error| cannot_keep(&error))?;
        let head = head.map_err(|error| cannot_keep(&error))?;
        let mut command = child::curl(Stdio::null(), secrets.iter().copied());
        command.args(CURL_FLAGS).args(["--silent", "--max-time", TIMEOUT]);
        command.args(["--output", if cfg!(windows) { "NUL" } else { "/dev/null" }]);
        command.arg("--header").arg(super::from_file(&headers));
        command.arg("--dump-header").arg(head.path());
        command.arg("--url").arg(format!("{}{}", request.origin, request.uri));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok((command, (headers, head)))
    };
    let (ended, (_, head)) = child::run(prepare)?;
    let status = match ended {
        Ended::ByItself(status) => status.code(),
        Ended::Stopped(exit) => return Err(stopped(exit)),
    };
    match Response::last(&head.content().unwrap_or_default()) {
        Some(response) => Ok(Probed::Answered(Answer {
            status: response.status().as_u16(),
            date: response.date(),
            refusal: response.code().and_then(|_| response.refusal(ResponseBody::Dropped)),
        })),
        None => Ok(Probed::Unreached(status.unwrap_or_default())),
    }
}

/// Why curl got no response, in words (curl(1), "EXIT CODES"), and the advice.
pub(crate) fn reason(code: i32, scheme: Scheme) -> (&'static str, &'static str) {
    match code {
        5 => ("the name of the proxy is not known", "check the variable that names the proxy"),
        6 => ("the name of the host is not known", "check the URL, and this machine's DNS"),
        7 => (
            "nothing accepts connections there",
            "check the port in the URL, and that the server runs and no firewall is in between",
        ),
        28 => ("no response came in time", "check that no firewall drops the connection"),
        35 | 56 if scheme == Scheme::Https => (
            "the server does not speak TLS there, or none that curl speaks",
            "check the port, and whether the URL is one of http://",
        ),
        51 | 60 => (
            "the certificate of the server does not hold for this host",
            "ask the operator to renew it; if it is from a CA of your own, name that in CURL_CA_BUNDLE",
        ),
        52 => (
            "the server closed the connection without a response",
            "check whether the URL is one of https://",
        ),
        1 | 56 => {
            ("the server does not speak HTTP there", "check the port and the scheme of the URL")
        }
        97 => ("the proxy refused the connection", "check the variable that names the proxy"),
        _ => ("no response came", "run `curl -v` with this URL to see why"),
    }
}

fn host(request: &Request) -> Result<HeaderValue, Failure> {
    let host = request.origin.authority().parse();
    host.map_err(|_| {
        Failure::local("the URL's host cannot be a header", "check the host in the URL")
    })
}

fn stopped(exit: Exit) -> Failure {
    Failure::new(exit, "stopped by a signal", "run it again")
}
