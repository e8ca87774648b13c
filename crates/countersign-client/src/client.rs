#[cfg(feature = "key-files")]
use std::path::Path;
use std::{sync::Arc, time::Duration};

#[cfg(feature = "key-files")]
use countersign::Passphrase;
use countersign::{
    Code, Component, KEY_DIRECTORY_PATH, METHOD_OVERRIDES, Nonce, Origin, PrivateKey,
    PublishableKey, RemoteSigner, RequestHead, ServerKeys, Signer, Target, Timestamp, is_loopback,
};
use http::{HeaderMap, Method, StatusCode, header};
use reqwest::{IntoUrl, Request, Response, Url, redirect};

#[cfg(feature = "key-files")]
use crate::key_source::KeySource;
use crate::{
    attempts::{self, Answer, Attempts, Next, Repeat},
    authenticity::Authenticity,
    clock::{Clock, Moment},
    clock_drift::SignedAt,
    error::Error,
    explanation::SignedBase,
    key_in_use::KeyInUse,
    methods::methods,
    outgoing::Outgoing,
    refusal::peek,
    remote_key::RemoteKey,
    request_builder::RequestBuilder,
    reread::Reread,
    response_verifier::{self, ResponseVerifier, Sent},
    signing::{SignedContent, Signing, Use},
    transport::{Transport, send},
    unsigned::{Unsigned, refuse_framing, target},
};

const MOST_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a directory is read.
const DIRECTORY_BYTES: usize = 64 * 1024;

/// A client that signs every request. It is cheap to clone, and clones share their connections.
///
/// ```
/// use std::time::Duration;
///
/// use countersign::PrivateKey;
/// use countersign_client::Client;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::new(PrivateKey::ed25519(&[7; 32]))? // or `Client::from_key_file("shop.key")`
///     .wait_up_to(Duration::from_secs(10))
///     .response_limit(1 << 20);
/// println!("signs as {}", client.publishable_key());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    signing: Arc<Signing>,
    changing: Option<Arc<dyn KeyInUse>>,
    pub(crate) clock: Clock,
    headers: HeaderMap,
    responses: Option<ResponseVerifier>,
    response_limit: usize,
    plain_http: PlainHttp,
    redirected_writes: RedirectedWrites,
    pub(crate) wait: Duration,
}

/// Whether responses over plain HTTP count as the server's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PlainHttp {
    Unauthenticated,
    Trusted,
}

/// How the client treats a redirect of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RedirectedWrites {
    Returned,
    Followed,
}

impl Client {
    /// A client that signs with the private key in this file: PKCS#8 PEM, JWK, OpenSSH, or `sk_…`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`], [`Error::KeyFileMode`] if it is open to others, [`Error::Key`].
    #[cfg(feature = "key-files")]
    pub fn from_key_file(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(KeySource::from(&path).read(None)?)
    }

    /// As [`Client::from_key_file`], for an encrypted file.
    ///
    /// # Errors
    ///
    /// As [`Client::from_key_file`].
    #[cfg(feature = "key-files")]
    pub fn from_encrypted_key_file(
        path: impl AsRef<Path>,
        passphrase: &Passphrase,
    ) -> Result<Self, Error> {
        Self::new(KeySource::from(&path).read(Some(passphrase))?)
    }

    /// A client that signs with the private key of this source. [`KeySource::read`] also takes a passphrase.
    ///
    /// # Errors
    ///
    /// As [`KeySource::read`].
    #[cfg(feature = "key-files")]
    pub fn from_key_source(source: &KeySource) -> Result<Self, Error> {
        Self::new(source.read(None)?)
    }

    /// A client that signs with this key.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if TLS cannot be set up.
    pub fn new(key: PrivateKey) -> Result<Self, Error> {
        Self::from_signer(Signer::new(key))
    }

    /// A client with a signer of your own: another tag, more fields to cover.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if TLS cannot be set up.
    pub fn from_signer(signer: Signer) -> Result<Self, Error> {
        Self::from_signing(Signing::Here(signer))
    }

    /// A client whose key another process or machine holds.
    ///
    /// # Errors
    ///
    /// [`Error::BadRemoteKey`] if servers refuse its public key; [`Error::Http`].
    pub fn from_remote_key(key: impl RemoteKey) -> Result<Self, Error> {
        let signer = RemoteSigner::new(key.publishable_key()).map_err(Error::BadRemoteKey)?;
        Self::from_remote_signer(signer, key)
    }

