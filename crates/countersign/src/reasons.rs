use std::error::Error;

/// The message of an error and those of its sources, as one text: for a log, a problem or a terminal, which have no
/// `source()`.
///
/// Messages are joined by colons. A source whose message ends the text already is left out.
///
/// ```
/// let malformed = countersign::Rejection::from(countersign::Malformed::NoSuchLabel);
/// let text = countersign::with_reasons(&malformed);
/// assert!(text.starts_with("the signature fields are malformed: "));
/// ```
pub fn with_reasons(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Layer {
        message: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn every_message_is_there_once() {
        let cases: [(&[&str], &str); 4] = [
            (&["a"], "a"),
            (&["a", "b", "c"], "a: b: c"),
            (&["a", "b: c", "c", "d"], "a: b: c: d"),
            (&["a c", "b", "c"], "a c: b: c"),
        ];
        for (messages, expected) in cases {
            let layers = messages.iter().rev();
            let error =
                layers.fold(None, |source, message| Some(Box::new(Layer { message, source })));
            assert_eq!(with_reasons(&error.unwrap()), expected);
        }
    }
}
