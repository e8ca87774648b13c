mod diagnosis;

use std::{fmt, process::Stdio};

use clap::Args;
use countersign::{Origin, PrivateKey, Scheme, Signer, Timestamp, is_loopback};
use countersign_store::{MasterKeys, SealedSecrets, Secrets};
use serde_json::{Value, json};

use self::diagnosis::Diagnosis;
use crate::{
    curl::{
        child,
        probe::{Answer, Probed, probe, reason},
    },
    failure::{Exit, Failure},
    key_source::PrivateKeyArgs,
    moment,
    output::{print, print_line},
    random,
    registry_args::RegistryArgs,
    request::{Request, cannot_sign, signed_fields, url::Url},
};

/// The largest difference between clocks that servers allow by default, in seconds.
const SKEW: u64 = 10;
/// From this difference on the clock should be set, although servers still take its signatures.
const DRIFT: u64 = 3;

/// Finds the cause when signed requests fail here: the key, the clock, the network, the server
///
/// With a URL, sends two GET requests there: without a key, and signed by the key. Name a path for which a signed GET
/// is allowed. On the machine of a server, --db and --master-key check its registry and its master key.
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 nothing is wrong · 1 something on this machine · 2 the server or the network · 3 the key is refused · 4 a limit."
)]
pub(crate) struct Doctor {
    #[command(flatten)]
    key: PrivateKeyArgs,
    /// The tag by which the server selects the signature
    #[arg(long, default_value = "countersign")]
    tag: String,
    #[command(flatten)]
    registry: RegistryArgs,
    /// A URL of the API, like https://api.example.com/v1/orders
    url: Option<String>,
}

