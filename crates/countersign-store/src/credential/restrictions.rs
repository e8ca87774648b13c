pub(crate) mod allowed;
mod android_app;
mod bundle_id;
pub(crate) mod half;
mod ip_range;
pub(crate) mod kind;
mod product;
mod referrer;
mod web_origin;

use std::net::IpAddr;

use http::HeaderMap;

use self::{
    allowed::{Allowed, BadRestriction},
    half::Half,
    kind::RestrictionKind,
};
use crate::enforcement::Enforcement;

/// Restrictions on where a credential may be used: at most one [`Restriction`] of each kind, and all of them have to hold. The
/// default is empty: the credential may be used everywhere.
///
/// Restrictions are for publishable keys, which every user of an app or a page can read: they limit the use of a copied key
/// elsewhere. Only [`RestrictionKind::Ip`] stops a determined attacker: any program can send the header fields that the other
/// kinds look at. So a restriction never takes the place of a signature.
///
/// Give an app for Android and iOS two credentials, since no request comes from both.
///
/// ```
/// use countersign_store::{Restriction, RestrictionKind, Restrictions};
///
/// let offices = Restriction::new(RestrictionKind::Ip, ["192.0.2.0/24", "2001:db8::/48"])?;
/// let site = Restriction::new(RestrictionKind::Origin, ["https://shop.example"])?;
/// let restrictions = Restrictions::default().with(offices).with(site.insecure_report_only());
/// assert_eq!(restrictions.iter().count(), 2);
/// # Ok::<(), countersign_store::BadRestriction>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions(
    /// By kind, each at most once.
    Vec<Restriction>,
);

impl Restrictions {
    /// Adds a restriction, and replaces the restriction of the same kind.
    pub fn with(mut self, restriction: Restriction) -> Self {
        self.insert(restriction);
        self
    }

    /// Adds a restriction, and replaces the restriction of the same kind.
    pub fn insert(&mut self, restriction: Restriction) {
        self.remove(restriction.kind());
        self.0.push(restriction);
        self.0.sort_by_key(Restriction::kind);
    }

    /// Removes and returns the restriction of this kind.
    pub fn remove(&mut self, kind: RestrictionKind) -> Option<Restriction> {
        let at = self.0.iter().position(|restriction| restriction.kind() == kind)?;
        Some(self.0.remove(at))
    }

    /// The restriction of this kind.
    pub fn get(&self, kind: RestrictionKind) -> Option<&Restriction> {
        self.0.iter().find(|restriction| restriction.kind() == kind)
    }

    /// All of them, by kind.
    pub fn iter(&self) -> impl Iterator<Item = &Restriction> {
        self.0.iter()
    }

    /// Whether the credential may be used everywhere.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks whether a request may use this half of the credential, by its address, if that is known, and its header fields.
    ///
    /// Address ranges bind both halves. All other kinds bind the publishable half alone: a program that signs has no reason
    /// to say where it runs, and a thief of a private key can send any field.
    ///
    /// A restriction that is only reported refuses nothing. A request that it would have refused increments the metric
    /// `countersign_restriction_reported_total`, whose label is `kind`.
    ///
    /// # Errors
    ///
    /// The first enforced kind that does not hold. A field that is absent, malformed or repeated meets no restriction, nor does an
    /// unknown address.
    pub fn check(
        &self,
        half: Half,
        from: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Result<(), RestrictionKind> {
        let mut outcome = Ok(());
        for Restriction { allowed, enforcement } in &self.0 {
            let kind = allowed.kind();
            if !kind.binds(half) || allowed.holds(from, headers) {
                continue;
            }
            match enforcement {
                Enforcement::Enforce => outcome = outcome.and(Err(kind)),
                Enforcement::Report => {
                    tracing::debug!(%kind, "a restriction that is only reported does not hold");
                    let label = ("kind", kind.as_str());
                    metrics::counter!("countersign_restriction_reported_total", &[label])
                        .increment(1);
                }
            }
        }
        outcome
    }
}

/// A list of allowed values for one property of a request, such as its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    allowed: Allowed,
    enforcement: Enforcement,
}