    /// As [`Client::from_remote_key`], with a signer of your own for this key: another tag, more fields to cover.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] if TLS cannot be set up.
    pub fn from_remote_signer(signer: RemoteSigner, key: impl RemoteKey) -> Result<Self, Error> {
        Self::from_signing(Signing::Elsewhere { signer, key: Box::new(key) })
    }

    fn from_signing(signing: Signing) -> Result<Self, Error> {
        let client = Self {
            http: reqwest::Client::new(),
            signing: Arc::new(signing),
            changing: None,
            clock: Clock::default(),
            headers: HeaderMap::new(),
            responses: None,
            response_limit: response_verifier::MOST,
            plain_http: PlainHttp::Unauthenticated,
            redirected_writes: RedirectedWrites::Returned,
            wait: attempts::WAIT,
        };
        client.http(with_timeouts())
    }

    /// Sends with a client of other timeouts, proxies or certificates. The redirect policy of the builder is replaced.
    /// The builder must have no default headers and no cookie store: reqwest adds those fields after signing. For signed
    /// default headers use [`Client::default_headers`]. Responses over `https` count as the server's own, so do not
    /// accept invalid certificates.
    ///
    /// # Errors
    ///
    /// [`Error::Http`].
    pub fn http(mut self, builder: reqwest::ClientBuilder) -> Result<Self, Error> {
        self.http = builder.redirect(redirect::Policy::none()).build()?;
        Ok(self)
    }

    /// Sends with a client of the application. Following the clock, redirects and [`Client::verify_responses`] work as
    /// with a client built here.
    ///
    /// Build the client with `redirect(Policy::none())`: a redirect that the client follows by itself carries the
    /// signature to the other URL, where it is invalid, and ends in [`Error::FollowedRedirect`]. The client must have no
    /// default headers and no cookie store, since reqwest adds their fields after signing. It keeps its own timeouts.
    /// [`Client::http`] takes a builder and switches redirects off itself.
    pub fn http_client(mut self, client: reqwest::Client) -> Self {
        self.http = client;
        self
    }

    /// Also follows a redirect of a write: 307 and 308, to the same origin, with the same method and content. Default: the
    /// redirect is the caller's to see.
    ///
    /// A write is a request of any method but GET and HEAD, with content, or with a field that overrides the method. With
    /// this setting, anyone who controls a `Location` of the server can have the client sign the write for any path of
    /// the origin.
    pub const fn insecure_follow_redirected_writes(mut self) -> Self {
        self.redirected_writes = RedirectedWrites::Followed;
        self
    }

    /// Trusts responses over plain HTTP as the server's own, like those over TLS. Use it on a network where only your own
    /// processes can write, such as between sidecar proxies that speak TLS.
    ///
    /// By default the client returns a plain HTTP response as it is and signs nothing more because of it, unless the
    /// response came from this machine or [`Client::verify_responses`] found it genuine: the client follows no redirect,
    /// no clock and no `Accept-Signature`. With this setting, anyone who can write into the connection can have the
    /// client sign a request twice, sign reads of other paths of the origin, and sign up to 15 minutes ahead of time, for
    /// later use.
    pub const fn insecure_trust_plain_http(mut self) -> Self {
        self.plain_http = PlainHttp::Trusted;
        self
    }

    /// Default headers, for requests without their own. Signatures cover them like other headers.
    pub fn default_headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// How long one request may wait in total for a server that asks it to wait. Default: 30 s. With zero, refusals are
    /// returned at once.
    ///
    /// The client waits for the time of `Retry-After` and a little longer, and signs anew, if the server itself refused the
    /// request before its handler: over a limit, after a restart, or without its stores. It returns a refusal at once whose
    /// `Retry-After` is later than the time that is left, and every refusal of a write over plain HTTP by another machine, unless
    /// [`Client::insecure_trust_plain_http`] is set: somebody on the way could have delivered the write before.
    pub const fn wait_up_to(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Where the time comes from. Default: the system's clock.
    pub fn clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Clock::new(clock);
        self
    }

