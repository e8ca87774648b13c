use zeroize::Zeroizing;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// The value of each byte as a digit, and 58 for other bytes.
#[expect(clippy::indexing_slicing, reason = "out of bounds it would not compile")]
const DIGITS: [u8; 256] = {
    let mut digits = [58; 256];
    let mut at: u8 = 0;
    while at < 58 {
        digits[ALPHABET[at as usize] as usize] = at;
        at += 1;
    }
    digits
};
/// As many digits as fit into 64 bits.
const TOGETHER: usize = 10;
/// Room for 160 digits, in 64 bits each.
const LIMBS: usize = 15;

/// The bytes of these digits, or `None` with another character or more than 160 digits. Every signed request has a key to
/// read, so it takes ten digits in one step.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    // The number so far, its lowest limb first.
    let (mut limbs, mut used) = (Zeroizing::new([0u64; LIMBS]), 0usize);
    for digits in text.as_bytes().chunks(TOGETHER) {
        let (mut carry, mut base) = (0u64, 1u64);
        for &byte in digits {
            let digit = *DIGITS.get(usize::from(byte)).filter(|&&digit| digit < 58)?;
            carry = carry.saturating_mul(58).saturating_add(u64::from(digit));
            base = base.saturating_mul(58);
        }
        for limb in limbs.iter_mut().take(used) {
            (*limb, carry) = limb.carrying_mul(base, carry);
        }
        if carry > 0 {
            *limbs.get_mut(used)? = carry;
            used = used.saturating_add(1);
        }
    }
    let zeros = text.bytes().take_while(|&byte| byte == b'1').count();
    let number = limbs.iter().take(used).rev().flat_map(|limb| limb.to_be_bytes());
    let mut bytes = Zeroizing::new(Vec::with_capacity(zeros.saturating_add(8 * LIMBS)));
    bytes.resize(zeros, 0);
    bytes.extend(number.skip_while(|&byte| byte == 0));
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(text: &str) -> Option<Vec<u8>> {
        bs58::decode(text).into_vec().ok()
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_read(bytes in prop::collection::vec(any::<u8>(), 0..100), zeros in 0..10usize) {
            let bytes: Vec<u8> = std::iter::repeat_n(0, zeros).chain(bytes).collect();
            let text = bs58::encode(&bytes).into_string();
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), Some(bytes));
        }

        #[test]
        fn digits_are_read_as_the_library_does(text in "[1-9A-HJ-NP-Za-km-z]{0,160}") {
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), expected(&text));
        }

        #[test]
        fn what_has_other_characters_is_refused(
            text in "[1-9A-HJ-NP-Za-km-z]{0,20}[0OIl+/_ é\u{0}\u{7f}][1-9A-HJ-NP-Za-km-z]{0,20}",
        ) {
            prop_assert_eq!(decode(&text).map(|read| read.to_vec()), None);
            prop_assert_eq!(expected(&text), None);
        }
    }

    #[test]
    fn the_largest_number_of_each_length_is_read() {
        for length in 0..=160 {
            let text = "z".repeat(length);
            assert_eq!(decode(&text).map(|read| read.to_vec()), expected(&text), "{length}");
        }
    }
}
