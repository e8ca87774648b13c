use std::net::IpAddr;

use http::{
    HeaderMap,
    header::{ORIGIN, REFERER, USER_AGENT},
};

use super::{
    android_app::AndroidApp,
    bundle_id::BundleId,
    ip_range::IpRange,
    kind::RestrictionKind,
    product::{Product, products},
    referrer::{Page, Referrer},
    web_origin::WebOrigin,
};

/// The allowed entries of a restriction. A list is never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    Ip(Vec<IpRange>),
    Origin(Vec<WebOrigin>),
    Referrer(Vec<Referrer>),
    Android(Vec<AndroidApp>),
    Ios(Vec<BundleId>),
    Sdk(Vec<Product>),
}

/// Why a restriction is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadRestriction {
    /// The restriction has no entries, and would refuse every request.
    #[error("a restriction of the kind `{0}` allows nothing")]
    Empty(RestrictionKind),
    /// An entry does not have the form of its kind.
    #[error("`{entry}` is not {}", .kind.form())]
    Entry {
        /// The kind.
        kind: RestrictionKind,
        /// The entry.
        entry: String,
    },
}

impl Allowed {
    pub(super) fn parse(
        kind: RestrictionKind,
        entries: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<Self, BadRestriction> {
        Ok(match kind {
            RestrictionKind::Ip => Self::Ip(list(kind, entries, IpRange::parse)?),
            RestrictionKind::Origin => Self::Origin(list(kind, entries, WebOrigin::parse)?),
            RestrictionKind::Referrer => Self::Referrer(list(kind, entries, Referrer::parse)?),
            RestrictionKind::Android => Self::Android(list(kind, entries, AndroidApp::parse)?),
            RestrictionKind::Ios => Self::Ios(list(kind, entries, BundleId::parse)?),
            RestrictionKind::Sdk => Self::Sdk(list(kind, entries, Product::parse)?),
        })
    }

    pub(super) const fn kind(&self) -> RestrictionKind {
        match self {
            Self::Ip(_) => RestrictionKind::Ip,
            Self::Origin(_) => RestrictionKind::Origin,
            Self::Referrer(_) => RestrictionKind::Referrer,
            Self::Android(_) => RestrictionKind::Android,
            Self::Ios(_) => RestrictionKind::Ios,
            Self::Sdk(_) => RestrictionKind::Sdk,
        }
    }

    pub(super) fn entries(&self) -> Vec<String> {
        match self {
            Self::Ip(ranges) => texts(ranges),
            Self::Origin(origins) => texts(origins),
            Self::Referrer(referrers) => texts(referrers),
            Self::Android(apps) => texts(apps),
            Self::Ios(apps) => texts(apps),
            Self::Sdk(products) => texts(products),
        }
    }

    pub(super) fn holds(&self, from: Option<IpAddr>, headers: &HeaderMap) -> bool {
        let field = |name| Field::of(headers, name);
        match self {
            Self::Ip(ranges) => {
                from.is_some_and(|from| ranges.iter().any(|range| range.contains(from)))
            }
            Self::Origin(origins) => field(ORIGIN.as_str()).is_some_and(|Field(origin)| {
                origins.iter().any(|allowed| allowed.is_serialized_as(origin))
            }),
            Self::Referrer(referrers) => {
                let page = field(REFERER.as_str()).and_then(|field| Page::parse(field.text()?));
                page.is_some_and(|page| referrers.iter().any(|allowed| allowed.holds(&page)))
            }
            Self::Android(apps) => {
                let text = |name| field(name).and_then(Field::text);
                let (package, certificate) = (text("x-android-package"), text("x-android-cert"));
                let app = package
                    .zip(certificate)
                    .and_then(|(package, certificate)| AndroidApp::new(package, certificate));
                app.is_some_and(|app| apps.contains(&app))
            }
            Self::Ios(apps) => {
                let app = field("x-ios-bundle-identifier").and_then(Field::text);
                app.and_then(BundleId::parse).is_some_and(|app| apps.contains(&app))
            }
            Self::Sdk(allowed) => {
                let said = field(USER_AGENT.as_str()).and_then(|Field(value)| products(value));
                said.is_some_and(|said| {
                    allowed.iter().any(|product| said.contains(&product.name()))
                })
            }
        }
    }
}

/// The value of a field that occurs exactly once.
#[derive(Clone, Copy)]
struct Field<'h>(&'h [u8]);

impl<'h> Field<'h> {
    fn of(headers: &'h HeaderMap, name: &str) -> Option<Self> {
        let mut values = headers.get_all(name).iter();
        let value = values.next()?;
        values.next().is_none().then_some(Self(value.as_bytes()))
    }

    fn text(self) -> Option<&'h str> {
        std::str::from_utf8(self.0).ok()
    }
}

fn list<E>(
    kind: RestrictionKind,
    entries: impl IntoIterator<Item = impl AsRef<str>>,
    parse: fn(&str) -> Option<E>,
) -> Result<Vec<E>, BadRestriction> {
    let read = |entry: &str| {
        parse(entry).ok_or_else(|| BadRestriction::Entry { kind, entry: entry.to_owned() })
    };
    let list: Vec<_> =
        entries.into_iter().map(|entry| read(entry.as_ref())).collect::<Result<_, _>>()?;
    if list.is_empty() { Err(BadRestriction::Empty(kind)) } else { Ok(list) }
}

fn texts<E: ToString>(entries: &[E]) -> Vec<String> {
    entries.iter().map(E::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_print_as_they_are_read_and_bad_ones_are_named() {
        let sha1 = "AB".repeat(20);
        let android = format!("com.example.shop={sha1}");
        for (kind, good, bad) in [
            (RestrictionKind::Ip, "192.0.2.0/24", "192.0.2.1/24"),
            (RestrictionKind::Origin, "https://shop.example", "https://shop.example/"),
            (RestrictionKind::Referrer, "https://shop.example/app", "https://shop.example/app?x"),
            (RestrictionKind::Android, android.as_str(), "com.example.shop"),
            (RestrictionKind::Ios, "com.example.Shop", "com.example Shop"),
            (RestrictionKind::Sdk, "shop-sdk", "shop-sdk/1.0"),
        ] {
            let allowed = Allowed::parse(kind, [good]).unwrap();
            assert_eq!(allowed.kind(), kind);
            assert_eq!(allowed.entries(), [good]);
            let nothing: [&str; 0] = [];
            assert_eq!(Allowed::parse(kind, nothing), Err(BadRestriction::Empty(kind)));
            for bad in [bad, "", " "] {
                let refused = Allowed::parse(kind, [good, bad]).unwrap_err();
                assert_eq!(refused, BadRestriction::Entry { kind, entry: bad.into() });
                assert!(refused.to_string().starts_with(&format!("`{bad}` is not ")), "{refused}");
            }
        }
    }
}
