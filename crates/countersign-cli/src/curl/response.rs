use std::process::ExitStatus;

use countersign::{AcceptSignature, Code, Timestamp};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::arguments::Arguments;
use crate::{
    failure::{Exit, Failure},
    moment,
    request::header_line::HeaderLine,
};

/// Largest difference between clocks that agree, in seconds: the skew that servers allow by default.
const SKEW: u64 = 10;
/// The components that this command always covers; the digest only with content.
const ANYWAY: [&str; 5] = ["@method", "@authority", "@path", "@query", "content-digest"];
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The head of the final response, after the heads of proxies and `100 Continue`.
#[derive(Debug)]
pub(super) struct Response {
    status: StatusCode,
    headers: HeaderMap,
}

/// Where the user finds the content of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseBody {
    /// On stdout.
    Printed,
    /// In a file.
    Saved,
    /// Nowhere, since the response to a HEAD request has no content.
    NotForHead,
    /// Nowhere, since `-f` drops it.
    Dropped,
    /// Nowhere, since the response has no content.
    Empty,
}

impl Response {
    pub(super) fn last(heads: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(heads);
        let mut response: Option<Self> = None;
        for line in text.lines() {
            let status = line.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1));
            if let Some(Ok(status)) = status.map(str::parse) {
                response = Some(Self { status, headers: HeaderMap::new() });
            } else if let Some(response) = &mut response
                && let Ok(HeaderLine::Field { name, value }) = HeaderLine::parse(line)
                && let Ok(name) = name.parse::<http::HeaderName>()
            {
                response.headers.append(name, value);
            }
        }
        response.filter(|response| !response.status.is_informational())
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the time of the server, from `Date`.
    pub(super) fn date(&self) -> Option<Timestamp> {
        self.headers.get(header::DATE).and_then(Timestamp::from_http_date)
    }

    /// Returns where curl puts the content when called with these arguments.
    pub(super) fn content(&self, arguments: &Arguments, head: bool) -> ResponseBody {
        let length = self.headers.get(header::CONTENT_LENGTH);
        if head {
            ResponseBody::NotForHead
        } else if length.is_some_and(|length| length == "0") {
            ResponseBody::Empty
        } else if arguments.fails {
            ResponseBody::Dropped
        } else if arguments.saves {
            ResponseBody::Saved
        } else {
            ResponseBody::Printed
        }
    }

    /// Returns the failure that this response means; `None` for a success.
    pub(super) fn refusal(&self, content: ResponseBody) -> Option<Failure> {
        self.refusal_at(content, moment::now())
    }

    fn refusal_at(&self, content: ResponseBody, now: Timestamp) -> Option<Failure> {
        let code = self.code();
        let status = match code {
            // A service may redirect users after a refusal. The request is refused all the same.
            Some(code) if self.status.as_u16() < 400 => code.status(),
            _ => self.status,
        };
        let exit = match status.as_u16() {
            ..=399 => return None,
            401 | 403 => Exit::Refused,
            429 => Exit::Limited,
            _ => Exit::Server,
        };
        let status = self.status;
        let (error, hint) = match code {
            Some(code) => (
                format!("the server responded with {status}: {code}"),
                self.with_pause(self.advice_on(code, now) + &self.where_detail_is(content)),
            ),
            None => (
                format!("the server responded with {status}"),
                self.with_pause(self.advice_on_status(content, now)),
            ),
        };
        Some(Failure::new(exit, error, hint))
    }

    /// Returns the code of a refusal by a Countersign server.
    pub(super) fn code(&self) -> Option<Code> {
        Code::of_refusal(&self.headers)?.ok()
    }

    /// Advises on a refusal with this code.
    fn advice_on(&self, code: Code, now: Timestamp) -> String {
        let advice = match code {
            Code::SignatureRequired => return self.advice_on_tag(),
            Code::SignatureMalformed => {
                "leave out any signature field that you gave with -H; if you gave none, a proxy changes the signature fields"
            }
            Code::SignaturePolicy => return self.advice_on_coverage(),
            Code::SignatureStale => return self.advice_on_time(now),
            Code::SignatureReplayed => {
                "run it again, which signs anew; if that is refused too, a proxy sends requests twice"
            }
            Code::SignatureInvalid => {
                "is the key registered there? `countersign pubkey FILE` prints its name, and the operator registers its .pub file; if it is registered, a proxy changes the request"
            }
            Code::DigestMismatch => {
                "run it again; if that is refused too, a proxy changes the content"
            }
            Code::DigestUnsupported => {
                "leave out -H Content-Digest: this command makes one that the server takes"
            }
            Code::KeyRequired => {
                "the signature did not reach the server: ask its operator whether a proxy removes the fields Signature and Signature-Input"
            }
            Code::KeyUnknown => {
                "leave the publishable key out of the request: the signature is enough"
            }
            Code::KeyRevoked => {
                "make a new key with `countersign keygen`, and have the service's operator register it; this one was revoked for good"
            }
            Code::KeyExpired => {
                "make a new key with `countersign keygen`, and have the service's operator register it; this one has expired"
            }
            Code::KeyQuarantined => return self.ask_the_operator("why this key may only read"),
            Code::KeyForbidden => {
                return self.ask_the_operator("what this key may do, and from where");
            }
            Code::KeyConflict => {
                return self.ask_the_operator("which key took over from this one");
            }
            Code::TokenRequired => {
                "put `Authorization: Bearer TOKEN` into a file, and add -H @FILE: the route asks for an access token, which is then signed as well"
            }
            Code::TokenInvalid => {
                "get a new access token for this service, and for this key if it is bound to one"
            }
            Code::TokenForbidden => return self.advice_on_scope(),
            Code::AmbiguousCredential => {
                "leave out X-Api-Key, api_key in the URL and the cookie api_key: the signature names its key itself"
            }
            Code::Misdirected => {
                "use the URL that the service's operator gives for it, without a -H Host of your own"
            }
            Code::BadTarget => {
                "write the URL without // and dot segments, without %2f, %5c and %2e, and without a bare ? at its end"
            }
            Code::BadRequest => {
                "run it again with -v, and compare the request with the one that you meant"
            }
            Code::MethodNotAllowed => return self.advice_on_method(),
            Code::RequestTimeout => "run it again, over a faster line or with less content",
            Code::ContentTooLarge => "send less content, in several requests",
            Code::UriTooLong => "shorten the URL, as by moving the query into the content",
            Code::HeaderTooLarge => "send fewer and shorter fields with -H",
            Code::UpgradeUnsupported => {
                "leave out -H Upgrade and -H Connection: signed requests upgrade no connection there"
            }
            Code::RateLimited
            | Code::Overloaded
            | Code::ReplayStoreUnavailable
            | Code::RegistryUnavailable
            | Code::TokenKeysUnavailable => return self.when_to_retry(),
            Code::Misconfigured => return self.ask_the_operator("to look into the server's log"),
            // The code belongs to a later version.
            _ => return code.hint().to_owned(),
        };
        advice.to_owned()
    }

    /// Advises on the tag. The server chose it, so the advice repeats only a tag that needs no quoting.
    fn advice_on_tag(&self) -> String {
        let asked = AcceptSignature::all(&self.headers).unwrap_or_default();
        let plain = |tag: &&str| {
            let in_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            !tag.starts_with('-') && tag.len() <= 64 && tag.bytes().all(in_word)
        };
        match asked.iter().filter_map(AcceptSignature::tag).find(plain) {
            Some(tag) => format!(
                "the server asks for `countersign curl --tag {tag} …`, before curl's own arguments; if you gave that tag already, a proxy removes the signature"
            ),
            None => {
                "ask the service's operator for the tag of its signatures, and run `countersign curl --tag TAG …`, before curl's own arguments"
                    .to_owned()
            }
        }
    }

    fn advice_on_coverage(&self) -> String {
        let asked = AcceptSignature::all(&self.headers).unwrap_or_default();
        let plain = |identifier: &str| {
            let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"@-_.".contains(&byte);
            identifier.bytes().all(in_name)
        };
        let names = |asked: &AcceptSignature<'_>| -> Option<String> {
            let beyond = asked.components().iter().map(ToString::to_string);
            let beyond = beyond.filter(|one| !ANYWAY.contains(&one.trim_matches('"')));
            beyond
                .map(|identifier| {
                    let name = identifier.strip_prefix('"')?.strip_suffix('"')?;
                    plain(name).then(|| format!(" --component {name}"))
                })
                .collect()
        };
        match asked.iter().find_map(names).filter(|names| !names.is_empty()) {
            Some(names) => format!(
                "run `countersign curl{names} …`, before curl's own arguments: the server asks for that coverage"
            ),
            None => "run it with -i: Accept-Signature says what to cover, and `countersign curl --component ID …`, before curl's own arguments, covers it".to_owned(),
        }
    }

    /// Advises on a wrong time, of a server that has just started or of this machine.
    fn advice_on_time(&self, now: Timestamp) -> String {
        if self.headers.contains_key(header::RETRY_AFTER) {
            let again = self.when_to_retry();
            return format!(
                "{again}: until then the server cannot tell what it saw before, as after a restart"
            );
        }
        match self.clocks(now) {
            Clocks::Unknown => "set this machine's clock, as by `timedatectl set-ntp true`, and run it again".to_owned(),
            Clocks::Agree => "run it again: the clocks agree, so the request took too long to arrive, perhaps because a proxy waited for all of it".to_owned(),
            Clocks::Differ(how) => set_the_clock(&how),
        }
    }

    /// Compares this machine's clock with the clock in the server's `Date`.
    fn clocks(&self, now: Timestamp) -> Clocks {
        let Some(server) = self.date() else { return Clocks::Unknown };
        let (off, which) = match (now.since(server), server.since(now)) {
            (Some(ahead), _) => (ahead.as_secs(), "ahead of"),
            (None, behind) => (behind.unwrap_or_default().as_secs(), "behind"),
        };
        match off > SKEW {
            true => Clocks::Differ(format!("{off} s {which}")),
            false => Clocks::Agree,
        }
    }

    fn advice_on_scope(&self) -> String {
        let mut challenges = self.headers.get_all(header::WWW_AUTHENTICATE).iter();
        let scope = challenges.find_map(|challenge| {
            let (_, rest) = challenge.to_str().ok()?.split_once("scope=\"")?;
            let (scope, _) = rest.split_once('"')?;
            is_plain(scope).then(|| scope.to_owned())
        });
        match scope {
            Some(scope) => format!("get an access token with the scope {scope}"),
            None => "get an access token with the scope that is missing".to_owned(),
        }
    }

    fn advice_on_method(&self) -> String {
        match self.headers.get(header::ALLOW).and_then(plain) {
            Some(allowed) => format!("use one of these methods: {allowed}"),
            None => "use another method".to_owned(),
        }
    }

    fn ask_the_operator(&self, what: &str) -> String {
        match self.headers.get(X_REQUEST_ID).and_then(plain) {
            Some(id) => {
                format!("ask the service's operator {what} (the request is {id} in its log)")
            }
            None => format!("ask the service's operator {what}"),
        }
    }

    /// Advises on a response without a code.
    fn advice_on_status(&self, content: ResponseBody, now: Timestamp) -> String {
        let said = self.where_detail_is(content);
        let advice = match self.status.as_u16() {
            401 if self.headers.contains_key(header::RETRY_AFTER) => {
                return self.when_to_retry() + &said;
            }
            401 => match self.clocks(now) {
                Clocks::Unknown => "is the key registered there, and this machine's clock right?",
                Clocks::Agree => "is the key registered there?",
                Clocks::Differ(how) => return set_the_clock(&how) + &said,
            },
            403 => "this key may not do that; ask the service's operator",
            429 => return self.when_to_retry(),
            501 => "the server does not know this method; use another",
            505 => "the server wants another version of HTTP; leave out --http1.0 and the like",
            500.. => return format!("{}; every run signs anew", self.when_to_retry()),
            _ => return where_it_says_why(content).to_owned(),
        };
        advice.to_owned() + &said
    }

    /// Adds the pause that the server asks for, unless the advice has it already.
    fn with_pause(&self, advice: String) -> String {
        match self.pause() {
            Some(Pause::Seconds(seconds)) if !advice.contains(&format!(" in {seconds} s")) => {
                format!("{advice}; the server asks for no request in the next {seconds} s")
            }
            Some(Pause::Until(date)) if !advice.contains(date) => {
                format!("{advice}; the server asks for no request before {date}")
            }
            _ => advice,
        }
    }

    /// Points to the problem details, if the response has them.
    fn where_detail_is(&self, content: ResponseBody) -> String {
        let is_problem = self.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
            value.as_bytes().to_ascii_lowercase().starts_with(b"application/problem+json")
        });
        match content {
            ResponseBody::Printed if is_problem => {
                "; `detail` in the response says more".to_owned()
            }
            ResponseBody::Saved if is_problem => {
                "; `detail` in the response that was saved says more".to_owned()
            }
            _ => String::new(),
        }
    }

    fn when_to_retry(&self) -> String {
        match self.pause() {
            Some(Pause::Seconds(seconds)) => format!("run it again in {seconds} s"),
            Some(Pause::Until(date)) => format!("run it again after {date}"),
            None => "run it again later".to_owned(),
        }
    }

    /// Reads `Retry-After` (RFC 9110 §10.2.3).
    fn pause(&self) -> Option<Pause<'_>> {
        let text = self.headers.get(header::RETRY_AFTER).and_then(plain)?;
        let seconds = text.bytes().all(|byte| byte.is_ascii_digit());
        Some(if seconds { Pause::Seconds(text) } else { Pause::Until(text) })
    }
}

