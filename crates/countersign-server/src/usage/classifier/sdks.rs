use countersign_store::Platform;

/// SDKs by the words that they put into `User-Agent`. The first row that matches counts.
const SDKS: &[(Word, &str, Platform)] = &[
    (Word::Start("countersign-client/"), "countersign-client", Platform::Server),
    // With apps on phones, the word of the system comes first.
    (Word::Start("aws-sdk-ios/"), "AWS SDK", Platform::Ios),
    (Word::Start("aws-sdk-swift/"), "AWS SDK", Platform::Ios),
    (Word::Start("aws-sdk-android/"), "AWS SDK", Platform::Android),
    (Word::Start("aws-sdk-kotlin/"), "AWS SDK", Platform::Android),
    (Word::Start("aws-sdk-"), "AWS SDK", Platform::Server),
    (Word::Start("aws-cli/"), "AWS SDK", Platform::Server),
    (Word::Start("boto3/"), "AWS SDK", Platform::Server),
    (Word::Start("botocore/"), "AWS SDK", Platform::Server),
    (Word::Start("stripe/"), "Stripe", Platform::Server),
    (Word::Both("alamofire/", "macos"), "Alamofire", Platform::Server),
    (Word::Anywhere("alamofire/"), "Alamofire", Platform::Ios),
    (Word::Start("okhttp/"), "okhttp", Platform::Android),
    // On phones and on servers, and it does not say which.
    (Word::Start("dart/"), "Dart", Platform::Other),
    (Word::Start("ktor"), "Ktor", Platform::Other),
    (Word::Start("python-requests/"), "python-requests", Platform::Server),
    (Word::Start("python-httpx/"), "python-httpx", Platform::Server),
    (Word::Start("python-urllib"), "Python-urllib", Platform::Server),
    (Word::Both("python/", "aiohttp/"), "aiohttp", Platform::Server),
    (Word::Start("java-http-client/"), "Java-http-client", Platform::Server),
    (Word::Start("apache-httpclient/"), "Apache-HttpClient", Platform::Server),
    (Word::Start("reactornetty/"), "ReactorNetty", Platform::Server),
    (Word::Start("jetty/"), "Jetty", Platform::Server),
    (Word::Start("java/"), "Java", Platform::Server),
    (Word::Start("node-fetch"), "node-fetch", Platform::Server),
    (Word::Start("undici"), "undici", Platform::Server),
    (Word::Exactly("node"), "Node.js", Platform::Server),
    (Word::Start("node/"), "Node.js", Platform::Server),
    (Word::Start("node.js/"), "Node.js", Platform::Server),
    (Word::Start("axios/"), "axios", Platform::Server),
    (Word::Start("got ("), "got", Platform::Server),
    (Word::Start("got/"), "got", Platform::Server),
    (Word::Start("bun/"), "Bun", Platform::Server),
    (Word::Start("deno/"), "Deno", Platform::Server),
    (Word::Start("go-http-client/"), "Go-http-client", Platform::Server),
    (Word::Start("go-resty/"), "go-resty", Platform::Server),
    (Word::Start("reqwest/"), "reqwest", Platform::Server),
    (Word::Start("hyper/"), "hyper", Platform::Server),
    (Word::Start("ureq/"), "ureq", Platform::Server),
    (Word::Start("curl/"), "curl", Platform::Server),
    (Word::Start("wget/"), "Wget", Platform::Server),
    (Word::Start("httpie/"), "HTTPie", Platform::Server),
    (Word::Start("guzzlehttp/"), "GuzzleHttp", Platform::Server),
    (Word::Start("symfony httpclient"), "Symfony HttpClient", Platform::Server),
    (Word::Start("faraday v"), "Faraday", Platform::Server),
    (Word::Exactly("ruby"), "Ruby", Platform::Server),
    (Word::Start("restsharp/"), "RestSharp", Platform::Server),
    (Word::Start("postmanruntime/"), "PostmanRuntime", Platform::Server),
    (Word::Start("insomnia/"), "Insomnia", Platform::Server),
    (Word::Start("kube-probe/"), "kube-probe", Platform::Server),
    (Word::Start("prometheus/"), "Prometheus", Platform::Server),
];

/// Where a word stands, in lower case.
enum Word {
    Exactly(&'static str),
    Start(&'static str),
    Anywhere(&'static str),
    /// The first at the start or anywhere, and the second as well.
    Both(&'static str, &'static str),
}

/// Finds the SDK that a text names.
pub(super) fn find_sdk(text: &str) -> Option<(&'static str, Platform)> {
    let text = text.to_ascii_lowercase();
    let found = SDKS.iter().find(|(word, ..)| match word {
        Word::Exactly(word) => text == *word,
        Word::Start(word) => text.starts_with(word),
        Word::Anywhere(word) => text.contains(word),
        Word::Both(one, other) => text.contains(one) && text.contains(other),
    });
    found.map(|(_, product, platform)| (*product, *platform))
}
