/// A set of bytes as a table, since to look a byte up costs less than to compare it with several ranges.
pub(crate) struct ByteSet([bool; 256]);

impl ByteSet {
    pub(crate) const NONE: Self = Self([false; 256]);
    pub(crate) const ALPHANUMERIC: Self =
        Self::NONE.with_range(b'a', b'z').with_range(b'A', b'Z').with_range(b'0', b'9');

    /// Adds all from `first` to `last`.
    pub(crate) const fn with_range(self, first: u8, last: u8) -> Self {
        self.set(first, last, true)
    }

    pub(crate) const fn with(self, mut bytes: &[u8]) -> Self {
        let mut set = self;
        while let [byte, rest @ ..] = bytes {
            set = set.set(*byte, *byte, true);
            bytes = rest;
        }
        set
    }

    pub(crate) const fn without(self, mut bytes: &[u8]) -> Self {
        let mut set = self;
        while let [byte, rest @ ..] = bytes {
            set = set.set(*byte, *byte, false);
            bytes = rest;
        }
        set
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)) == Some(&true)
    }

    /// Whether there is no other byte in this text.
    pub(crate) fn has_all_of(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.has(byte))
    }

    #[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "bytes index 256")]
    const fn set(mut self, first: u8, last: u8, value: bool) -> Self {
        let mut at = first as usize;
        while at <= last as usize {
            self.0[at] = value;
            at += 1;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_it_was_given_and_nothing_else() {
        static SET: ByteSet = ByteSet::NONE.with_range(b'a', b'e').with(b"_\x00\xff").without(b"c");
        for byte in 0..=255 {
            assert_eq!(SET.has(byte), b"abde_\x00\xff".contains(&byte), "{byte}");
        }
        assert!(SET.has_all_of("") && SET.has_all_of("bad_") && !SET.has_all_of("cab"));
    }
}
