/// Why a text or 32 bytes are not a [`MasterKey`](super::MasterKey). The messages show nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMasterKey {
    /// The text is empty.
    #[error("it is empty")]
    Empty,
    /// The bytes are not text, such as the 32 bytes themselves.
    #[error("it is not text: a master key is written in base64")]
    NotText,
    /// The text is a private key that signs.
    #[error("it is the private key of a caller, which seals nothing")]
    PrivateKey,
    /// The text has more than one line.
    #[error("it has several lines: a master key has one")]
    SeveralLines,
    /// The text is hexadecimal.
    #[error("it is written in hex: a master key is written in base64")]
    Hex,
    /// The text has this number of characters, not 44.
    #[error("it has {0} characters: the base64 of 32 bytes has 44")]
    Length(usize),
    /// The character at this place, counted from 1, cannot stand there.
    #[error("its character {0} cannot stand there in the base64 of 32 bytes")]
    Character(usize),
    /// The key is not random.
    #[error(
        "it can be guessed: it is made of words, repeats itself or is published, and no 32 random bytes"
    )]
    Guessable,
}
