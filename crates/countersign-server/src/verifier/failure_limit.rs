use std::num::NonZeroU32;

use countersign::{SIGNATURE, SIGNATURE_INPUT, X_API_KEY};
use countersign_store::{ClientAddress, ClientNetwork, Enforcement, MemoryBudget, Verdict};
use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::refusal::reason::{Blame, Reason};

/// The limit on failures of a client address, beyond which its requests are refused unread.
///
/// The budget is looked at first, and charged only after a failure. Browsers at an address have a budget of their own: a page that
/// makes its visitors' browsers fail on purpose uses up only that budget.
#[derive(Debug, Default)]
pub(crate) struct FailureLimit {
    pub(crate) budget: Option<MemoryBudget<ClientNetwork>>,
    pub(crate) enforcement: Enforcement,
}

impl FailureLimit {
    /// Refuses requests from an address that failed too often.
    pub(crate) fn check(&self, head: &Parts) -> Result<(), Reason> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let from = sender(head).ok_or(Reason::NoClientAddress)?;
        match self.enforcement.apply(budget.look(from)) {
            Verdict::Within(_) => Ok(()),
            Verdict::Exceeded(excess) => Err(Reason::TooManyFailures(excess)),
        }
    }

    /// Checks again after waiting: other requests from this address may have failed meanwhile.
    ///
    /// From here to the charge nothing waits, so that of many requests at once no more fail than the quota allows, and one
    /// for each thread.
    pub(crate) fn check_again(&self, head: &Parts) -> Result<(), Reason> {
        match self.enforcement {
            Enforcement::Enforce => self.check(head),
            // It was counted the first time.
            Enforcement::Report => Ok(()),
        }
    }

    /// Charges the sender of a request for a refusal, if its caller is to blame.
    pub(crate) fn charge(&self, from: Option<ClientNetwork>, blame: Blame) {
        if let (Some(budget), Some(from), Blame::Caller) = (&self.budget, from, blame) {
            // Whether it was the last one shows when the next one comes.
            drop(budget.charge(from, NonZeroU32::MIN));
        }
    }
}

/// The network that is charged for a request: a client's, or that of the browsers there.
pub(crate) fn sender(head: &Parts) -> Option<ClientNetwork> {
    let network = head.extensions.get::<ClientAddress>()?.network();
    Some(if can_be_a_page(&head.headers) { network.browsers() } else { network })
}

/// Whether a page of any site could have had its visitor's browser send this.
///
/// A browser puts `Origin` into every request that a script of another site could add fields to, and over TLS `Sec-Fetch-Site`
/// into every request; no script can take them out (Fetch, "Forbidden request-header"). Without them there is only what a
/// page needs no script for, such as an image or a link, which has no field of a page's choice.
fn can_be_a_page(headers: &HeaderMap) -> bool {
    let by_a_browser = [header::ORIGIN, HeaderName::from_static("sec-fetch-site")];
    let chosen = [X_API_KEY, SIGNATURE, SIGNATURE_INPUT];
    let has = |name: &HeaderName| headers.contains_key(name);
    by_a_browser.iter().any(has) || !chosen.iter().any(has)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn what_a_page_can_have_a_browser_send_is_told_from_what_only_programs_send() {
        let cases: [(&[&str], bool); 8] = [
            (&[], true),
            (&["cookie", "sec-fetch-site"], true),
            (&["origin"], true),
            (&["origin", "x-api-key"], true),
            (&["origin", "signature", "signature-input"], true),
            (&["x-api-key"], false),
            (&["signature", "user-agent", "referer"], false),
            (&["signature-input", "sec-fetch-site"], true),
        ];
        for (fields, page) in cases {
            let request =
                fields.iter().fold(Request::builder(), |request, name| request.header(*name, "x"));
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(can_be_a_page(&head.headers), page, "{fields:?}");
        }
    }
}
