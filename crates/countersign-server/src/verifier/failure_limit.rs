use std::{num::NonZeroU32, sync::Arc};

use countersign::{SIGNATURE, SIGNATURE_INPUT, X_API_KEY};
use countersign_store::{ClientAddress, ClientNetwork, Enforcement, MemoryBudget, Verdict};
use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::refusal::reason::{Blame, Reason};

/// The limit on failures of a client address. Requests over the limit are refused unread.
///
/// The budget is checked first, and charged only after a failure. Browsers at an address have a budget of their own: a page can
/// make its visitors' browsers fail on purpose, but it uses up only that budget.
#[derive(Debug, Default)]
pub(crate) struct FailureLimit {
    pub(crate) budget: Option<Arc<MemoryBudget<ClientNetwork>>>,
    pub(crate) enforcement: Enforcement,
}

impl FailureLimit {
    /// Refuses requests from an address that failed too often.
    pub(crate) fn check(&self, head: &Parts) -> Result<(), Reason> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let payer = self.payer(head).ok_or(Reason::NoClientAddress)?;
        match self.enforcement.apply(budget.look(payer)) {
            Verdict::Within(_) => Ok(()),
            Verdict::Exceeded(excess) => Err(Reason::TooManyFailures(excess)),
        }
    }

    /// Checks again after waiting: other requests from this address may have failed meanwhile.
    ///
    /// Nothing awaits between this check and the charge. So of many requests at once, at most the quota and one more for each
    /// thread can fail.
    pub(crate) fn check_again(&self, head: &Parts) -> Result<(), Reason> {
        match self.enforcement {
            Enforcement::Enforce => self.check(head),
            // The first check has already counted the request.
            Enforcement::Report => Ok(()),
        }
    }

    /// The network that failures of this request are charged to, if a limit is set: the client's, or that of the browsers there.
    pub(crate) fn payer(&self, head: &Parts) -> Option<ClientNetwork> {
        self.budget.as_ref()?;
        let network = head.extensions.get::<ClientAddress>()?.network();
        Some(if can_be_a_page(&head.headers) { network.browsers() } else { network })
    }

    /// Charges a network for a refusal, if the caller is to blame.
    pub(crate) fn charge(&self, payer: Option<ClientNetwork>, blame: Blame) {
        if let (Some(budget), Some(payer), Blame::Caller) = (&self.budget, payer, blame) {
            // Whether it was the last one shows when the next one comes.
            drop(budget.charge(payer, NonZeroU32::MIN));
        }
    }
}

/// Whether a page of any site could have had its visitor's browser send this.
///
/// A browser puts `Origin` into every request to which a script of another site could add fields, and over TLS `Sec-Fetch-Site`
/// into every request. No script can remove them (Fetch, "Forbidden request-header"). A request without these fields can come
/// from a page only without a script, as for an image or a link, and then has no field of the page's choice.
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