impl Doctor {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let secrets: Vec<i32> = self.key.descriptors().chain(self.registry.descriptors()).collect();
        let mut findings = vec![curl(&secrets)];
        let (key, finding) = self.key();
        findings.push(finding);
        findings.extend(self.registry());
        findings.extend(proxy());
        match &self.url {
            Some(url) => self.ask_server(url, key, &secrets, &mut findings)?,
            None => findings.push(Diagnosis::skipped("server", "no URL is given")),
        }
        let exit = findings.iter().find_map(Diagnosis::exit).unwrap_or(Exit::Done);
        if self.registry.wants_json() {
            let checks: Vec<Value> = findings.iter().map(Diagnosis::to_json).collect();
            print_line(json!({ "well": exit == Exit::Done, "checks": checks }))?;
        } else {
            let listing: String = findings.iter().map(ToString::to_string).collect();
            print(listing)?;
        }
        Ok(exit)
    }

    fn key(&self) -> (Option<PrivateKey>, Diagnosis) {
        const NAME: &str = "key";
        if !self.key.is_given() {
            return (
                None,
                Diagnosis::skipped(NAME, "none is given, with --key or COUNTERSIGN_KEY"),
            );
        }
        match self.key.read() {
            Ok(key) => {
                let detail = format!("it can be read, and signs as {}", key.publishable_key());
                (Some(key), Diagnosis::well(NAME, detail))
            }
            Err(failure) => (None, Diagnosis::failed(NAME, &failure)),
        }
    }

    /// Whether the registry can be opened and read, if one is named, and whether its secrets are sealed with the master keys
    /// that are given.
    fn registry(&self) -> Vec<Diagnosis> {
        const NAME: &str = "registry";
        let mut findings = Vec::new();
        let master_keys = match self.registry.master_keys() {
            Ok(master_keys) => master_keys,
            Err(failure) => return vec![Diagnosis::failed("master key", &failure)],
        };
        if let Some(keys) = &master_keys {
            let detail = format!("it can be read; its id is {}", keys.current().id());
            findings.push(Diagnosis::well("master key", detail));
        }
        if !self.registry.is_named() {
            return findings;
        }
        let asked = self.registry.ask_without_master_keys(async |registry| {
            Ok((registry.number_of_credentials().await?, registry.secrets().await?))
        });
        match asked {
            Ok((keys, secrets)) => {
                let noun = if keys == 1 { "key" } else { "keys" };
                let detail = format!("it can be read, and has {keys} {noun}");
                findings.push(Diagnosis::well(NAME, detail));
                findings.extend(diagnose_secrets(&secrets, master_keys.as_ref()));
            }
            Err(failure) => findings.push(Diagnosis::failed(NAME, &failure)),
        }
        findings
    }

    /// Asks the server, first without a key and then with the key.
    fn ask_server(
        &self,
        url: &str,
        key: Option<PrivateKey>,
        secrets: &[i32],
        findings: &mut Vec<Diagnosis>,
    ) -> Result<(), Failure> {
        let request =
            match Url::parse(url).and_then(|url| Request::new("GET", url, Vec::new(), None)) {
                Ok(request) => request,
                Err(failure) => {
                    findings.push(Diagnosis::failed("URL", &failure));
                    return Ok(());
                }
            };
        let origin = &request.origin;
        let before = moment::now();
        let answer = match probe(&request, &[], secrets)? {
            Probed::Answered(answer) => answer,
            Probed::Unreached(code) => {
                let (why, hint) = reason(code, origin.scheme());
                let error = format!("{origin}: {why} (curl's exit code is {code})");
                findings
                    .push(Diagnosis::failed("server", &Failure::new(Exit::Server, error, hint)));
                return Ok(());
            }
        };
        let status = answer.status;
        findings.push(Diagnosis::well("server", format!("{origin} responds, with {status}")));
        findings.push(tls(origin));
        findings.push(clock(answer.date, before, moment::now()));
        let Some(key) = key else {
            findings.push(Diagnosis::skipped("signature", "no key can be read to sign with"));
            return Ok(());
        };
        let signer = Signer::new(key).tag(&self.tag).map_err(|error| {
            Failure::local(error, "name the tag that the server's operator gave you")
        })?;
        let (headers, nonce) = (request.headers(), random::nonce()?);
        let signed = signer.sign_digested(&request.head(&headers), None, moment::now(), &nonce);
        match signed {
            Ok(signed) => findings.push(match probe(&request, &signed_fields(signed), secrets)? {
                Probed::Answered(answer) => signature(&answer),
                Probed::Unreached(code) => {
                    let (why, hint) = reason(code, origin.scheme());
                    Diagnosis::failed("signature", &Failure::new(Exit::Server, why, hint))
                }
            }),
            Err(error) => findings.push(Diagnosis::failed("signature", &cannot_sign(&error))),
        }
        Ok(())
    }
}

/// Whether the HMAC secrets of a registry are sealed, and can be opened with these master keys.
fn diagnose_secrets(secrets: &Secrets, given: Option<&MasterKeys>) -> Vec<Diagnosis> {
    const NAME: &str = "HMAC secrets";
    let mut findings = Vec::new();
    if secrets.plain > 0 {
        findings.push(Diagnosis::doubtful(
            NAME,
            format!("{} lie in the registry unencrypted", secrets.plain),
            "make a master key with `countersign master-key generate`, and open the registry with it: --master-key FILE",
        ));
    }
    let opens = |sealed: &SealedSecrets| {
        let given = given.into_iter().flat_map(|keys| [Some(keys.current()), keys.previous()]);
        sealed.master_key.is_some_and(|id| given.flatten().any(|key| key.id() == id))
    };
    for sealed in &secrets.sealed {
        let key =
            sealed.master_key.map_or_else(|| "an unknown one".to_owned(), |id| id.to_string());
        let detail = format!("{} are sealed with the master key {key}", sealed.count);
        findings.push(match opens(sealed) {
            true => Diagnosis::well(NAME, detail),
            false => Diagnosis::failed(
                NAME,
                &Failure::local(
                    format!("{detail}, which is not given: their keys are refused"),
                    "name it with --master-key FILE or --previous-master-key FILE",
                ),
            ),
        });
    }
    findings
}

