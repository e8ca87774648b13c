//! What a terminal and a log may be given of a text that is somebody else's: a file name, a label, a response.

/// Whether a character is written as it is. Control characters hold terminal codes and line breaks; the others that are not reorder
/// or hide the text beside them.
pub(crate) fn is_printable(character: char) -> bool {
    let misleads = matches!(
        character,
        // Soft hyphen, and marks of direction and of no width.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        // Separators of lines and paragraphs; embeddings, overrides and isolates; invisible operators.
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        // Tags, which show nothing at all.
        | '\u{e0000}'..='\u{e007f}'
    );
    !character.is_control() && !misleads
}

/// Escapes the characters that are not printable, so that the text is one line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if is_printable(character) {
            line.push(character);
        } else {
            line.extend(character.escape_default());
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_reorders_or_hides_a_line_is_escaped_and_all_scripts_are_not() {
        let misleading = [
            '\0',
            '\n',
            '\r',
            '\u{1b}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
        ];
        for character in misleading {
            let line = one_line(&format!("a{character}b"));
            assert!(line.starts_with("a\\") && line.is_ascii(), "{line:?}");
        }
        for text in ["a b~", "Größe", "ключ", "鍵", "مفتاح", "🔑", "a\u{301}", "\u{a0}–…\u{fffd}"]
        {
            assert_eq!(one_line(text), text);
        }
        assert_eq!(one_line("a\u{202e}b"), "a\\u{202e}b");
    }
}
