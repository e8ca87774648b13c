use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The application/x-www-form-urlencoded percent-encode set, with a space as `%20` (RFC 9421 §2.2.8).
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

/// The parameters of a query that were asked for. One pass finds them all, so that many names cost hardly more than one.
pub(crate) struct QueryParams<'q> {
    /// By their decoded names.
    found: Vec<(Vec<u8>, Found<'q>)>,
}

/// What a query has of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found<'q> {
    Nothing,
    Once(&'q str),
    Again,
}

/// Why a parameter has no value that can be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoParam {
    Absent,
    Ambiguous,
    NotUtf8,
}

impl<'q> QueryParams<'q> {
    pub(crate) fn find<'n>(query: &'q str, names: impl Iterator<Item = &'n str>) -> Self {
        let mut found: Vec<_> =
            names.map(|name| (form_decode(name).collect(), Found::Nothing)).collect();
        if found.is_empty() {
            return Self { found };
        }
        found.sort_by(|(one, _): &(Vec<u8>, _), (other, _)| one.cmp(other));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let at = match key.contains(['%', '+']) {
                false => found.binary_search_by(|(name, _)| (**name).cmp(key.as_bytes())),
                true => {
                    let key: Vec<u8> = form_decode(key).collect();
                    found.binary_search_by(|(name, _)| name.cmp(&key))
                }
            };
            if let Some((_, found)) = at.ok().and_then(|at| found.get_mut(at)) {
                *found = match found {
                    Found::Nothing => Found::Once(value),
                    Found::Once(_) | Found::Again => Found::Again,
                };
            }
        }
        Self { found }
    }

    /// The value of the parameter with this name, both as RFC 9421 §2.2.8 encodes them.
    pub(crate) fn value(&self, name: &str) -> Result<String, NoParam> {
        // A name that is encoded otherwise would be a second way to write the same identifier.
        if recode(name).as_deref() != Some(name) {
            return Err(NoParam::Absent);
        }
        let decoded: Vec<u8> = form_decode(name).collect();
        let at = self.found.binary_search_by(|(other, _)| other.cmp(&decoded));
        match at.ok().and_then(|at| self.found.get(at)) {
            Some((_, Found::Once(value))) => recode(value).ok_or(NoParam::NotUtf8),
            Some((_, Found::Again)) => Err(NoParam::Ambiguous),
            Some((_, Found::Nothing)) | None => Err(NoParam::Absent),
        }
    }
}

fn form_decode(text: &str) -> impl Iterator<Item = u8> {
    let pieces = text.split('+').enumerate();
    pieces.flat_map(|(at, piece)| {
        let space = (at > 0).then_some(b' ');
        space.into_iter().chain(percent_decode(piece.as_bytes()))
    })
}

fn recode(text: &str) -> Option<String> {
    let text = String::from_utf8(form_decode(text).collect()).ok()?;
    Some(utf8_percent_encode(&text, FORM).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_one_value_in_one_encoding() {
        let query = "a=1&&b=x+y%2b&c&%64=%c3%A9&twice=1&twice=2&bad=%ff&=empty&e%20f=g&i=j=k";
        let names =
            ["a", "b", "c", "d", "twice", "bad", "", "e%20f", "e f", "e+f", "%64", "i", "%ff", "z"];
        let params = QueryParams::find(query, names.into_iter());
        let expected = [
            ("a", Ok("1")),
            ("b", Ok("x%20y%2B")),
            ("c", Ok("")),
            ("d", Ok("%C3%A9")),
            ("twice", Err(NoParam::Ambiguous)),
            ("bad", Err(NoParam::NotUtf8)),
            ("", Ok("empty")),
            ("e%20f", Ok("g")),
            ("e f", Err(NoParam::Absent)),
            ("e+f", Err(NoParam::Absent)),
            ("%64", Err(NoParam::Absent)),
            ("i", Ok("j%3Dk")),
            ("%ff", Err(NoParam::Absent)),
            ("z", Err(NoParam::Absent)),
        ];
        for (name, value) in expected {
            assert_eq!(params.value(name), value.map(str::to_owned), "{name}");
        }
    }
}