    /// Verifies every response before you see it: that a server with one of these keys made the whole of it, for this
    /// attempt. Any other response, also an unsigned one, is [`Error::Response`].
    ///
    /// Send requests with this client only to servers that have these keys. Uncovered fields of a response (see
    /// [`ResponsePolicy`](countersign::ResponsePolicy)) are not verified. Switch off reqwest's decompression features:
    /// they change the signed content. A request of [`RequestBuilder::sign`] is sent by other means, so its response is
    /// not verified here.
    pub fn verify_responses(mut self, keys: ServerKeys) -> Self {
        self.responses = Some(ResponseVerifier::new(keys, self.signing.tag()));
        self
    }

    /// The largest content of a response that the client verifies, in bytes; it is held in memory. Default: 16 MiB.
    pub const fn response_limit(mut self, bytes: usize) -> Self {
        self.response_limit = bytes;
        self
    }

    /// Reads the key directory of the server at this URL, for [`Client::verify_responses`].
    ///
    /// A client that verifies responses accepts the directory only if it is signed with a known key. This is how you move
    /// on to the server's next key. For another client, TLS alone proves whose keys these are.
    ///
    /// # Errors
    ///
    /// [`Error::Directory`]; [`Error::PlainDirectory`] unless the URL is `https` or of this machine, or the client
    /// verifies responses; as [`RequestBuilder::send`].
    pub async fn server_keys(&self, url: impl IntoUrl) -> Result<ServerKeys, Error> {
        let mut url = url.into_url()?;
        let exposed = url.scheme() != "https" && !is_loopback(url.host_str().unwrap_or_default());
        if self.responses.is_none() && exposed {
            return Err(Error::PlainDirectory);
        }
        url.set_path(KEY_DIRECTORY_PATH);
        url.set_query(None);
        url.set_fragment(None);
        let response = self.get(url).send().await?;
        // A proxy of the environment also serves URLs of this machine.
        if self.authenticity(&response) == Authenticity::Unauthenticated {
            return Err(Error::PlainDirectory);
        }
        let response = response.error_for_status()?;
        let (_, body) = http::Response::from(response).into_parts();
        let json = Reread::begin(body, DIRECTORY_BYTES).await.content().unwrap_or_default();
        Ok(ServerKeys::from_jwks(&json)?)
    }

    /// The publishable half of the signing key.
    pub fn publishable_key(&self) -> PublishableKey {
        self.signing().publishable_key()
    }

    /// Signs with this key, which changes in time.
    #[cfg(feature = "key-files")]
    pub(crate) fn with_key_in_use(mut self, key: Arc<dyn KeyInUse>) -> Self {
        self.changing = Some(key);
        self
    }

    /// What signs now.
    pub(crate) fn signing(&self) -> Arc<Signing> {
        self.changing.as_ref().map_or_else(|| Arc::clone(&self.signing), |key| key.signing())
    }

    /// Has a key that changes in time looked after, beside the request that is to be sent.
    pub(crate) fn look_after_key(&self) {
        if let Some(key) = &self.changing {
            Arc::clone(key).look_after();
        }
    }

    /// Whether to sign a request anew since the server refused it for its key, which has ended, and there is another key by
    /// now.
    pub(crate) async fn has_another_key(
        &self,
        than: &PublishableKey,
        headers: &HeaderMap,
        repeat: Repeat,
    ) -> bool {
        let Some(key) = &self.changing else { return false };
        let has_ended =
            matches!(Code::of_refusal(headers), Some(Ok(Code::KeyRevoked | Code::KeyExpired)));
        // Later requests are signed with the other key in any case.
        has_ended && key.renew(than).await && repeat == Repeat::Harmless
    }

    methods!(RequestBuilder);