/// Whether curl is there.
fn curl(secrets: &[i32]) -> Diagnosis {
    let mut version = child::curl(Stdio::null(), secrets.iter().copied()).into_std();
    let version = version.arg("--version").output();
    let version = version.ok().filter(|output| output.status.success());
    let text = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    match text.as_deref().and_then(|text| text.split(' ').nth(1)) {
        Some(version) => Diagnosis::well("curl", format!("version {version} is in PATH")),
        None => Diagnosis::failed(
            "curl",
            &Failure::local("it is not installed, or not in PATH", "install curl"),
        ),
    }
}

/// The proxies that curl uses, and other clients as well.
fn proxy() -> Option<Diagnosis> {
    let names = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let set =
        names.into_iter().filter(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
    let set: Vec<&str> = set.collect();
    // The value may hold a password.
    (!set.is_empty()).then(|| {
        Diagnosis::well("proxy", format!("requests go by the proxy in {}", set.join(", ")))
    })
}

fn tls(origin: &Origin) -> Diagnosis {
    let host = origin.authority().rsplit_once(':').map_or(origin.authority(), |(host, _)| host);
    match origin.scheme() {
        Scheme::Https => Diagnosis::well("TLS", "the certificate of the server holds"),
        Scheme::Http if is_loopback(host) || is_loopback(origin.authority()) => {
            Diagnosis::well("TLS", "there is none, and the server is this machine")
        }
        Scheme::Http => Diagnosis::doubtful(
            "TLS",
            "there is none: anyone on the way can read requests, and respond in the server's place",
            "use the https:// URL of the API",
        ),
    }
}

/// Compares the server's time with this machine's time before and after the response.
fn clock(server: Option<Timestamp>, before: Timestamp, after: Timestamp) -> Diagnosis {
    const NAME: &str = "clock";
    const SET: &str = "set this machine's clock, as by `timedatectl set-ntp true`";
    let Some(server) = server else {
        return Diagnosis::skipped(NAME, "the server does not tell its time");
    };
    let ahead = before.since(server).map(|by| by.as_secs()).filter(|&by| by > 0);
    let behind = server.since(after).map(|by| by.as_secs()).filter(|&by| by > 0);
    let (off, which) = match (ahead, behind) {
        (Some(by), _) => (by, "ahead of"),
        (None, Some(by)) => (by, "behind"),
        (None, None) => return Diagnosis::well(NAME, "it agrees with the server's"),
    };
    let said = format!("this machine's is {off} s {which} the server's");
    if off <= DRIFT {
        Diagnosis::well(NAME, said)
    } else if off <= SKEW {
        Diagnosis::doubtful(NAME, said, SET)
    } else {
        Diagnosis::failed(NAME, &Failure::local(said, SET))
    }
}

/// What the server made of a signed request.
fn signature(answer: &Answer) -> Diagnosis {
    const NAME: &str = "signature";
    let status = answer.status;
    match (&answer.refusal, status) {
        (Some(refusal), _) => Diagnosis::failed(NAME, refusal),
        (None, ..=399) => Diagnosis::well(NAME, format!("the server accepts it, with {status}")),
        (None, 401 | 403 | 429) | (None, 500..) => Diagnosis::doubtful(
            NAME,
            format!("the response is {status}, and not from a Countersign server"),
            "check the URL; a proxy may respond in the server's place",
        ),
        (None, _) => Diagnosis::doubtful(
            NAME,
            format!("the server does not refuse it; its service responds with {status}"),
            "name a URL that a signed GET may read",
        ),
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {:10}  {}", self.mark(), self.name(), self.detail())?;
        match self.hint() {
            Some(hint) => writeln!(f, "      {:10}  hint: {hint}", ""),
            None => Ok(()),
        }
    }
}
