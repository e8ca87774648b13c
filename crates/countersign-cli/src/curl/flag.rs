use crate::request::body::DataKind;

/// A flag of curl: whether it takes a value, and its effect on the signed request.
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
    /// Has no effect on the signed request, and goes to curl unchanged.
    CurlOnly,
    /// Asks for something that this command always does.
    Ignored,
    /// Like `CurlOnly`; the content of the response does not go to stdout.
    Output,
    /// Asks for a range; only for requests without content.
    Range,
    /// Like `Range`; curl also appends the range to a file.
    ContinueAt,
    /// Becomes a signed `If-None-Match`.
    EtagCompare,
    /// Like `CurlOnly`; the value becomes a part of the request.
    Field,
    /// Like `CurlOnly`, if the fields go only to the proxy.
    ProxyHeader,
    /// Like `CurlOnly`; proxies receive a request of their own.
    ProxyTunnel,
    /// Like `CurlOnly`; curl drops the content of an error response.
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
    /// Like `CurlOnly`; a `--key` with this flag belongs to curl.
    Certificate,
    /// The key of the TLS client certificate or, without a certificate, the key that signs.
    Key,
    Refused(Refused),
}

/// Why a flag cannot be signed, and the alternative.
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
    why: "header fields from a config file would go unsigned",
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
    why: "an HTTP/0.9 response has no status, so a failure could not be told from success",
    instead: "leave it out",
};
const NO_REQUEST: Refused = Refused {
    why: "it sends no request",
    instead: "run curl itself for that; `countersign curl --help` shows this command's help",
};