    /// A request of any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), self.http.request(method, url), self.wait)
    }

    /// Signs a request for another sender. Send it once, and soon.
    ///
    /// Adds the default headers, a nonce and the time at the origin. Change nothing after this call.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::sign`].
    pub fn sign(&self, request: Request) -> Result<Request, Error> {
        self.attempt(request)
    }

    /// As [`Client::sign`], for the request of any other HTTP library. Its URI is absolute, as in
    /// `https://api.example.com/v1/orders`; a `Host` field has to name the same host.
    ///
    /// ```
    /// # use countersign_client::{Client, http};
    /// # fn run(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = http::Request::post("https://api.example.com/v1/orders").body("{}")?;
    /// let request = client.sign_http(request)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::sign`].
    pub fn sign_http<B: AsRef<[u8]>>(
        &self,
        mut request: http::Request<B>,
    ) -> Result<http::Request<B>, Error> {
        let uri = request.uri().clone();
        let origin = Origin::of_uri(&uri)?;
        if !origin.agrees_with_host(request.headers()) {
            return Err(Error::HostHeader);
        }
        self.add_default_headers(request.headers_mut());
        let (method, headers) = (request.method(), request.headers());
        refuse_framing(headers)?;
        let target = Target::origin_form(&uri);
        let head = RequestHead { method, target, origin: &origin, headers };
        let content = SignedContent::Bytes(request.body().as_ref());
        let fields = self.signing().sign(&[], &head, content, &self.new_use(&origin)?)?;
        fields.apply(request.headers_mut());
        Ok(request)
    }

    /// Signs a request, unless it cannot be; then it is lost, and never sent unsigned.
    pub(crate) fn attempt(&self, request: Request) -> Result<Request, Error> {
        let mut unsigned = Unsigned::new(self.with_default_headers(request))?;
        let signed = self.new_use(&unsigned.origin)?;
        let (head, content) = unsigned.parts()?;
        let fields = self.signing().sign(&[], &head, content.as_signed(), &signed)?;
        fields.apply(unsigned.request.headers_mut());
        Ok(unsigned.request)
    }

    /// As [`Client::attempt`], with a key anywhere, and also covers `more`.
    async fn attempt_covering(
        &self,
        more: &[Component<'_>],
        request: Request,
    ) -> Result<Attempt, Error> {
        let unsigned = Unsigned::new(self.with_default_headers(request))?;
        let signed = self.new_use(&unsigned.origin)?;
        let (head, content) = unsigned.parts()?;
        let signing = self.signing();
        let fields = signing.sign_anywhere(more, &head, content.as_signed(), &signed).await?;
        let Unsigned { mut request, origin, .. } = unsigned;
        let base = SignedBase::new(fields.signature.base.clone(), request.headers());
        fields.apply(request.headers_mut());
        Ok(Attempt { request, origin, signed: signed.moment, base })
    }

    fn with_default_headers(&self, mut request: Request) -> Request {
        self.add_default_headers(request.headers_mut());
        request
    }

    pub(crate) fn add_default_headers(&self, headers: &mut HeaderMap) {
        for name in self.headers.keys() {
            if !headers.contains_key(name) {
                for value in self.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
    }

    /// A new nonce, and the origin's time as far as the client knows it.
    pub(crate) fn new_use(&self, origin: &Origin) -> Result<Use, Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(Error::Random)?;
        Ok(Use { moment: self.clock.now(origin), nonce: Nonce::from_random(random) })
    }

    /// Sends a request by the client's own means, every attempt signed anew.
    pub(crate) async fn execute(
        &self,
        outgoing: Outgoing,
        wait: Duration,
    ) -> Result<Response, Error> {
        self.execute_by(&mut self.http.clone(), outgoing, wait).await
    }

    /// Sends a request, every attempt signed anew.
    pub(crate) async fn execute_by(
        &self,
        transport: &mut impl Transport,
        mut outgoing: Outgoing,
        wait: Duration,
    ) -> Result<Response, Error> {
        self.look_after_key();
        let Some(request) = outgoing.next().await? else { return Err(Error::StreamingBody) };
        let mut key = self.publishable_key();
        let mut attempt = self.attempt_covering(&[], request).await?;
        let mut attempts = Attempts::new(wait);
        let mut redirects = 0;
        loop {
            let Attempt { request: signed_request, origin, signed, base } = attempt;
            let (mut response, responded_at) =
                self.exchange(transport, signed_request, &origin).await?;
            response.extensions_mut().insert(base);
            response.extensions_mut().insert(SignedAt(signed.by_local_clock()));
            if self.authenticity(&response) == Authenticity::Unauthenticated {
                return Ok(response);
            }
            let repeat = self.repeat(&outgoing, &response);
            let headers = response.headers();
            let answer = Answer { headers, responded_at, signed, origin: &origin, repeat };
            let mut next = attempts.after(answer, &self.clock, &self.signing());
            if next == Next::Return && self.has_another_key(&key, headers, repeat).await {
                next = Next::SignAgain { pause: Duration::ZERO };
            }
            if let Next::SignAgain { pause } = next {
                let Some(request) = outgoing.next().await? else { return Ok(response) };
                // The connection can be used again when its response is read.
                (_, response) = peek(response).await;
                if !attempts::wait(pause).await {
                    return Ok(response);
                }
                key = self.publishable_key();
                attempt = match self.attempt_covering(attempts.more(), request).await {
                    Ok(attempt) => attempt,
                    // The request lacks a component that the server asks for: return the refusal.
                    Err(Error::Sign(_)) => return Ok(response),
                    Err(error) => return Err(error),
                };
                continue;
            }
            // A service can let its refusals redirect people, as to a page where they log in.
            let refused = Code::of_refusal(response.headers()).is_some();
            if refused || redirects >= MOST_REDIRECTS {
                return Ok(response);
            }
            let Some(url) = self.next_url(&outgoing, &response) else { return Ok(response) };
            let Some(mut request) = outgoing.next().await? else { return Ok(response) };
            *request.url_mut() = url.clone();
            attempt = match self.attempt_covering(attempts.more(), request).await {
                Ok(attempt) => attempt,
                // No signed request can go to the redirect's URL: return the redirect.
                Err(Error::Sign(_) | Error::Url(_) | Error::Target(_)) => return Ok(response),
                Err(error) => return Err(error),
            };
            outgoing.set_url(url);
            redirects = redirects.saturating_add(1);
        }
    }

    /// Whether the client verifies responses.
    #[cfg(feature = "tower")]
    pub(crate) const fn verifies_responses(&self) -> bool {
        self.responses.is_some()
    }

    /// Whether responses over plain HTTP count as the server's own.
    #[cfg(feature = "tower")]
    pub(crate) fn trusts_plain_http(&self) -> bool {
        self.plain_http == PlainHttp::Trusted
    }

    /// What sending a request again can do, whose last response is this.
    fn repeat(&self, outgoing: &Outgoing, response: &Response) -> Repeat {
        let connection = Authenticity::of_connection(response.url(), response.remote_addr());
        let is_direct =
            self.plain_http == PlainHttp::Trusted || connection == Authenticity::Authenticated;
        match is_direct || !self.is_write(outgoing) {
            true => Repeat::Harmless,
            false => Repeat::PerhapsExecutedTwice,
        }
    }

    /// Whether a response is the server's own.
    pub(crate) fn authenticity(&self, response: &Response) -> Authenticity {
        match self.responses.is_some() || self.plain_http == PlainHttp::Trusted {
            // Where responses are verified, no other gets here.
            true => Authenticity::Authenticated,
            false => Authenticity::of_connection(response.url(), response.remote_addr()),
        }
    }

    /// The URL of a redirect that the client may follow: to the same origin, with the same method and content.
    fn next_url(&self, outgoing: &Outgoing, response: &Response) -> Option<Url> {
        let (request, read) = (outgoing.request(), !self.is_write(outgoing));
        match response.status() {
            StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT
                if read || self.redirected_writes == RedirectedWrites::Followed => {}
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER if read => {}
            _ => return None,
        }
        let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
        let url = request.url().join(location).ok()?;
        let anonymous = url.username().is_empty() && url.password().is_none();
        (anonymous && url.origin() == request.url().origin()).then_some(url)
    }

    /// Whether a request may change something. Counts a request with a field that overrides the method.
    fn is_write(&self, outgoing: &Outgoing) -> bool {
        let request = outgoing.request();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        let has = |name| request.headers().contains_key(name) || self.headers.contains_key(name);
        !read || outgoing.has_content() || METHOD_OVERRIDES.iter().any(has)
    }

    /// Sends one attempt. If the client verifies responses, returns the verified response and when it was signed.
    async fn exchange(
        &self,
        transport: &mut impl Transport,
        attempt: Request,
        origin: &Origin,
    ) -> Result<(Response, Option<Timestamp>), Error> {
        let Some(verifier) = &self.responses else {
            return Ok((send(transport, attempt).await?, None));
        };
        let sent = Sent::new(&attempt, target(attempt.url())?, origin.clone());
        let response = send(transport, attempt).await?;
        let now = self.clock.now(origin).time;
        let verified = verifier.verify(&sent, response, self.response_limit, now).await;
        verified.map(|(response, created)| (response, Some(created)))
    }
}

/// A signed request, with its origin and the time of signing.
struct Attempt {
    request: Request,
    origin: Origin,
    signed: Moment,
    base: SignedBase,
}

/// The default timeouts.
pub(crate) fn with_timeouts() -> reqwest::ClientBuilder {
    reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT)
}
