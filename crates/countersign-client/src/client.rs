#[cfg(feature = "key-files")]
use std::path::Path;
use std::{sync::Arc, time::Duration};

#[cfg(feature = "key-files")]
use countersign::Passphrase;
use countersign::{
    AcceptSignature, Code, Component, KEY_DIRECTORY_PATH, METHOD_OVERRIDES, Nonce, Origin,
    PrivateKey, PublishableKey, RequestHead, Scheme, ServerKeys, SignedFields, Signer, Target,
    Timestamp, is_loopback,
};
use http::{HeaderMap, Method, StatusCode, Uri, header};
use reqwest::{IntoUrl, Request, Response, Url, redirect};

#[cfg(feature = "key-files")]
use crate::key_file::read_private_key;
use crate::{
    authenticity::Authenticity,
    clock::{Clock, Moment},
    error::Error,
    explanation::SignedBase,
    refusal::peek,
    request_builder::RequestBuilder,
    reread::Reread,
    response_verifier::{self, ResponseVerifier, Sent},
};

const MOST_REDIRECTS: usize = 5;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a directory is read.
const DIRECTORY_BYTES: usize = 64 * 1024;

/// A client that signs every request. It is cheap to clone, and clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    signer: Arc<Signer>,
    clock: Clock,
    headers: HeaderMap,
    responses: Option<ResponseVerifier>,
    response_limit: usize,
    plain_http: PlainHttp,
    redirected_writes: RedirectedWrites,
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
        Self::new(read_private_key(path.as_ref(), None)?)
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
        Self::new(read_private_key(path.as_ref(), Some(passphrase))?)
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
        let client = Self {
            http: reqwest::Client::new(),
            signer: Arc::new(signer),
            clock: Clock::default(),
            headers: HeaderMap::new(),
            responses: None,
            response_limit: response_verifier::MOST,
            plain_http: PlainHttp::Unauthenticated,
            redirected_writes: RedirectedWrites::Returned,
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
        self.responses = Some(ResponseVerifier::new(keys, self.signer.selected_tag()));
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
        self.signer.publishable_key()
    }

    /// A GET request.
    pub fn get(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: impl IntoUrl) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    /// A request of any method.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        RequestBuilder::new(self.clone(), self.http.request(method, url))
    }

    /// Signs a request for another sender. Send it once, and soon.
    ///
    /// Adds the default headers, a nonce and the time at the origin. Change nothing after this call.
    ///
    /// # Errors
    ///
    /// As [`RequestBuilder::sign`].
    pub fn sign(&self, request: Request) -> Result<Request, Error> {
        Ok(self.attempt(request)?.request)
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
        let target = Target::origin_form(&uri);
        let head = RequestHead { method, target, origin: &origin, headers };
        let (fields, _) = self.sign_head(&[], &head, request.body().as_ref())?;
        fields.apply(request.headers_mut());
        Ok(request)
    }

    /// Signs a request, unless it cannot be; then it is lost, and never sent unsigned.
    pub(crate) fn attempt(&self, request: Request) -> Result<Attempt, Error> {
        self.attempt_covering(&[], request)
    }

    /// As [`Client::attempt`], and also covers `more`.
    fn attempt_covering(
        &self,
        more: &[Component<'_>],
        mut request: Request,
    ) -> Result<Attempt, Error> {
        self.add_default_headers(request.headers_mut());
        if request.headers().contains_key(header::HOST) {
            return Err(Error::HostHeader);
        }
        let content = match request.body() {
            Some(body) => body.as_bytes().ok_or(Error::StreamingBody)?,
            None => &[],
        };
        let (origin, uri) = (origin(request.url())?, target(request.url())?);
        let head = RequestHead {
            method: request.method(),
            target: Target::origin_form(&uri),
            origin: &origin,
            headers: request.headers(),
        };
        let (fields, signed) = self.sign_head(more, &head, content)?;
        let base = SignedBase::new(fields.signature.base.clone(), request.headers());
        fields.apply(request.headers_mut());
        Ok(Attempt { request, origin, signed, base })
    }

    fn add_default_headers(&self, headers: &mut HeaderMap) {
        for name in self.headers.keys() {
            if !headers.contains_key(name) {
                for value in self.headers.get_all(name) {
                    headers.append(name, value.clone());
                }
            }
        }
    }

    /// Signs with a new nonce, at the origin's time as far as the client knows it.
    fn sign_head(
        &self,
        more: &[Component<'_>],
        head: &RequestHead<'_>,
        content: &[u8],
    ) -> Result<(SignedFields, Moment), Error> {
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        if let Some(field) = framing.into_iter().find(|name| head.headers.contains_key(name)) {
            return Err(Error::FramingHeader { field });
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(Error::Random)?;
        let (nonce, signed) = (Nonce::from_random(random), self.clock.now(head.origin));
        let fields = self.signer.sign_covering(more, head, content, signed.time, &nonce)?;
        Ok((fields, signed))
    }

    /// Sends a request, every attempt signed anew.
    pub(crate) async fn execute(&self, mut request: Request) -> Result<Response, Error> {
        let again = |request: &Request| request.try_clone().ok_or(Error::StreamingBody);
        let mut attempt = self.attempt(again(&request)?)?;
        let mut redirects = 0;
        let mut corrected = false;
        let mut more = Vec::new();
        loop {
            let Attempt { request: signed_request, origin, signed, base } = attempt;
            let (mut response, responded_at) = self.exchange(signed_request, &origin).await?;
            response.extensions_mut().insert(base);
            if self.authenticity(&response) == Authenticity::Unauthenticated {
                return Ok(response);
            }
            // Content alone makes no refusal to act on: a service behind the server's verifier can have written it.
            let named = Code::of_refusal(response.headers());
            let can_do_more = !corrected || more.is_empty();
            if named.is_some() && can_do_more {
                let refusal;
                (refusal, response) = peek(response).await;
                let other = match refusal.map(|refusal| refusal.code) {
                    // With `Retry-After` the reason is not the clock.
                    Some(Code::SignatureStale)
                        if !corrected && !response.headers().contains_key(header::RETRY_AFTER) =>
                    {
                        corrected =
                            self.clock.follow(&origin, responded_at, response.headers(), signed);
                        corrected
                    }
                    Some(Code::SignaturePolicy | Code::SignatureRequired) if more.is_empty() => {
                        more = self.asked_beyond(response.headers());
                        !more.is_empty()
                    }
                    _ => false,
                };
                if other {
                    attempt = match self.attempt_covering(&more, again(&request)?) {
                        Ok(attempt) => attempt,
                        // The request lacks a component that the server asks for: return the refusal.
                        Err(Error::Sign(_)) => return Ok(response),
                        Err(error) => return Err(error),
                    };
                    continue;
                }
            }
            // A service can let its refusals redirect people, as to a page where they log in.
            if named.is_some() || redirects >= MOST_REDIRECTS {
                return Ok(response);
            }
            let Some(url) = self.next_url(&request, &response) else { return Ok(response) };
            let mut next = again(&request)?;
            *next.url_mut() = url;
            attempt = match self.attempt_covering(&more, again(&next)?) {
                Ok(attempt) => attempt,
                // No signed request can go to the redirect's URL: return the redirect.
                Err(Error::Sign(_) | Error::Url(_) | Error::Target(_)) => return Ok(response),
                Err(error) => return Err(error),
            };
            request = next;
            redirects = redirects.saturating_add(1);
        }
    }

    /// Whether a response is the server's own.
    fn authenticity(&self, response: &Response) -> Authenticity {
        match self.responses.is_some() || self.plain_http == PlainHttp::Trusted {
            // Where responses are verified, no other gets here.
            true => Authenticity::Authenticated,
            false => Authenticity::of_connection(response.url(), response.remote_addr()),
        }
    }

    /// The URL of a redirect that the client may follow: to the same origin, with the same method and content.
    fn next_url(&self, request: &Request, response: &Response) -> Option<Url> {
        let read = !self.is_write(request);
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
    fn is_write(&self, request: &Request) -> bool {
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        let has = |name| request.headers().contains_key(name) || self.headers.contains_key(name);
        let bytes = request.body().map(|body| body.as_bytes().map_or(usize::MAX, <[u8]>::len));
        !read || bytes.is_some_and(|length| length > 0) || METHOD_OVERRIDES.iter().any(has)
    }

    /// Sends one attempt. If the client verifies responses, returns the verified response and when it was signed.
    async fn exchange(
        &self,
        attempt: Request,
        origin: &Origin,
    ) -> Result<(Response, Option<Timestamp>), Error> {
        let Some(verifier) = &self.responses else {
            return Ok((self.send(attempt).await?, None));
        };
        let sent = Sent::new(&attempt, target(attempt.url())?, origin.clone());
        let response = self.send(attempt).await?;
        let now = self.clock.now(origin).time;
        let verified = verifier.verify(&sent, response, self.response_limit, now).await;
        verified.map(|(response, created)| (response, Some(created)))
    }

    /// Sends one attempt to the origin that it was signed for, and to no other.
    async fn send(&self, attempt: Request) -> Result<Response, Error> {
        let without_fragment = |url: &Url| {
            let mut url = url.clone();
            url.set_fragment(None);
            url
        };
        let sent = without_fragment(attempt.url());
        let response = self.http.execute(attempt).await?;
        match without_fragment(response.url()) == sent {
            true => Ok(response),
            false => Err(Error::FollowedRedirect),
        }
    }

    /// The components that the server asks for under our tag and for our key, beyond those covered anyway.
    fn asked_beyond(&self, headers: &HeaderMap) -> Vec<Component<'static>> {
        let asked = AcceptSignature::all(headers).unwrap_or_default();
        let mut ours = asked.iter().filter_map(|asked| self.signer.asked_beyond(asked).ok());
        ours.next().unwrap_or_default()
    }
}

/// A signed request, with its origin and the time of signing.
pub(crate) struct Attempt {
    pub(crate) request: Request,
    origin: Origin,
    signed: Moment,
    base: SignedBase,
}

/// The default timeouts.
pub(crate) fn with_timeouts() -> reqwest::ClientBuilder {
    reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT)
}

/// The origin as the `Host` field will name it.
fn origin(url: &Url) -> Result<Origin, Error> {
    let scheme: Scheme = url.scheme().parse()?;
    let host = url.host_str().unwrap_or_default();
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    Ok(Origin::new(scheme, &authority)?)
}

/// The path and query as the request line will have them.
fn target(url: &Url) -> Result<Uri, Error> {
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(target.parse()?)
}
