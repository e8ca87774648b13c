use std::num::NonZeroU32;

use countersign_store::Quota;

use crate::duration_arg;

/// Reads a quota: an amount in a window, like `600/1m`, and how much of it may come at once, like `600/1m:50`.
pub(crate) fn parse(text: &str) -> Result<Quota, String> {
    let refused = || "a quota is like 600/1m, or 600/1m:50 with at most 50 at once".to_owned();
    let (amount, rest) = text.split_once('/').ok_or_else(refused)?;
    let (window, burst) = match rest.split_once(':') {
        Some((window, burst)) => (window, Some(burst)),
        None => (rest, None),
    };
    let number = |text: &str| -> Result<NonZeroU32, String> {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(refused)
    };
    let quota = Quota::new(number(amount)?, duration_arg::parse(window)?)
        .map_err(|error| error.to_string())?;
    Ok(match burst {
        Some(burst) => quota.burst(number(burst)?),
        None => quota,
    })
}

/// Writes a quota as [`parse`] reads it.
pub(crate) fn show(quota: &Quota) -> String {
    let (amount, window) = (quota.amount(), duration_arg::show(quota.window()));
    match quota.at_once() {
        burst if burst == amount => format!("{amount}/{window}"),
        burst => format!("{amount}/{window}:{burst}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_read_as_it_is_shown() {
        for text in ["1/1s", "600/1m", "600/1m:50", "10000/1d:100", "7/90s"] {
            assert_eq!(show(&parse(text).unwrap()), text);
        }
        for text in
            ["", "600", "600/", "/1m", "0/1m", "600/1m:", "600/1m:0", "600/0", "600/32d", "+6/1m"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