impl Restriction {
    /// Allows these entries, and refuses every other value. [`RestrictionKind`] has the form of an entry of each kind.
    ///
    /// # Errors
    ///
    /// [`BadRestriction`].
    pub fn new(
        kind: RestrictionKind,
        entries: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, BadRestriction> {
        let allowed = Allowed::parse(kind, entries)?;
        Ok(Self { allowed, enforcement: Enforcement::Enforce })
    }

    /// Refuses nothing, and counts requests as [`Restrictions::check`] says. Use it to see what a restriction would do.
    pub const fn insecure_report_only(mut self) -> Self {
        self.enforcement = Enforcement::Report;
        self
    }

    /// Enforces the restriction, at the end of a trial with [`Restriction::insecure_report_only`].
    pub const fn enforced(mut self) -> Self {
        self.enforcement = Enforcement::Enforce;
        self
    }

    /// The property that it looks at.
    pub const fn kind(&self) -> RestrictionKind {
        self.allowed.kind()
    }

    /// Whether it refuses requests, or only counts them.
    pub const fn enforcement(&self) -> Enforcement {
        self.enforcement
    }

    /// The allowed entries, in the form that [`Restriction::new`] reads.
    pub fn entries(&self) -> Vec<String> {
        self.allowed.entries()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    const SHA1: &str = "0123456789abcdef0123456789abcdef01234567";

    /// One of each kind, in another order than theirs.
    fn all() -> Restrictions {
        let android = format!("com.example.shop={SHA1}");
        let entries = [
            (RestrictionKind::Sdk, "shop-sdk"),
            (RestrictionKind::Ios, "com.example.Shop"),
            (RestrictionKind::Android, &android),
            (RestrictionKind::Referrer, "https://shop.example/app"),
            (RestrictionKind::Origin, "https://shop.example"),
            (RestrictionKind::Ip, "192.0.2.0/24"),
        ];
        let restriction = |(kind, entry)| Restriction::new(kind, [entry]).unwrap();
        entries.into_iter().map(restriction).fold(Restrictions::default(), Restrictions::with)
    }

    /// What meets all of them.
    fn headers() -> HeaderMap {
        [
            ("origin", "https://shop.example"),
            ("referer", "https://shop.example/app/cart?x=1"),
            ("x-android-package", "com.example.shop"),
            ("x-android-cert", SHA1),
            ("x-ios-bundle-identifier", "com.example.Shop"),
            ("user-agent", "shop-sdk/1.2 (linux)"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn all_kinds_have_to_hold_and_the_first_that_does_not_is_named() {
        use RestrictionKind::{Android, Ios, Ip, Origin, Referrer, Sdk};
        let (all, inside) = (all(), address("192.0.2.7"));
        let kinds: Vec<_> = all.iter().map(Restriction::kind).collect();
        assert_eq!(kinds, [Ip, Origin, Referrer, Android, Ios, Sdk]);
        assert_eq!(all.check(Half::Publishable, inside, &headers()), Ok(()));
        assert_eq!(all.check(Half::Publishable, inside, &HeaderMap::new()), Err(Origin));
        assert_eq!(all.check(Half::Publishable, address("192.0.3.7"), &headers()), Err(Ip));
        assert_eq!(all.check(Half::Publishable, None, &headers()), Err(Ip));
        for (field, kind) in [
            ("origin", Origin),
            ("referer", Referrer),
            ("x-android-package", Android),
            ("x-android-cert", Android),
            ("x-ios-bundle-identifier", Ios),
            ("user-agent", Sdk),
        ] {
            let check = |headers| all.check(Half::Publishable, inside, &headers);
            let changed = |change: &dyn Fn(&mut HeaderMap)| {
                let mut headers = headers();
                change(&mut headers);
                headers
            };
            let absent = changed(&|headers| drop(headers.remove(field)));
            assert_eq!(check(absent), Err(kind), "{field} is absent");
            let twice = changed(&|headers| {
                let value = headers[field].clone();
                headers.append(field, value);
            });
            assert_eq!(check(twice), Err(kind), "{field} is there twice");
            for other in ["", "other", "\u{e4}"] {
                let value = HeaderValue::from_bytes(other.as_bytes()).unwrap();
                let other_value = changed(&|headers| drop(headers.insert(field, value.clone())));
                assert_eq!(check(other_value), Err(kind), "{field}: {other}");
            }
        }
    }

    #[test]
    fn only_addresses_bind_the_private_half() {
        let (all, nothing) = (all(), HeaderMap::new());
        assert_eq!(all.check(Half::Private, address("192.0.2.7"), &nothing), Ok(()));
        for outside in [address("192.0.3.7"), None] {
            let refused = all.check(Half::Private, outside, &headers());
            assert_eq!(refused, Err(RestrictionKind::Ip), "{outside:?}");
        }
    }

    #[test]
    fn any_entry_of_a_kind_suffices() {
        let entries = ["https://one.example", "https://two.example"];
        let restriction = Restriction::new(RestrictionKind::Origin, entries).unwrap();
        let restrictions = Restrictions::default().with(restriction);
        for (origin, expected) in [
            ("https://one.example", Ok(())),
            ("https://two.example", Ok(())),
            ("https://three.example", Err(RestrictionKind::Origin)),
        ] {
            let headers =
                HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(restrictions.check(Half::Publishable, None, &headers), expected, "{origin}");
        }
    }

    #[test]
    fn what_is_only_reported_passes_and_is_counted() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        metrics::with_local_recorder(&recorder, || {
            let restriction = |kind, entry| Restriction::new(kind, [entry]).unwrap();
            let origin = restriction(RestrictionKind::Origin, "https://shop.example");
            let restrictions = Restrictions::default()
                .with(restriction(RestrictionKind::Sdk, "shop-sdk"))
                .with(origin.clone().insecure_report_only());
            let mut headers = headers();
            assert_eq!(restrictions.check(Half::Publishable, None, &headers), Ok(()));
            headers.remove("origin");
            // Not asked for, and so not counted.
            assert_eq!(restrictions.check(Half::Private, None, &headers), Ok(()));
            assert_eq!(restrictions.check(Half::Publishable, None, &headers), Ok(()));
            headers.remove("user-agent");
            let refused = restrictions.check(Half::Publishable, None, &headers);
            assert_eq!(refused, Err(RestrictionKind::Sdk));
            let enforced = restrictions.with(origin.insecure_report_only().enforced());
            let refused = enforced.check(Half::Publishable, None, &headers);
            assert_eq!(refused, Err(RestrictionKind::Origin));
        });
        let counted: Vec<_> = snapshotter
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, _, _, value)| (key.key().to_string(), value))
            .collect();
        let name = "Key(countersign_restriction_reported_total, [kind = origin])".to_owned();
        assert_eq!(counted, [(name, DebugValue::Counter(2))]);
    }

    #[test]
    fn there_is_one_restriction_of_a_kind() {
        let ip = |entry| Restriction::new(RestrictionKind::Ip, [entry]).unwrap();
        let mut restrictions = all().with(ip("198.51.100.0/24"));
        assert_eq!(restrictions.iter().count(), 6);
        assert_eq!(restrictions.get(RestrictionKind::Ip), Some(&ip("198.51.100.0/24")));
        assert_eq!(restrictions.remove(RestrictionKind::Ip), Some(ip("198.51.100.0/24")));
        assert_eq!(restrictions.remove(RestrictionKind::Ip), None);
        assert_eq!(restrictions.iter().count(), 5);
    }
}