/// Returns the flag with this name, without its dashes. `no-…` works before every switch, as in curl.
pub(super) fn by_long_name(name: &str) -> Option<&'static Flag> {
    let find = |name: &str| FLAGS.iter().find(|flag| flag.long == name);
    find(name).or_else(|| {
        let flag = find(name.strip_prefix("no-")?)?;
        (flag.arity == Arity::Switch && flag.role == Role::CurlOnly).then_some(flag)
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
    Bearer, Certificate, ContinueAt, CurlOnly, Data, DumpHeader, EtagCompare, Fail, Field, Form,
    FormEscape, FormString, Get, Head, Header, Ignored, Key, Method, Output, ProxyHeader,
    ProxyTunnel, Range, Refused as No, Upload, Url, UrlQuery, User,
};

/// The flags of curl 7.88, and flags of later versions that are known to be harmless. A flag missing here is refused:
/// whether it takes a value decides which argument is the URL.
#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("abstract-unix-socket", None, Value, CurlOnly),
    flag("alpn", None, Switch, CurlOnly),
    flag("alt-svc", None, Value, CurlOnly),
    flag("anyauth", None, Switch, No(AUTHENTICATION)),
    flag("append", Some('a'), Switch, CurlOnly),
    flag("aws-sigv4", None, Value, No(AUTHENTICATION)),
    flag("basic", None, Switch, Ignored),
    flag("buffer", None, Switch, CurlOnly),
    flag("ca-native", None, Switch, CurlOnly),
    flag("cacert", None, Value, CurlOnly),
    flag("capath", None, Value, CurlOnly),
    flag("cert", Some('E'), Value, Certificate),
    flag("cert-status", None, Switch, CurlOnly),
    flag("cert-type", None, Value, CurlOnly),
    flag("ciphers", None, Value, CurlOnly),
    flag("clobber", None, Switch, CurlOnly),
    flag("compressed", None, Switch, CurlOnly),
    flag("compressed-ssh", None, Switch, CurlOnly),
    flag("config", Some('K'), Value, No(CONFIG)),
    flag("connect-timeout", None, Value, CurlOnly),
    flag("connect-to", None, Value, CurlOnly),
    flag("continue-at", Some('C'), Value, ContinueAt),
    flag("cookie", Some('b'), Value, Field),
    flag("cookie-jar", Some('c'), Value, CurlOnly),
    flag("create-dirs", None, Switch, CurlOnly),
    flag("create-file-mode", None, Value, CurlOnly),
    flag("crlf", None, Switch, No(CRLF)),
    flag("crlfile", None, Value, CurlOnly),
    flag("curves", None, Value, CurlOnly),
    flag("data", Some('d'), Value, Data(DataKind::Text)),
    flag("data-ascii", None, Value, Data(DataKind::Text)),
    flag("data-binary", None, Value, Data(DataKind::Binary)),
    flag("data-raw", None, Value, Data(DataKind::Raw)),
    flag("data-urlencode", None, Value, Data(DataKind::UrlEncode)),
    flag("delegation", None, Value, No(AUTHENTICATION)),
    flag("digest", None, Switch, No(AUTHENTICATION)),
    flag("disable", Some('q'), Switch, Ignored),
    flag("disable-eprt", None, Switch, CurlOnly),
    flag("disable-epsv", None, Switch, CurlOnly),
    flag("disallow-username-in-url", None, Switch, CurlOnly),
    flag("dns-interface", None, Value, CurlOnly),
    flag("dns-ipv4-addr", None, Value, CurlOnly),
    flag("dns-ipv6-addr", None, Value, CurlOnly),
    flag("dns-servers", None, Value, CurlOnly),
    flag("doh-cert-status", None, Switch, CurlOnly),
    flag("doh-insecure", None, Switch, CurlOnly),
    flag("doh-url", None, Value, CurlOnly),
    flag("dump-ca-embed", None, Switch, CurlOnly),
    flag("dump-header", Some('D'), Value, DumpHeader),
    flag("ech", None, Value, CurlOnly),
    flag("egd-file", None, Value, CurlOnly),
    flag("engine", None, Value, CurlOnly),
    flag("etag-compare", None, Value, EtagCompare),
    flag("etag-save", None, Value, CurlOnly),
    flag("expect100-timeout", None, Value, CurlOnly),
    flag("fail", Some('f'), Switch, Fail),
    flag("fail-early", None, Switch, CurlOnly),
    flag("fail-with-body", None, Switch, CurlOnly),
    flag("false-start", None, Switch, CurlOnly),
    flag("follow", None, Switch, No(REDIRECT)),
    flag("form", Some('F'), Value, Form),
    flag("form-escape", None, Switch, FormEscape),
    flag("form-string", None, Value, FormString),
    flag("ftp-account", None, Value, CurlOnly),
    flag("ftp-alternative-to-user", None, Value, CurlOnly),
    flag("ftp-create-dirs", None, Switch, CurlOnly),
    flag("ftp-method", None, Value, CurlOnly),
    flag("ftp-pasv", None, Switch, CurlOnly),
    flag("ftp-port", Some('P'), Value, CurlOnly),
    flag("ftp-pret", None, Switch, CurlOnly),
    flag("ftp-skip-pasv-ip", None, Switch, CurlOnly),
    flag("ftp-ssl-ccc", None, Switch, CurlOnly),
    flag("ftp-ssl-ccc-mode", None, Value, CurlOnly),
    flag("ftp-ssl-control", None, Switch, CurlOnly),
    flag("get", Some('G'), Switch, Get),
    flag("globoff", Some('g'), Switch, Ignored),
    flag("happy-eyeballs-timeout-ms", None, Value, CurlOnly),
    flag("haproxy-clientip", None, Value, Field),
    flag("haproxy-protocol", None, Switch, CurlOnly),
    flag("head", Some('I'), Switch, Head),
    flag("header", Some('H'), Value, Header),
    flag("help", Some('h'), Switch, No(NO_REQUEST)),
    flag("hostpubmd5", None, Value, CurlOnly),
    flag("hostpubsha256", None, Value, CurlOnly),
    flag("hsts", None, Value, CurlOnly),
    flag("http0.9", None, Switch, No(NO_STATUS)),
    flag("http1.0", Some('0'), Switch, CurlOnly),
    flag("http1.1", None, Switch, CurlOnly),
    flag("http2", None, Switch, CurlOnly),
    flag("http2-prior-knowledge", None, Switch, CurlOnly),
    flag("http3", None, Switch, CurlOnly),
    flag("http3-only", None, Switch, CurlOnly),
    flag("ignore-content-length", None, Switch, CurlOnly),
    flag("include", Some('i'), Switch, CurlOnly),
    flag("insecure", Some('k'), Switch, CurlOnly),
    flag("interface", None, Value, CurlOnly),
    flag("ip-tos", None, Value, CurlOnly),
    flag("ipfs-gateway", None, Value, CurlOnly),
    flag("ipv4", Some('4'), Switch, CurlOnly),
    flag("ipv6", Some('6'), Switch, CurlOnly),
    flag("json", None, Value, Data(DataKind::Json)),
    flag("junk-session-cookies", Some('j'), Switch, CurlOnly),
    flag("keepalive", None, Switch, CurlOnly),
    flag("keepalive-cnt", None, Value, CurlOnly),
    flag("keepalive-time", None, Value, CurlOnly),
    flag("key", None, Value, Key),
    flag("key-type", None, Value, CurlOnly),
    flag("krb", None, Value, No(AUTHENTICATION)),
    flag("libcurl", None, Value, CurlOnly),
    flag("limit-rate", None, Value, CurlOnly),
    flag("list-only", Some('l'), Switch, CurlOnly),
    flag("local-port", None, Value, CurlOnly),
    flag("location", Some('L'), Switch, No(REDIRECT)),
    flag("location-trusted", None, Switch, No(REDIRECT)),
    flag("login-options", None, Value, CurlOnly),
    flag("mail-auth", None, Value, CurlOnly),
    flag("mail-from", None, Value, CurlOnly),
    flag("mail-rcpt", None, Value, CurlOnly),
    flag("mail-rcpt-allowfails", None, Switch, CurlOnly),
    flag("manual", Some('M'), Switch, No(NO_REQUEST)),
    flag("max-filesize", None, Value, CurlOnly),
    flag("max-redirs", None, Value, CurlOnly),
    flag("max-time", Some('m'), Value, CurlOnly),
    flag("metalink", None, Switch, No(SEVERAL)),
    flag("mptcp", None, Switch, CurlOnly),
    flag("negotiate", None, Switch, No(AUTHENTICATION)),
    flag("netrc", Some('n'), Switch, No(NETRC)),
    flag("netrc-file", None, Value, No(NETRC)),
    flag("netrc-optional", None, Switch, No(NETRC)),
    flag("next", Some(':'), Switch, No(SEVERAL)),
    flag("no-buffer", Some('N'), Switch, CurlOnly),
    flag("noproxy", None, Value, CurlOnly),
    flag("npn", None, Switch, CurlOnly),
    flag("ntlm", None, Switch, No(AUTHENTICATION)),
    flag("ntlm-wb", None, Switch, No(AUTHENTICATION)),
    flag("oauth2-bearer", None, Value, Bearer),
    flag("out-null", None, Switch, Output),
    flag("output", Some('o'), Value, Output),
    flag("output-dir", None, Value, CurlOnly),
    flag("parallel", Some('Z'), Switch, No(SEVERAL)),
    flag("parallel-immediate", None, Switch, No(SEVERAL)),
    flag("parallel-max", None, Value, No(SEVERAL)),
    flag("parallel-max-host", None, Value, No(SEVERAL)),
    flag("pass", None, Value, CurlOnly),
    flag("path-as-is", None, Switch, Ignored),
    flag("pinnedpubkey", None, Value, CurlOnly),
    flag("post301", None, Switch, CurlOnly),
    flag("post302", None, Switch, CurlOnly),
    flag("post303", None, Switch, CurlOnly),
    flag("preproxy", None, Value, CurlOnly),
    flag("progress-bar", Some('#'), Switch, CurlOnly),
    flag("progress-meter", None, Switch, CurlOnly),
    flag("proto", None, Value, CurlOnly),
    flag("proto-default", None, Value, CurlOnly),
    flag("proto-redir", None, Value, CurlOnly),
    flag("proxy", Some('x'), Value, CurlOnly),
    flag("proxy-anyauth", None, Switch, CurlOnly),
    flag("proxy-basic", None, Switch, CurlOnly),
    flag("proxy-ca-native", None, Switch, CurlOnly),
    flag("proxy-cacert", None, Value, CurlOnly),
    flag("proxy-capath", None, Value, CurlOnly),
    flag("proxy-cert", None, Value, CurlOnly),
    flag("proxy-cert-type", None, Value, CurlOnly),
    flag("proxy-ciphers", None, Value, CurlOnly),
    flag("proxy-crlfile", None, Value, CurlOnly),
    flag("proxy-digest", None, Switch, CurlOnly),
    flag("proxy-header", None, Value, ProxyHeader),
    flag("proxy-http2", None, Switch, CurlOnly),
    flag("proxy-insecure", None, Switch, CurlOnly),
    flag("proxy-key", None, Value, CurlOnly),
    flag("proxy-key-type", None, Value, CurlOnly),
    flag("proxy-negotiate", None, Switch, CurlOnly),
    flag("proxy-ntlm", None, Switch, CurlOnly),
    flag("proxy-pass", None, Value, CurlOnly),
    flag("proxy-pinnedpubkey", None, Value, CurlOnly),
    flag("proxy-service-name", None, Value, CurlOnly),
    flag("proxy-ssl-allow-beast", None, Switch, CurlOnly),
    flag("proxy-ssl-auto-client-cert", None, Switch, CurlOnly),
    flag("proxy-tls13-ciphers", None, Value, CurlOnly),
    flag("proxy-tlsauthtype", None, Value, CurlOnly),
    flag("proxy-tlspassword", None, Value, CurlOnly),
    flag("proxy-tlsuser", None, Value, CurlOnly),
    flag("proxy-tlsv1", None, Switch, CurlOnly),
    flag("proxy-user", Some('U'), Value, CurlOnly),
    flag("proxy1.0", None, Value, CurlOnly),
    flag("proxytunnel", Some('p'), Switch, ProxyTunnel),
    flag("pubkey", None, Value, CurlOnly),
    flag("quote", Some('Q'), Value, CurlOnly),
    flag("random-file", None, Value, CurlOnly),
    flag("range", Some('r'), Value, Range),
    flag("rate", None, Value, CurlOnly),
    flag("raw", None, Switch, CurlOnly),
    flag("referer", Some('e'), Value, Field),
    flag("remote-header-name", Some('J'), Switch, CurlOnly),
    flag("remote-name", Some('O'), Switch, Output),
    flag("remote-name-all", None, Switch, No(SEVERAL)),
    flag("remote-time", Some('R'), Switch, CurlOnly),
    flag("remove-on-error", None, Switch, CurlOnly),
    flag("request", Some('X'), Value, Method),
    flag("request-target", None, Value, No(TARGET)),
    flag("resolve", None, Value, CurlOnly),
    flag("retry", None, Value, No(RETRY)),
    flag("retry-all-errors", None, Switch, No(RETRY)),
    flag("retry-connrefused", None, Switch, No(RETRY)),
    flag("retry-delay", None, Value, No(RETRY)),
    flag("retry-max-time", None, Value, No(RETRY)),
    flag("sasl-authzid", None, Value, CurlOnly),
    flag("sasl-ir", None, Switch, CurlOnly),
    flag("service-name", None, Value, CurlOnly),
    flag("sessionid", None, Switch, CurlOnly),
    flag("show-error", Some('S'), Switch, CurlOnly),
    flag("sigalgs", None, Value, CurlOnly),
    flag("silent", Some('s'), Switch, CurlOnly),
    flag("skip-existing", None, Switch, CurlOnly),
    flag("socks4", None, Value, CurlOnly),
    flag("socks4a", None, Value, CurlOnly),
    flag("socks5", None, Value, CurlOnly),
    flag("socks5-basic", None, Switch, CurlOnly),
    flag("socks5-gssapi", None, Switch, CurlOnly),
    flag("socks5-gssapi-nec", None, Switch, CurlOnly),
    flag("socks5-gssapi-service", None, Value, CurlOnly),
    flag("socks5-hostname", None, Value, CurlOnly),
    flag("speed-limit", Some('Y'), Value, CurlOnly),
    flag("speed-time", Some('y'), Value, CurlOnly),
    flag("ssl", None, Switch, CurlOnly),
    flag("ssl-allow-beast", None, Switch, CurlOnly),
    flag("ssl-auto-client-cert", None, Switch, CurlOnly),
    flag("ssl-no-revoke", None, Switch, CurlOnly),
    flag("ssl-reqd", None, Switch, CurlOnly),
    flag("ssl-revoke-best-effort", None, Switch, CurlOnly),
    flag("sslv2", Some('2'), Switch, CurlOnly),
    flag("sslv3", Some('3'), Switch, CurlOnly),
    flag("stderr", None, Value, CurlOnly),
    flag("styled-output", None, Switch, CurlOnly),
    flag("suppress-connect-headers", None, Switch, CurlOnly),
    flag("tcp-fastopen", None, Switch, CurlOnly),
    flag("tcp-nodelay", None, Switch, CurlOnly),
    flag("telnet-option", Some('t'), Value, CurlOnly),
    flag("tftp-blksize", None, Value, CurlOnly),
    flag("tftp-no-options", None, Switch, CurlOnly),
    flag("time-cond", Some('z'), Value, No(TIME)),
    flag("tls-earlydata", None, Switch, CurlOnly),
    flag("tls-max", None, Value, CurlOnly),
    flag("tls13-ciphers", None, Value, CurlOnly),
    flag("tlsauthtype", None, Value, CurlOnly),
    flag("tlspassword", None, Value, CurlOnly),
    flag("tlsuser", None, Value, CurlOnly),
    flag("tlsv1", Some('1'), Switch, CurlOnly),
    flag("tlsv1.0", None, Switch, CurlOnly),
    flag("tlsv1.1", None, Switch, CurlOnly),
    flag("tlsv1.2", None, Switch, CurlOnly),
    flag("tlsv1.3", None, Switch, CurlOnly),
    flag("tr-encoding", None, Switch, CurlOnly),
    flag("trace", None, Value, CurlOnly),
    flag("trace-ascii", None, Value, CurlOnly),
    flag("trace-config", None, Value, CurlOnly),
    flag("trace-ids", None, Switch, CurlOnly),
    flag("trace-time", None, Switch, CurlOnly),
    flag("unix-socket", None, Value, CurlOnly),
    flag("upload-file", Some('T'), Value, Upload),
    flag("upload-flags", None, Value, CurlOnly),
    flag("url", None, Value, Url),
    flag("url-query", None, Value, UrlQuery),
    flag("use-ascii", Some('B'), Switch, No(CRLF)),
    flag("user", Some('u'), Value, User),
    flag("user-agent", Some('A'), Value, Field),
    flag("variable", None, Value, No(CONFIG)),
    flag("verbose", Some('v'), Switch, CurlOnly),
    flag("version", Some('V'), Switch, No(NO_REQUEST)),
    flag("vlan-priority", None, Value, CurlOnly),
    flag("write-out", Some('w'), Value, CurlOnly),
    flag("xattr", None, Switch, CurlOnly),
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
            // `curl --help` also works without a value.
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