/// The pause that the server asks for.
#[derive(Clone, Copy, Debug)]
enum Pause<'h> {
    Seconds(&'h str),
    Until(&'h str),
}

/// The comparison of this machine's clock with the server's clock.
#[derive(Debug)]
enum Clocks {
    /// The server did not send its time.
    Unknown,
    Agree,
    /// The clocks differ, such as `480 s ahead of`.
    Differ(String),
}

fn set_the_clock(how: &str) -> String {
    format!(
        "this machine's clock is {how} the server's: set it, as by `timedatectl set-ntp true`, and run it again"
    )
}

/// Returns a value if a hint may repeat it. Other text from the server could pass for text of this command.
fn plain(value: &http::HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| is_plain(text))
}

fn is_plain(text: &str) -> bool {
    let in_text = |byte: u8| byte.is_ascii_alphanumeric() || b" ,:-_./".contains(&byte);
    (1..=100).contains(&text.len()) && text.bytes().all(in_text)
}

fn where_it_says_why(content: ResponseBody) -> &'static str {
    match content {
        ResponseBody::Printed => "the response says what is wrong with the request",
        ResponseBody::Saved => "the response that was saved says what is wrong with the request",
        ResponseBody::NotForHead => {
            "check the URL; a response to HEAD has no content that says more"
        }
        ResponseBody::Dropped => {
            "leave out -f, or use --fail-with-body, to see what the response says"
        }
        ResponseBody::Empty => {
            "check the method and the URL; the response has no content that says more"
        }
    }
}

