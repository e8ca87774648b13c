use clap::Args;
use countersign_store::{BadRestriction, Restriction, RestrictionKind};

use crate::failure::Failure;

/// The options for where a key may be used from.
#[derive(Args, Debug)]
pub(super) struct RestrictionArgs {
    /// Only from this address or range, like 192.0.2.0/24; this and the other --allow-… can be repeated
    #[arg(long, value_name = "CIDR")]
    allow_ip: Vec<String>,
    /// Only from pages of this web origin, like https://shop.example; any other client can claim that origin
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Only from this page and those under it, like https://shop.example/app; any other client can claim that page
    #[arg(long, value_name = "URL")]
    allow_referrer: Vec<String>,
    /// Only from this Android app, like com.example.shop=5A:0B:…; any client can claim that app
    #[arg(long, value_name = "PACKAGE=FINGERPRINT")]
    allow_android: Vec<String>,
    /// Only from this iOS app, like com.example.Shop; any client can claim that app
    #[arg(long, value_name = "BUNDLE")]
    allow_ios: Vec<String>,
    /// Only with this name in User-Agent, like shop-sdk; any client can claim that name
    #[arg(long, value_name = "NAME")]
    allow_sdk: Vec<String>,
    /// Count the requests that this kind (ip, origin, referrer, android, ios, sdk) would refuse, and accept them
    #[arg(long, value_name = "KIND")]
    pub(super) report_only: Vec<RestrictionKind>,
}

impl RestrictionArgs {
    /// Returns the restrictions, one for each kind. A kind named by --report-only is only reported.
    pub(super) fn restrictions(&self) -> Result<Vec<Restriction>, Failure> {
        let mut restrictions = Vec::new();
        for kind in RestrictionKind::ALL {
            let entries = self.entries(kind);
            if entries.is_empty() {
                continue;
            }
            let restriction = Restriction::new(kind, entries).map_err(|bad| failure(kind, &bad))?;
            restrictions.push(match self.report_only.contains(&kind) {
                true => restriction.insecure_report_only(),
                false => restriction,
            });
        }
        Ok(restrictions)
    }

    pub(super) fn names(&self, kind: RestrictionKind) -> bool {
        !self.entries(kind).is_empty()
    }

    fn entries(&self, kind: RestrictionKind) -> &[String] {
        match kind {
            RestrictionKind::Ip => &self.allow_ip,
            RestrictionKind::Origin => &self.allow_origin,
            RestrictionKind::Referrer => &self.allow_referrer,
            RestrictionKind::Android => &self.allow_android,
            RestrictionKind::Ios => &self.allow_ios,
            RestrictionKind::Sdk => &self.allow_sdk,
        }
    }
}

fn failure(kind: RestrictionKind, bad: &BadRestriction) -> Failure {
    let hint = match kind {
        RestrictionKind::Ip => "192.0.2.7 is one address, 192.0.2.0/24 the range that it is in",
        RestrictionKind::Origin => "write scheme, host and port alone, like https://shop.example",
        RestrictionKind::Referrer => "leave out what begins with `?` or `#`, and `..` and `//`",
        RestrictionKind::Android => {
            "`apksigner verify --print-certs APP.apk` prints the fingerprint"
        }
        RestrictionKind::Ios => "write what the app's Info.plist has as CFBundleIdentifier",
        RestrictionKind::Sdk => "write what stands before the `/` of its version in User-Agent",
    };
    Failure::local(format!("--allow-{kind}: {bad}"), hint)
}
