use std::process::ExitStatus;

use http::{HeaderMap, StatusCode, header};

use super::arguments::Arguments;
use crate::{
    failure::{Exit, Failure},
    header_line::HeaderLine,
};

/// The head of the answer that counts: after those of proxies, and after `100 Continue`.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
}

/// Where the content of an answer is, for whoever wants to know more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// On stdout.
    Printed,
    /// In a file.
    Saved,
    /// The answer to a HEAD request has none.
    NotForHead,
    /// `-f` drops it.
    Dropped,
    /// There is none.
    Empty,
}

impl Answer {
    pub(super) fn last(heads: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(heads);
        let mut answer: Option<Self> = None;
        for line in text.lines() {
            let status = line.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1));
            if let Some(Ok(status)) = status.map(str::parse) {
                answer = Some(Self { status, headers: HeaderMap::new() });
            } else if let Some(answer) = &mut answer
                && let Ok(HeaderLine::Field { name, value }) = HeaderLine::parse(line)
                && let Ok(name) = name.parse::<http::HeaderName>()
            {
                answer.headers.append(name, value);
            }
        }
        answer.filter(|answer| !answer.status.is_informational())
    }

    /// Where its content is, if curl was called with these arguments.
    pub(super) fn content(&self, arguments: &Arguments, head: bool) -> Content {
        let length = self.headers.get(header::CONTENT_LENGTH);
        if head {
            Content::NotForHead
        } else if length.is_some_and(|length| length == "0") {
            Content::Empty
        } else if arguments.fails {
            Content::Dropped
        } else if arguments.saves {
            Content::Saved
        } else {
            Content::Printed
        }
    }

    /// Why it is not what was asked for, if it is not.
    pub(super) fn refusal(&self, content: Content) -> Option<Failure> {
        let status = self.status;
        let said = matches!(content, Content::Printed | Content::Saved);
        let problem = said
            && self.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
                value.as_bytes().to_ascii_lowercase().starts_with(b"application/problem+json")
            });
        let (exit, hint) = match status.as_u16() {
            ..=399 => return None,
            401 if problem => (
                Exit::Refused,
                "`code` and `detail` in the answer say why; is the key registered there, and this clock right?".to_owned(),
            ),
            401 => (
                Exit::Refused,
                "is the key registered there, and this machine's clock right?".to_owned(),
            ),
            403 => (Exit::Refused, "this key may not do that; ask the service's operator".to_owned()),
            429 => (Exit::Limited, self.when_to_come_back()),
            501 => (Exit::Server, "the server does not know this method; use another".to_owned()),
            505 => (
                Exit::Server,
                "the server wants another version of HTTP; leave out --http1.0 and the like".to_owned(),
            ),
            500.. => (Exit::Server, "run it again later; every run signs anew".to_owned()),
            _ => (Exit::Server, where_it_says_why(content).to_owned()),
        };
        Some(Failure::new(exit, format!("the server answered {status}"), hint))
    }

    fn when_to_come_back(&self) -> String {
        let after = self.headers.get(header::RETRY_AFTER);
        match after.and_then(|value| value.to_str().ok()) {
            Some(seconds) if seconds.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("run it again in {seconds} s")
            }
            Some(date) => format!("run it again after {date}"),
            None => "run it again later".to_owned(),
        }
    }
}

fn where_it_says_why(content: Content) -> &'static str {
    match content {
        Content::Printed => "the answer says what is wrong with the request",
        Content::Saved => "the answer that was saved says what is wrong with the request",
        Content::NotForHead => "check the URL; an answer to HEAD has no content that says more",
        Content::Dropped => "leave out -f, or use --fail-with-body, to see what the answer says",
        Content::Empty => "check the method and the URL; the answer has no content that says more",
    }
}

/// curl(1), "EXIT CODES".
pub(super) fn curl_failure(status: ExitStatus) -> Failure {
    let Some(code) = status.code() else {
        return Failure::local("curl was ended by a signal", "run the command again");
    };
    let exit = match code {
        0 => {
            return Failure::new(
                Exit::Server,
                "the server gave no answer that has a status",
                "run it again with -v to see what came",
            );
        }
        1..=4 | 23 | 26 | 27 | 37 | 41 | 43 | 45 | 48 | 53 | 54 | 58 | 59 | 66 | 77 | 82 => {
            Exit::Local
        }
        _ => Exit::Server,
    };
    Failure::new(
        exit,
        format!("curl failed with its exit code {code}"),
        "curl's own message says why (with -s only together with -S); `man curl` lists the codes",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_that_counts_is_the_last_one() {
        let status = |heads: &str| Answer::last(heads.as_bytes()).map(|a| a.status.as_u16());
        let table = [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/2 404 \r\nserver: x\r\n\r\n", Some(404)),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n\r\n", Some(201)),
            ("HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 403 F\r\n\r\n", Some(403)),
            ("HTTP/1.1 100 Continue\r\n\r\n", None),
            ("", None),
            ("garbage", None),
        ];
        for (heads, expected) in table {
            assert_eq!(status(heads), expected, "{heads}");
        }
    }

    #[test]
    fn every_status_has_its_exit_code() {
        let table = [
            (200, None),
            (304, None),
            (400, Some(Exit::Server)),
            (401, Some(Exit::Refused)),
            (403, Some(Exit::Refused)),
            (404, Some(Exit::Server)),
            (409, Some(Exit::Server)),
            (429, Some(Exit::Limited)),
            (500, Some(Exit::Server)),
            (503, Some(Exit::Server)),
            (505, Some(Exit::Server)),
        ];
        for (status, expected) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = Answer { status, headers: HeaderMap::new() };
            let exit = answer.refusal(Content::Printed).map(|failure| failure.exit);
            assert_eq!(exit, expected, "{status}");
        }
    }
}