/// Describes curl's exit code (curl(1), "EXIT CODES").
pub(super) fn curl_failure(status: ExitStatus) -> Failure {
    let Some(code) = status.code() else {
        return Failure::local("curl was ended by a signal", "run the command again");
    };
    let exit = match code {
        0 => {
            return Failure::new(
                Exit::Server,
                "the server sent no response with a status",
                "run it again with -v to see what the server sent",
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
    use clap::Parser;

    use super::{super::flag, *};
    use crate::Cli;

    #[test]
    fn the_status_that_counts_is_the_last_one() {
        let status = |heads: &str| Response::last(heads.as_bytes()).map(|a| a.status.as_u16());
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
            let response = Response { status, headers: HeaderMap::new() };
            let exit = response.refusal(ResponseBody::Printed).map(|failure| failure.exit);
            assert_eq!(exit, expected, "{status}");
        }
    }

    /// The time of this machine. The server's time, in its `Date`, is eight minutes behind.
    const NOW: Timestamp = Timestamp::from_unix(1_763_900_000);
    const DATE: (&str, &str) = ("date", "Sun, 23 Nov 2025 12:05:20 GMT");
    const ASKED: (&str, &str) =
        ("accept-signature", "sig=(\"@method\" \"x-tenant\");created;tag=\"shop\"");
    const AFTER: (&str, &str) = ("retry-after", "10");
    const ID: (&str, &str) = ("x-request-id", "5d1f");

    fn response(status: StatusCode, fields: &[(&str, &str)]) -> Response {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Response { status, headers }
    }

    #[test]
    fn every_code_has_its_advice() {
        use Code as C;
        type Row<'r> = (Code, &'r [(&'r str, &'r str)], &'r str);
        let tomorrow = [("retry-after", "Mon, 24 Nov 2025 12:05:20 GMT")];
        let scope =
            [("www-authenticate", "Bearer error=\"insufficient_scope\", scope=\"orders:write\"")];
        let table: [Row<'_>; 49] = [
            (
                C::SignatureRequired,
                &[ASKED],
                "`countersign curl --tag shop …`, before curl's own arguments",
            ),
            (C::SignatureRequired, &[], "ask the service's operator for the tag"),
            (
                C::SignatureRequired,
                &[("accept-signature", "sig=();tag=\"a b;c\"")],
                "ask the service's operator",
            ),
            (C::SignatureMalformed, &[], "changes the signature fields"),
            (
                C::SignaturePolicy,
                &[ASKED],
                "run `countersign curl --component x-tenant …`, before curl's own arguments",
            ),
            (C::SignaturePolicy, &[], "run it with -i: Accept-Signature says"),
            (
                C::SignaturePolicy,
                &[("accept-signature", "sig=(\"x\";key=\"`\")")],
                "run it with -i",
            ),
            (C::SignatureStale, &[DATE, AFTER], "run it again in 10 s: until then"),
            (
                C::SignatureStale,
                &[DATE],
                "this machine's clock is 480 s ahead of the server's: set it",
            ),
            (
                C::SignatureStale,
                &[("date", "Sun, 23 Nov 2025 12:14:20 GMT")],
                "clock is 60 s behind the server's",
            ),
            (C::SignatureStale, &[("date", "Sun, 23 Nov 2025 12:13:25 GMT")], "the clocks agree"),
            (C::SignatureStale, &[], "set this machine's clock"),
            (C::SignatureReplayed, &[], "run it again, which signs anew"),
            (C::SignatureInvalid, &[], "is the key registered there?"),
            (C::DigestMismatch, &[], "changes the content"),
            (C::DigestUnsupported, &[], "leave out -H Content-Digest"),
            (C::KeyRequired, &[], "did not reach the server"),
            (C::KeyUnknown, &[], "leave the publishable key out"),
            (C::KeyRevoked, &[], "countersign keygen"),
            (C::KeyExpired, &[], "countersign keygen"),
            (C::KeyQuarantined, &[], "why this key may only read"),
            (C::KeyForbidden, &[ID], "(the request is 5d1f in its log)"),
            (C::KeyForbidden, &[], "what this key may do"),
            (C::KeyConflict, &[], "which key took over"),
            (C::TokenRequired, &[], "add -H @FILE"),
            (C::TokenInvalid, &[], "get a new access token"),
            (C::TokenForbidden, &scope, "with the scope orders:write"),
            (C::TokenForbidden, &[], "with the scope that is missing"),
            (C::AmbiguousCredential, &[], "leave out X-Api-Key"),
            (C::Misdirected, &[], "use the URL that the service's operator gives"),
            (C::BadTarget, &[], "write the URL without //"),
            (C::BadRequest, &[], "run it again with -v"),
            (C::MethodNotAllowed, &[("allow", "GET, POST")], "use one of these methods: GET, POST"),
            (C::MethodNotAllowed, &[("allow", "`curl x | sh`")], "use another method"),
            (C::MethodNotAllowed, &[], "use another method"),
            (C::RequestTimeout, &[], "run it again, over a faster line"),
            (C::ContentTooLarge, &[], "send less content"),
            (C::UriTooLong, &[], "shorten the URL"),
            (C::HeaderTooLarge, &[], "fewer and shorter fields"),
            (C::RateLimited, &[AFTER], "run it again in 10 s"),
            (C::RateLimited, &tomorrow, "run it again after Mon, 24 Nov 2025 12:05:20 GMT"),
            (C::ReplayStoreUnavailable, &[AFTER], "run it again in 10 s"),
            (C::RegistryUnavailable, &[AFTER], "run it again in 10 s"),
            (C::TokenKeysUnavailable, &[AFTER], "run it again in 10 s"),
            (C::UpgradeUnsupported, &[], "leave out -H Upgrade"),
            (C::Overloaded, &[AFTER], "run it again in 10 s"),
            (C::Overloaded, &[], "run it again later"),
            (C::ContentTooLarge, &[AFTER], "; the server asks for no request in the next 10 s"),
            (C::Misconfigured, &[ID], "the server's log (the request is 5d1f in its log)"),
        ];
        for (code, fields, hint) in table {
            let named = [fields, &[("countersign-refusal", code.as_str())]].concat();
            let failure =
                response(code.status(), &named).refusal_at(ResponseBody::Empty, NOW).unwrap();
            let text = failure.to_string();
            let status = code.status();
            assert!(
                text.starts_with(&format!("error: the server responded with {status}: {code}\n")),
                "{text}"
            );
            assert!(text.contains(hint), "{code}: {text}");
            let by_status = response(status, &[]).refusal_at(ResponseBody::Empty, NOW).unwrap();
            assert_eq!(failure.exit, by_status.exit, "{code}");
        }
        for code in Code::all() {
            assert!(table.iter().any(|row| row.0 == *code), "{code} has no advice");
        }
    }

    /// Reads the text in backquotes as commands, and every other word with a hyphen as a flag of `countersign curl`.
    fn follow(advice: &str) {
        for (at, piece) in advice.split('`').enumerate() {
            if at % 2 == 0 {
                let words = piece.split([' ', ',', ':', ';', '(', ')']);
                for flag in words.filter(|word| word.starts_with('-') && word.len() > 1) {
                    let name = flag.trim_start_matches('-');
                    let known = match flag.starts_with("--") {
                        true => flag::by_long_name(name).is_some(),
                        false => name.chars().all(|one| flag::by_short_name(one).is_some()),
                    };
                    assert!(known, "there is no {flag}: {advice}");
                }
            } else if piece.starts_with("countersign ") {
                let command = piece.replace('…', "https://api.example.com/");
                let cli = Cli::try_parse_from(command.split(' '));
                let cli = cli.unwrap_or_else(|error| panic!("{error}: {advice}"));
                if let crate::Command::Curl(curl) = cli.command {
                    // An unknown option belongs to curl, or does not exist.
                    assert_eq!(curl.arguments, ["https://api.example.com/"], "{advice}");
                }
            }
        }
    }

    #[test]
    fn every_advice_can_be_followed_and_heeds_when_to_retry() {
        const TOMORROW: (&str, &str) = ("retry-after", "Mon, 24 Nov 2025 12:05:20 GMT");
        let pauses = [(None, ""), (Some(AFTER), "10 s"), (Some(TOMORROW), TOMORROW.1)];
        let asked = [None, Some(ASKED), Some(("allow", "GET")), Some(ID)];
        let contents = [
            ResponseBody::Printed,
            ResponseBody::Saved,
            ResponseBody::NotForHead,
            ResponseBody::Dropped,
            ResponseBody::Empty,
        ];
        let codes = Code::all().iter().map(|code| (code.status(), Some(code.as_str())));
        let statuses = [400, 401, 403, 404, 421, 429, 500, 501, 503, 505];
        let statuses = statuses.map(|status| (StatusCode::from_u16(status).unwrap(), None));
        let mut seen = 0;
        for (status, code) in codes.chain(statuses) {
            for (pause, told) in pauses {
                for (asked, date) in asked.iter().flat_map(|one| [(*one, None), (*one, Some(DATE))])
                {
                    for content in contents {
                        let code = code.map(|code| ("countersign-refusal", code));
                        let fields: Vec<_> =
                            [code, pause, asked, date].into_iter().flatten().collect();
                        let refusal = response(status, &fields).refusal_at(content, NOW).unwrap();
                        let text = refusal.to_string();
                        let (_, advice) = text.split_once("\nhint: ").unwrap();
                        follow(advice);
                        assert_eq!(advice.matches(told).count() == 1, pause.is_some(), "{text}");
                        assert!(pause.is_some() || !advice.contains("Retry-After"), "{text}");
                        // No command puts a key into these states.
                        assert!(!advice.contains("quarantine") && !advice.contains("retir"));
                        seen += 1;
                    }
                }
            }
        }
        assert_eq!(seen, (Code::all().len() + 10) * pauses.len() * 8 * contents.len());
    }

    #[test]
    fn a_refusal_is_one_whatever_its_status_and_content_are() {
        let code = |code| ("countersign-refusal", code);
        let of = |status: u16, fields: &[(&str, &str)]| {
            let status = StatusCode::from_u16(status).unwrap();
            response(status, fields)
                .refusal_at(ResponseBody::Printed, NOW)
                .map(|failure| failure.exit)
        };
        let table = [
            (200, Some(code("key-revoked")), Some(Exit::Refused)),
            (303, Some(code("rate-limited")), Some(Exit::Limited)),
            (404, Some(code("key-revoked")), Some(Exit::Server)),
            (303, Some(code("unheard-of")), None),
            (303, None, None),
        ];
        for (status, field, exit) in table {
            assert_eq!(of(status, field.as_slice()), exit, "{status} {field:?}");
        }
        assert_eq!(of(200, &[code("key-revoked"), code("key-expired")]), None, "two lines");
    }

    #[test]
    fn a_response_without_a_code_is_told_by_its_status() {
        type Row<'r> = (u16, &'r [(&'r str, &'r str)], &'r str);
        let table: [Row<'_>; 8] = [
            (401, &[], "is the key registered there, and this machine's clock right?"),
            (401, &[DATE], "this machine's clock is 480 s ahead of the server's: set it"),
            (401, &[("date", "Sun, 23 Nov 2025 12:13:21 GMT")], "is the key registered there?"),
            (404, &[AFTER], "; the server asks for no request in the next 10 s"),
            (401, &[AFTER], "run it again in 10 s"),
            (
                401,
                &[("content-type", "application/problem+json")],
                "right?; `detail` in the response says more",
            ),
            (503, &[AFTER], "run it again in 10 s; every run signs anew"),
            (503, &[], "run it again later; every run signs anew"),
        ];
        for (status, fields, hint) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let failure = response(status, fields).refusal_at(ResponseBody::Printed, NOW).unwrap();
            assert!(failure.to_string().contains(hint), "{failure}");
        }
    }
}
