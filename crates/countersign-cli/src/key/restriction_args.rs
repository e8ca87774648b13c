use clap::Args;
use countersign_store::{BadRestriction, Restriction, RestrictionKind};

use crate::failure::Failure;

/// Where a key may be used from, as the commands that register or change one take it.
#[derive(Args, Debug)]
pub(super) struct RestrictionArgs {
    /// Only from this address or range, like 192.0.2.0/24; this and the other --allow-… can be repeated
    #[arg(long, value_name = "CIDR")]
    allow_ip: Vec<String>,
    /// Only from pages of this web origin, like https://shop.example; anything but a browser can pretend that
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Only from this page and those under it, like https://shop.example/app; anything but a browser can pretend that
    #[arg(long, value_name = "URL")]
    allow_referrer: Vec<String>,
    /// Only from this Android app, like com.example.shop=5A:0B:…; anyone can pretend that
    #[arg(long, value_name = "PACKAGE=FINGERPRINT")]
    allow_android: Vec<String>,
    /// Only from this iOS app, like com.example.Shop; anyone can pretend that
    #[arg(long, value_name = "BUNDLE")]
    allow_ios: Vec<String>,
    /// Only with this name in User-Agent, like shop-sdk; anyone can pretend that
    #[arg(long, value_name = "NAME")]
    allow_sdk: Vec<String>,
    /// Counts what ip, origin, referrer, android, ios or sdk would refuse, and lets it pass
    #[arg(long, value_name = "KIND")]
    pub(super) report_only: Vec<RestrictionKind>,
}

impl RestrictionArgs {
    /// What is allowed by its kind, each once: only reported if that is said.
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
