//! What a client runs on, and what it is, by its `User-Agent` and client hints.

mod patterns;
mod sdks;

use std::sync::{Arc, OnceLock};

use countersign_store::Platform;

use self::{patterns::Patterns, sdks::find_sdk};
use super::{
    agent::{Agent, Hint},
    bounds,
};

/// What is known of a program. Default: nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) platform: Platform,
    pub(super) product: Option<Arc<str>>,
}

impl Default for Class {
    fn default() -> Self {
        Self { platform: Platform::Other, product: None }
    }
}

/// Classifies programs: by a list of SDKs, and all others by the patterns of uap-core, which are loaded at the first of these.
#[derive(Debug, Default)]
pub(super) struct Classifier {
    /// `None` if the patterns cannot be loaded.
    patterns: OnceLock<Option<Patterns>>,
}

impl Classifier {
    /// Classifies a program. The first call takes a while.
    pub(super) fn classify(&self, agent: &Agent) -> Class {
        if let Some((product, platform)) = find_sdk(&agent.text) {
            return Class { platform, product: Some(product.into()) };
        }
        let patterns = self.patterns.get_or_init(|| {
            Patterns::load()
                .inspect_err(|error| tracing::error!(error, "the patterns of clients are damaged"))
                .ok()
        });
        let Some(patterns) = patterns else { return Class::default() };
        let system = patterns.system(&agent.text);
        let product = match agent.text.contains("CFNetwork/") {
            // The patterns return the name of the app.
            true => Some("CFNetwork".to_owned()),
            false => patterns.product(&agent.text).filter(|product| is_name(product)),
        };
        // What the patterns take every program on an iPhone for.
        let product = product
            .filter(|product| is_browser(&agent.text) || product != "Mobile Safari UI/WKWebView");
        let platform = match system.as_deref() {
            _ if is_robot(&agent.text) => Platform::Server,
            _ if agent.hint == Hint::Present || is_browser(&agent.text) => Platform::Browser,
            Some("iOS" | "watchOS" | "tvOS" | "ATV OS X") => Platform::Ios,
            Some("Android") => Platform::Android,
            Some("Other") | None => Platform::Other,
            Some(_) => Platform::Server,
        };
        Class { platform, product: product.map(Arc::from) }
    }
}

/// Browsers on all systems, and the views of pages in apps, begin alike.
fn is_browser(text: &str) -> bool {
    (text.starts_with("Mozilla/") || text.starts_with("Opera/")) && !text.contains("CFNetwork/")
}

fn is_robot(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["bot/", "bot;", "crawler", "spider", "+http"].iter().any(|word| text.contains(word))
}

