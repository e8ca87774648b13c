use crate::request::body::DataKind;

/// A flag of curl's: whether it takes a value, and what it is to us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    pub(super) arity: Arity,
    pub(super) role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arity {
    Switch,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Says nothing about what is signed: goes to curl as it is.
    Passed,
    /// Asks for what is done anyway.
    Ignored,
    /// As `Passed`; the answer's content does not go to stdout.
    Output,
    /// Asks for a part, of requests without content.
    Range,
    /// As `Range`, and curl adds the part to a file.
    ContinueAt,
    /// Becomes a signed `If-None-Match`.
    EtagCompare,
    /// As `Passed`; the value becomes a part of the request.
    Field,
    /// As `Passed`, where the fields go to the proxy alone.
    ProxyHeader,
    /// As `Passed`; proxies get a request of their own.
    ProxyTunnel,
    /// As `Passed`; the content of a refusal is dropped.
    Fail,
    Method,
    Header,
    Data(DataKind),
    Form,
    FormString,
    FormEscape,
    Get,
    Head,
    Upload,
    Url,
    UrlQuery,
    User,
    Bearer,
    DumpHeader,
    /// As `Passed`; a key can be its own.
    Certificate,
    /// Of a TLS client certificate, or what signs where there is no certificate.
    Key,
    Refused(Refused),
}

/// Why a flag cannot be signed, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) why: &'static str,
    pub(super) instead: &'static str,
}

const REDIRECT: Refused = Refused {
    why: "a redirect would carry the signature to another place",
    instead: "leave it out, and sign a second request for the new place",
};
const CONFIG: Refused = Refused {
    why: "what a config file adds is not seen here, and would go unsigned",
    instead: "write its flags on the command line",
};
const SEVERAL: Refused = Refused {
    why: "a signature is good for one request",
    instead: "run this command once for each URL",
};
const AUTHENTICATION: Refused = Refused {
    why: "it makes the Authorization header after signing, or sends the request more than once",
    instead: "leave it out; -u USER:PASSWORD, --oauth2-bearer and -H 'Authorization: …' are signed",
};
const NETRC: Refused = Refused {
    why: "it adds an Authorization header that would go unsigned",
    instead: "give it with -u USER:PASSWORD",
};
const TARGET: Refused = Refused {
    why: "the target that is signed comes from the URL",
    instead: "write the target into the URL; it is sent as it is written",
};
const TIME: Refused = Refused {
    why: "curl makes the date of the header while sending",
    instead: "give the header itself, as in -H 'If-Modified-Since: Wed, 09 Nov 2022 07:28:00 GMT'",
};
const RETRY: Refused = Refused {
    why: "each attempt would repeat the nonce, and the server would refuse it as a replay",
    instead: "run this command again in a loop: every run signs anew",
};
const CRLF: Refused = Refused {
    why: "it changes the content after signing",
    instead: "leave it out, and convert the file before sending it",
};
const NO_STATUS: Refused = Refused {
    why: "an HTTP/0.9 answer has no status, so what came of the request could not be told",
    instead: "leave it out",
};
const NO_REQUEST: Refused = Refused {
    why: "it sends no request",
    instead: "run curl itself for that; `countersign curl --help` shows this command's help",
};

/// The flag of this name, without its dashes. `no-…` is understood before every switch, as curl does.
pub(super) fn by_long_name(name: &str) -> Option<&'static Flag> {
    let find = |name: &str| FLAGS.iter().find(|flag| flag.long == name);
    find(name).or_else(|| {
        let flag = find(name.strip_prefix("no-")?)?;
        (flag.arity == Arity::Switch && flag.role == Role::Passed).then_some(flag)
    })
}

pub(super) fn by_short_name(name: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.short == Some(name))
}

const fn flag(long: &'static str, short: Option<char>, arity: Arity, role: Role) -> Flag {
    Flag { long, short, arity, role }
}

use Arity::{Switch, Value};
use Role::{
    Bearer, Certificate, ContinueAt, Data, DumpHeader, EtagCompare, Fail, Field, Form, FormEscape,
    FormString, Get, Head, Header, Ignored, Key, Method, Output, Passed, ProxyHeader, ProxyTunnel,
    Range, Refused as No, Upload, Url, UrlQuery, User,
};