/// Whether a text that a stranger may have sent is fit to be a name in a table.
fn is_name(product: &str) -> bool {
    let is_fit = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    (1..=bounds::PRODUCT_BYTES).contains(&product.len()) && product.bytes().all(is_fit)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// Strings as clients send them.
    const REAL: [(&str, Platform, Option<&str>); 46] = [
        // Browsers.
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            Platform::Browser,
            Some("Chrome"),
        ),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            Platform::Browser,
            Some("Safari"),
        ),
        (
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
            Platform::Browser,
            Some("Firefox"),
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            Platform::Browser,
            Some("Mobile Safari"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            Platform::Browser,
            Some("Chrome Mobile"),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.61",
            Platform::Browser,
            Some("Edge"),
        ),
        (
            "Mozilla/5.0 (Linux; Android 13; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/23.0 Chrome/115.0.0.0 Mobile Safari/537.36",
            Platform::Browser,
            Some("Samsung Internet"),
        ),
        // Apps on iPhones and iPads.
        ("Shop/42 CFNetwork/1474 Darwin/23.0.0", Platform::Ios, Some("CFNetwork")),
        (
            "Shop/1.4 (com.example.shop; build:42; iOS 17.1.0) Alamofire/5.8.1",
            Platform::Ios,
            Some("Alamofire"),
        ),
        ("Shop/1.4 (iPhone; iOS 17.1; Scale/3.00)", Platform::Ios, None),
        ("aws-sdk-iOS/2.33.4 iOS/17.1 en_US", Platform::Ios, Some("AWS SDK")),
        // Apps on Android.
        ("okhttp/4.12.0", Platform::Android, Some("okhttp")),
        (
            "Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7 Build/TQ3A.230805.001)",
            Platform::Android,
            Some("Android"),
        ),
        (
            "aws-sdk-android/2.73.0 Linux/5.10.157 Dalvik/2.1.0/0 en_US",
            Platform::Android,
            Some("AWS SDK"),
        ),
        ("ktor-client", Platform::Other, Some("Ktor")),
        ("Dart/3.2 (dart:io)", Platform::Other, Some("Dart")),
        // Programs on servers and desks.
        ("countersign-client/0.1.0", Platform::Server, Some("countersign-client")),
        ("python-requests/2.31.0", Platform::Server, Some("python-requests")),
        ("python-httpx/0.25.2", Platform::Server, Some("python-httpx")),
        ("Python/3.11 aiohttp/3.9.1", Platform::Server, Some("aiohttp")),
        ("Python-urllib/3.11", Platform::Server, Some("Python-urllib")),
        ("Java-http-client/17.0.9", Platform::Server, Some("Java-http-client")),
        ("Java/1.8.0_392", Platform::Server, Some("Java")),
        ("Apache-HttpClient/5.2.1 (Java/17.0.9)", Platform::Server, Some("Apache-HttpClient")),
        ("ReactorNetty/1.1.13", Platform::Server, Some("ReactorNetty")),
        ("node", Platform::Server, Some("Node.js")),
        ("undici", Platform::Server, Some("undici")),
        (
            "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
            Platform::Server,
            Some("node-fetch"),
        ),
        ("axios/1.6.2", Platform::Server, Some("axios")),
        ("got (https://github.com/sindresorhus/got)", Platform::Server, Some("got")),
        ("Go-http-client/2.0", Platform::Server, Some("Go-http-client")),
        ("reqwest/0.11.22", Platform::Server, Some("reqwest")),
        ("curl/8.4.0", Platform::Server, Some("curl")),
        ("Wget/1.21.4", Platform::Server, Some("Wget")),
        ("aws-sdk-rust/1.0.1 os/linux lang/rust/1.74.0", Platform::Server, Some("AWS SDK")),
        (
            "Boto3/1.34.2 md/Botocore#1.34.2 ua/2.0 os/linux#6.1 md/arch#x86_64 lang/python#3.11.6",
            Platform::Server,
            Some("AWS SDK"),
        ),
        ("Stripe/v1 PythonBindings/7.8.0", Platform::Server, Some("Stripe")),
        ("GuzzleHttp/7", Platform::Server, Some("GuzzleHttp")),
        ("Faraday v2.7.12", Platform::Server, Some("Faraday")),
        ("Ruby", Platform::Server, Some("Ruby")),
        ("PostmanRuntime/7.36.0", Platform::Server, Some("PostmanRuntime")),
        ("kube-probe/1.28", Platform::Server, Some("kube-probe")),
        (
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            Platform::Server,
            Some("Googlebot"),
        ),
        // Nothing that is known.
        ("", Platform::Other, None),
        ("x", Platform::Other, None),
        ("\u{fffd}\u{fffd}", Platform::Other, None),
    ];

    /// Compiles the patterns once for all tests.
    static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(Classifier::default);

    fn agent(text: &str) -> Agent {
        Agent { text: text.into(), hint: Hint::Absent }
    }

    #[test]
    fn platform_and_product_of_real_clients_are_found() {
        let mut wrong = Vec::new();
        for (text, platform, product) in REAL {
            let class = CLASSIFIER.classify(&agent(text));
            if (class.platform, class.product.as_deref()) != (platform, product) {
                wrong.push((text, class));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn sdks_are_found_without_the_patterns() {
        let classifier = Classifier::default();
        for text in ["curl/8.4.0", "okhttp/4.12.0", "countersign-client/0.1.0"] {
            classifier.classify(&agent(text));
        }
        assert!(classifier.patterns.get().is_none());
    }

    #[test]
    fn a_client_with_hints_is_a_browser() {
        let hinted = Agent { hint: Hint::Present, ..agent("Shop/1.0") };
        assert_eq!(CLASSIFIER.classify(&hinted).platform, Platform::Browser);
    }

    #[test]
    fn no_text_of_a_stranger_makes_a_long_or_unprintable_name() {
        let long = "a".repeat(bounds::AGENT_BYTES);
        for text in
            [format!("{long}/1.0"), format!("{long} CFNetwork/1 Darwin/23"), "\n/1.0".into()]
        {
            let product = CLASSIFIER.classify(&agent(&text)).product;
            assert!(product.is_none_or(|product| is_name(&product)), "{text}");
        }
    }
}