/// curl 7.88's, and those of later versions that are known to be harmless. One that is not here is refused: whether it
/// takes a value decides which argument is the URL.
#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("abstract-unix-socket", None, Value, Passed),
    flag("alpn", None, Switch, Passed),
    flag("alt-svc", None, Value, Passed),
    flag("anyauth", None, Switch, No(AUTHENTICATION)),
    flag("append", Some('a'), Switch, Passed),
    flag("aws-sigv4", None, Value, No(AUTHENTICATION)),
    flag("basic", None, Switch, Ignored),
    flag("buffer", None, Switch, Passed),
    flag("ca-native", None, Switch, Passed),
    flag("cacert", None, Value, Passed),
    flag("capath", None, Value, Passed),
    flag("cert", Some('E'), Value, Certificate),
    flag("cert-status", None, Switch, Passed),
    flag("cert-type", None, Value, Passed),
    flag("ciphers", None, Value, Passed),
    flag("clobber", None, Switch, Passed),
    flag("compressed", None, Switch, Passed),
    flag("compressed-ssh", None, Switch, Passed),
    flag("config", Some('K'), Value, No(CONFIG)),
    flag("connect-timeout", None, Value, Passed),
    flag("connect-to", None, Value, Passed),
    flag("continue-at", Some('C'), Value, ContinueAt),
    flag("cookie", Some('b'), Value, Field),
    flag("cookie-jar", Some('c'), Value, Passed),
    flag("create-dirs", None, Switch, Passed),
    flag("create-file-mode", None, Value, Passed),
    flag("crlf", None, Switch, No(CRLF)),
    flag("crlfile", None, Value, Passed),
    flag("curves", None, Value, Passed),
    flag("data", Some('d'), Value, Data(DataKind::Text)),
    flag("data-ascii", None, Value, Data(DataKind::Text)),
    flag("data-binary", None, Value, Data(DataKind::Binary)),
    flag("data-raw", None, Value, Data(DataKind::Raw)),
    flag("data-urlencode", None, Value, Data(DataKind::UrlEncode)),
    flag("delegation", None, Value, No(AUTHENTICATION)),
    flag("digest", None, Switch, No(AUTHENTICATION)),
    flag("disable", Some('q'), Switch, Ignored),
    flag("disable-eprt", None, Switch, Passed),
    flag("disable-epsv", None, Switch, Passed),
    flag("disallow-username-in-url", None, Switch, Passed),
    flag("dns-interface", None, Value, Passed),
    flag("dns-ipv4-addr", None, Value, Passed),
    flag("dns-ipv6-addr", None, Value, Passed),
    flag("dns-servers", None, Value, Passed),
    flag("doh-cert-status", None, Switch, Passed),
    flag("doh-insecure", None, Switch, Passed),
    flag("doh-url", None, Value, Passed),
    flag("dump-ca-embed", None, Switch, Passed),
    flag("dump-header", Some('D'), Value, DumpHeader),
    flag("ech", None, Value, Passed),
    flag("egd-file", None, Value, Passed),
    flag("engine", None, Value, Passed),
    flag("etag-compare", None, Value, EtagCompare),
    flag("etag-save", None, Value, Passed),
    flag("expect100-timeout", None, Value, Passed),
    flag("fail", Some('f'), Switch, Fail),
    flag("fail-early", None, Switch, Passed),
    flag("fail-with-body", None, Switch, Passed),
    flag("false-start", None, Switch, Passed),
    flag("follow", None, Switch, No(REDIRECT)),
    flag("form", Some('F'), Value, Form),
    flag("form-escape", None, Switch, FormEscape),
    flag("form-string", None, Value, FormString),
    flag("ftp-account", None, Value, Passed),
    flag("ftp-alternative-to-user", None, Value, Passed),
    flag("ftp-create-dirs", None, Switch, Passed),
    flag("ftp-method", None, Value, Passed),
    flag("ftp-pasv", None, Switch, Passed),
    flag("ftp-port", Some('P'), Value, Passed),
    flag("ftp-pret", None, Switch, Passed),
    flag("ftp-skip-pasv-ip", None, Switch, Passed),
    flag("ftp-ssl-ccc", None, Switch, Passed),
    flag("ftp-ssl-ccc-mode", None, Value, Passed),
    flag("ftp-ssl-control", None, Switch, Passed),
    flag("get", Some('G'), Switch, Get),
    flag("globoff", Some('g'), Switch, Ignored),
    flag("happy-eyeballs-timeout-ms", None, Value, Passed),
    flag("haproxy-clientip", None, Value, Field),
    flag("haproxy-protocol", None, Switch, Passed),
    flag("head", Some('I'), Switch, Head),
    flag("header", Some('H'), Value, Header),
    flag("help", Some('h'), Switch, No(NO_REQUEST)),
    flag("hostpubmd5", None, Value, Passed),
    flag("hostpubsha256", None, Value, Passed),
    flag("hsts", None, Value, Passed),
    flag("http0.9", None, Switch, No(NO_STATUS)),
    flag("http1.0", Some('0'), Switch, Passed),
    flag("http1.1", None, Switch, Passed),
    flag("http2", None, Switch, Passed),
    flag("http2-prior-knowledge", None, Switch, Passed),
    flag("http3", None, Switch, Passed),
    flag("http3-only", None, Switch, Passed),
    flag("ignore-content-length", None, Switch, Passed),
    flag("include", Some('i'), Switch, Passed),
    flag("insecure", Some('k'), Switch, Passed),
    flag("interface", None, Value, Passed),
    flag("ip-tos", None, Value, Passed),
    flag("ipfs-gateway", None, Value, Passed),
    flag("ipv4", Some('4'), Switch, Passed),
    flag("ipv6", Some('6'), Switch, Passed),
    flag("json", None, Value, Data(DataKind::Json)),
    flag("junk-session-cookies", Some('j'), Switch, Passed),
    flag("keepalive", None, Switch, Passed),
    flag("keepalive-cnt", None, Value, Passed),
    flag("keepalive-time", None, Value, Passed),
    flag("key", None, Value, Key),
    flag("key-type", None, Value, Passed),
    flag("krb", None, Value, No(AUTHENTICATION)),
    flag("libcurl", None, Value, Passed),
    flag("limit-rate", None, Value, Passed),
    flag("list-only", Some('l'), Switch, Passed),
    flag("local-port", None, Value, Passed),
    flag("location", Some('L'), Switch, No(REDIRECT)),
    flag("location-trusted", None, Switch, No(REDIRECT)),
    flag("login-options", None, Value, Passed),
    flag("mail-auth", None, Value, Passed),
    flag("mail-from", None, Value, Passed),
    flag("mail-rcpt", None, Value, Passed),
    flag("mail-rcpt-allowfails", None, Switch, Passed),
    flag("manual", Some('M'), Switch, No(NO_REQUEST)),
    flag("max-filesize", None, Value, Passed),
    flag("max-redirs", None, Value, Passed),
    flag("max-time", Some('m'), Value, Passed),
    flag("metalink", None, Switch, No(SEVERAL)),
    flag("mptcp", None, Switch, Passed),
    flag("negotiate", None, Switch, No(AUTHENTICATION)),
    flag("netrc", Some('n'), Switch, No(NETRC)),
    flag("netrc-file", None, Value, No(NETRC)),
    flag("netrc-optional", None, Switch, No(NETRC)),
    flag("next", Some(':'), Switch, No(SEVERAL)),
    flag("no-buffer", Some('N'), Switch, Passed),
    flag("noproxy", None, Value, Passed),
    flag("npn", None, Switch, Passed),
    flag("ntlm", None, Switch, No(AUTHENTICATION)),
    flag("ntlm-wb", None, Switch, No(AUTHENTICATION)),
    flag("oauth2-bearer", None, Value, Bearer),
    flag("out-null", None, Switch, Output),
    flag("output", Some('o'), Value, Output),
    flag("output-dir", None, Value, Passed),
    flag("parallel", Some('Z'), Switch, No(SEVERAL)),
    flag("parallel-immediate", None, Switch, No(SEVERAL)),
    flag("parallel-max", None, Value, No(SEVERAL)),
    flag("parallel-max-host", None, Value, No(SEVERAL)),
    flag("pass", None, Value, Passed),
    flag("path-as-is", None, Switch, Ignored),
    flag("pinnedpubkey", None, Value, Passed),
    flag("post301", None, Switch, Passed),
    flag("post302", None, Switch, Passed),
    flag("post303", None, Switch, Passed),
    flag("preproxy", None, Value, Passed),
    flag("progress-bar", Some('#'), Switch, Passed),
    flag("progress-meter", None, Switch, Passed),
    flag("proto", None, Value, Passed),
    flag("proto-default", None, Value, Passed),
    flag("proto-redir", None, Value, Passed),
    flag("proxy", Some('x'), Value, Passed),
    flag("proxy-anyauth", None, Switch, Passed),
    flag("proxy-basic", None, Switch, Passed),
    flag("proxy-ca-native", None, Switch, Passed),
    flag("proxy-cacert", None, Value, Passed),
    flag("proxy-capath", None, Value, Passed),
    flag("proxy-cert", None, Value, Passed),
    flag("proxy-cert-type", None, Value, Passed),
    flag("proxy-ciphers", None, Value, Passed),
    flag("proxy-crlfile", None, Value, Passed),
    flag("proxy-digest", None, Switch, Passed),
    flag("proxy-header", None, Value, ProxyHeader),
    flag("proxy-http2", None, Switch, Passed),
    flag("proxy-insecure", None, Switch, Passed),
    flag("proxy-key", None, Value, Passed),
    flag("proxy-key-type", None, Value, Passed),
    flag("proxy-negotiate", None, Switch, Passed),
    flag("proxy-ntlm", None, Switch, Passed),
    flag("proxy-pass", None, Value, Passed),
    flag("proxy-pinnedpubkey", None, Value, Passed),
    flag("proxy-service-name", None, Value, Passed),
    flag("proxy-ssl-allow-beast", None, Switch, Passed),
    flag("proxy-ssl-auto-client-cert", None, Switch, Passed),
    flag("proxy-tls13-ciphers", None, Value, Passed),
    flag("proxy-tlsauthtype", None, Value, Passed),
    flag("proxy-tlspassword", None, Value, Passed),
    flag("proxy-tlsuser", None, Value, Passed),
    flag("proxy-tlsv1", None, Switch, Passed),
    flag("proxy-user", Some('U'), Value, Passed),
    flag("proxy1.0", None, Value, Passed),
    flag("proxytunnel", Some('p'), Switch, ProxyTunnel),
    flag("pubkey", None, Value, Passed),
    flag("quote", Some('Q'), Value, Passed),
    flag("random-file", None, Value, Passed),
    flag("range", Some('r'), Value, Range),
    flag("rate", None, Value, Passed),
    flag("raw", None, Switch, Passed),
    flag("referer", Some('e'), Value, Field),
    flag("remote-header-name", Some('J'), Switch, Passed),
    flag("remote-name", Some('O'), Switch, Output),
    flag("remote-name-all", None, Switch, No(SEVERAL)),
    flag("remote-time", Some('R'), Switch, Passed),
    flag("remove-on-error", None, Switch, Passed),
    flag("request", Some('X'), Value, Method),
    flag("request-target", None, Value, No(TARGET)),
    flag("resolve", None, Value, Passed),
    flag("retry", None, Value, No(RETRY)),
    flag("retry-all-errors", None, Switch, No(RETRY)),
    flag("retry-connrefused", None, Switch, No(RETRY)),
    flag("retry-delay", None, Value, No(RETRY)),
    flag("retry-max-time", None, Value, No(RETRY)),
    flag("sasl-authzid", None, Value, Passed),
    flag("sasl-ir", None, Switch, Passed),
    flag("service-name", None, Value, Passed),
    flag("sessionid", None, Switch, Passed),
    flag("show-error", Some('S'), Switch, Passed),
    flag("sigalgs", None, Value, Passed),
    flag("silent", Some('s'), Switch, Passed),
    flag("skip-existing", None, Switch, Passed),
    flag("socks4", None, Value, Passed),
    flag("socks4a", None, Value, Passed),
    flag("socks5", None, Value, Passed),
    flag("socks5-basic", None, Switch, Passed),
    flag("socks5-gssapi", None, Switch, Passed),
    flag("socks5-gssapi-nec", None, Switch, Passed),
    flag("socks5-gssapi-service", None, Value, Passed),
    flag("socks5-hostname", None, Value, Passed),
    flag("speed-limit", Some('Y'), Value, Passed),
    flag("speed-time", Some('y'), Value, Passed),
    flag("ssl", None, Switch, Passed),
    flag("ssl-allow-beast", None, Switch, Passed),
    flag("ssl-auto-client-cert", None, Switch, Passed),
    flag("ssl-no-revoke", None, Switch, Passed),
    flag("ssl-reqd", None, Switch, Passed),
    flag("ssl-revoke-best-effort", None, Switch, Passed),
    flag("sslv2", Some('2'), Switch, Passed),
    flag("sslv3", Some('3'), Switch, Passed),
    flag("stderr", None, Value, Passed),
    flag("styled-output", None, Switch, Passed),
    flag("suppress-connect-headers", None, Switch, Passed),
    flag("tcp-fastopen", None, Switch, Passed),
    flag("tcp-nodelay", None, Switch, Passed),
    flag("telnet-option", Some('t'), Value, Passed),
    flag("tftp-blksize", None, Value, Passed),
    flag("tftp-no-options", None, Switch, Passed),
    flag("time-cond", Some('z'), Value, No(TIME)),
    flag("tls-earlydata", None, Switch, Passed),
    flag("tls-max", None, Value, Passed),
    flag("tls13-ciphers", None, Value, Passed),
    flag("tlsauthtype", None, Value, Passed),
    flag("tlspassword", None, Value, Passed),
    flag("tlsuser", None, Value, Passed),
    flag("tlsv1", Some('1'), Switch, Passed),
    flag("tlsv1.0", None, Switch, Passed),
    flag("tlsv1.1", None, Switch, Passed),
    flag("tlsv1.2", None, Switch, Passed),
    flag("tlsv1.3", None, Switch, Passed),
    flag("tr-encoding", None, Switch, Passed),
    flag("trace", None, Value, Passed),
    flag("trace-ascii", None, Value, Passed),
    flag("trace-config", None, Value, Passed),
    flag("trace-ids", None, Switch, Passed),
    flag("trace-time", None, Switch, Passed),
    flag("unix-socket", None, Value, Passed),
    flag("upload-file", Some('T'), Value, Upload),
    flag("upload-flags", None, Value, Passed),
    flag("url", None, Value, Url),
    flag("url-query", None, Value, UrlQuery),
    flag("use-ascii", Some('B'), Switch, No(CRLF)),
    flag("user", Some('u'), Value, User),
    flag("user-agent", Some('A'), Value, Field),
    flag("variable", None, Value, No(CONFIG)),
    flag("verbose", Some('v'), Switch, Passed),
    flag("version", Some('V'), Switch, No(NO_REQUEST)),
    flag("vlan-priority", None, Value, Passed),
    flag("write-out", Some('w'), Value, Passed),
    flag("xattr", None, Switch, Passed),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        for (at, flag) in FLAGS.iter().enumerate() {
            let mut others = FLAGS.iter().skip(at + 1);
            let same = |other: &Flag| {
                other.long == flag.long || (other.short.is_some() && other.short == flag.short)
            };
            assert!(!others.any(same), "{}", flag.long);
        }
    }

    #[test]
    fn the_curl_of_this_machine_has_no_flag_that_is_unknown_here() {
        let Ok(help) = std::process::Command::new("curl").args(["--help", "all"]).output() else {
            return;
        };
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let flags = help.lines().filter_map(|line| line.split_once("--"));
        let mut seen = 0;
        for (_, rest) in flags {
            let name: String = rest
                .chars()
                .take_while(|&c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
                .collect();
            let takes_value = rest[name.len()..].starts_with(" <")
                || rest[name.len()..].starts_with(" [protocol");
            let Some(flag) = by_long_name(&name) else { continue };
            seen += 1;
            // `curl --help` alone works too.
            if name != "help" {
                assert_eq!(flag.arity == Arity::Value, takes_value, "{name}");
            }
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn a_switch_can_be_negated_and_nothing_else_can() {
        assert!(by_long_name("no-keepalive").is_some());
        for name in ["no-request", "no-get", "no-location", "no-", "no-no-keepalive"] {
            assert!(by_long_name(name).is_none(), "{name}");
        }
    }
}
