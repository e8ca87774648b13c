#![expect(
    clippy::arithmetic_side_effects,
    reason = "points do not overflow, and positions in a number of 256 bits stay far below the bounds of their types"
)]

use std::sync::LazyLock;

use curve25519_dalek::{
    EdwardsPoint, Scalar, constants::ED25519_BASEPOINT_POINT, traits::Identity as _,
};

/// The bits of a piece of a factor. A sum is doubled once less.
const PIECE: usize = 16;
/// The pieces of a factor below 2²⁵⁶.
const PIECES: usize = 256 / PIECE;
/// The widths of the digits of a key's factor and of the base point's. They were chosen by measurement, of one key, a thousand
/// and ten thousand, beside a working set of 4 MiB: `docs/explanation/performance.md` ("Prepared keys") has the others.
const KEY_WIDTH: usize = 5;
const BASE_WIDTH: usize = 9;
/// The most digits that both factors have together. The highest position is 253, and digits are a width apart.
const MOST_DIGITS: usize = 253 / KEY_WIDTH + 1 + 253 / BASE_WIDTH + 1;
/// How many points are copied before they are added, so that the processor waits for all of them at the same time.
const TOGETHER: usize = 32;

/// Multiples of a point P, of which any multiple of P is the sum of a few: 1, 3, 5, … times 2¹⁶ⁱP, for i from 0 to 15.
#[derive(Clone)]
pub(super) struct Multiples {
    width: usize,
    points: Box<[EdwardsPoint]>,
}

impl Multiples {
    /// The memory of a key's multiples, in bytes.
    pub(super) const BYTES: usize = PIECES * each(KEY_WIDTH) * size_of::<EdwardsPoint>();

    /// The multiples of a key's opposite. Making them takes as long as two verifications.
    pub(super) fn of_opposite(key: EdwardsPoint) -> Self {
        Self::new(-key, KEY_WIDTH)
    }

    /// The multiples of the base point, made once.
    fn of_base() -> &'static Self {
        static BASE: LazyLock<Multiples> =
            LazyLock::new(|| Multiples::new(ED25519_BASEPOINT_POINT, BASE_WIDTH));
        &BASE
    }

    fn new(mut point: EdwardsPoint, width: usize) -> Self {
        let mut points = Vec::with_capacity(PIECES * each(width));
        for _ in 0..PIECES {
            let double = point + point;
            let odd = std::iter::successors(Some(point), |last| Some(last + double));
            points.extend(odd.take(each(width)));
            for _ in 0..PIECE / 3 {
                point = point.mul_by_cofactor();
            }
            for _ in 0..PIECE % 3 {
                point += point;
            }
        }
        Self { width, points: points.into() }
    }

    /// Adds this multiple of the point to that of the base point: `[base]B + [own]P`.
    ///
    /// Takes variable time, which shows factors and point: all of them are public where a signature is verified.
    ///
    /// The digits of a factor add up to the factor as a whole number. Nothing is reduced by the order of the base point, so the
    /// sum is right for any P of the curve, also with a part of small order. The formulas of the curve library add any two points
    /// of the curve, also if they are equal, opposite or neutral (RFC 8032 §5.1.4).
    ///
    /// Returns `None` if a digit lies outside of its table, which no factor brings about.
    pub(super) fn add_to_base(&self, base: &Scalar, own: &Scalar) -> Option<EdwardsPoint> {
        let of_base = Self::of_base();
        let none = Term { place: 0, is_negative: false, point: of_base.points.first()? };
        let (mut terms, mut count) = ([none; MOST_DIGITS], 0);
        let mut ends = [0; PIECE];
        for (factor, multiples) in [(base, of_base), (own, self)] {
            for digit in Digits::new(factor, multiples.width) {
                let term = multiples.term(digit)?;
                *terms.get_mut(count)? = term;
                *ends.get_mut(term.place)? += 1;
                count += 1;
            }
        }
        // The highest places come first.
        let mut start = 0;
        for end in ends.iter_mut().rev() {
            start += std::mem::replace(end, start);
        }
        let mut ordered = [none; MOST_DIGITS];
        for term in terms.iter().take(count) {
            let end = ends.get_mut(term.place)?;
            *ordered.get_mut(*end)? = *term;
            *end += 1;
        }
        Some(sum(ordered.get(..count)?))
    }

    fn term(&self, Digit { position, half, is_negative }: Digit) -> Option<Term<'_>> {
        let at = position / PIECE * each(self.width) + half;
        Some(Term { place: position % PIECE, is_negative, point: self.points.get(at)? })
    }
}

/// A point to add or to subtract, times 2 to the power of its place in a piece.
#[derive(Clone, Copy)]
struct Term<'m> {
    place: usize,
    is_negative: bool,
    point: &'m EdwardsPoint,
}

/// The sum of terms, of which those with the highest places come first.
fn sum(terms: &[Term<'_>]) -> EdwardsPoint {
    let (mut sum, mut place) = (EdwardsPoint::identity(), PIECE - 1);
    let mut points = [EdwardsPoint::identity(); TOGETHER];
    for terms in terms.chunks(TOGETHER) {
        for (point, term) in points.iter_mut().zip(terms) {
            *point = *term.point;
        }
        for (point, term) in points.iter().zip(terms) {
            for _ in term.place..place {
                sum += sum;
            }
            place = term.place;
            if term.is_negative {
                sum -= point;
            } else {
                sum += point;
            }
        }
    }
    for _ in 0..place {
        sum += sum;
    }
    sum
}

/// An odd digit of a factor: twice the half and one, times 2 to the power of its position.
#[derive(Clone, Copy, Debug)]
struct Digit {
    position: usize,
    half: usize,
    is_negative: bool,
}

/// The digits of a factor in its non-adjacent form of a width: odd, below half of 2 to the power of the width, and at least a
/// width apart.
struct Digits {
    limbs: [u64; 4],
    width: usize,
    position: usize,
    /// What the last digit, being negative, left to add at the position.
    carry: u64,
}

impl Digits {
    fn new(factor: &Scalar, width: usize) -> Self {
        let mut limbs = [0; 4];
        for (limb, bytes) in limbs.iter_mut().zip(factor.as_bytes().as_chunks().0) {
            *limb = u64::from_le_bytes(*bytes);
        }
        Self { limbs, width, position: 0, carry: 0 }
    }

    /// The 64 bits from the position on.
    fn bits(&self) -> u64 {
        let limb = |at: usize| self.limbs.get(at).copied().unwrap_or(0);
        let (at, shift) = (self.position / 64, self.position % 64);
        let higher = (limb(at + 1) << 1) << (63 - shift);
        limb(at) >> shift | higher
    }
}

impl Iterator for Digits {
    type Item = Digit;

    fn next(&mut self) -> Option<Digit> {
        while self.position < 256 {
            let bits = self.bits();
            // A carry runs through ones.
            let even = if self.carry == 0 { bits } else { !bits }.trailing_zeros();
            if even > 0 {
                self.position += even as usize;
                continue;
            }
            let position = self.position;
            self.position += self.width;
            let power = 1u64 << self.width;
            let window = self.carry + bits % power;
            self.carry = u64::from(window > power / 2);
            let absolute = if self.carry == 0 { window } else { power - window };
            let half = usize::try_from(absolute / 2).ok()?;
            return Some(Digit { position, half, is_negative: self.carry == 1 });
        }
        None
    }
}

/// The odd multiples that digits of a width need.
const fn each(width: usize) -> usize {
    1 << (width - 2)
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::constants::EIGHT_TORSION;
    use proptest::prelude::*;

    use super::*;

    fn expected(point: EdwardsPoint, base: &Scalar, own: &Scalar) -> EdwardsPoint {
        EdwardsPoint::vartime_double_scalar_mul_basepoint(own, &point, base)
    }

    /// Factors that are reduced by the order, and whose digits are as few, as many, or as high as they get.
    fn odd_factors() -> Vec<Scalar> {
        let ones = |byte: u8| Scalar::from_bytes_mod_order([byte; 32]);
        let powers = (0..253).map(|bit| {
            let mut bytes = [0; 32];
            bytes[bit / 8] = 1 << (bit % 8);
            Scalar::from_bytes_mod_order(bytes)
        });
        let near = (0..20u64).map(Scalar::from).flat_map(|few| [few, Scalar::ZERO - few]);
        let patterns = [0x11, 0x21, 0x42, 0x55, 0x84, 0xaa, 0xee, 0x0f].map(ones);
        powers.chain(near).chain(patterns).collect()
    }

    fn some_point(seed: u64, torsion: usize) -> EdwardsPoint {
        EdwardsPoint::mul_base(&(Scalar::from(seed) + Scalar::ONE)) + EIGHT_TORSION[torsion]
    }

    #[test]
    fn digits_are_odd_and_apart_and_add_up_to_their_factor() {
        for factor in odd_factors() {
            for width in [KEY_WIDTH, BASE_WIDTH] {
                let (mut sum, mut next) = (Scalar::ZERO, 0);
                for Digit { position, half, is_negative } in Digits::new(&factor, width) {
                    assert!((next..=253).contains(&position) && half < each(width), "{factor:?}");
                    next = position + width;
                    let mut value = Scalar::from(2 * half as u64 + 1);
                    (0..position).for_each(|_| value += value);
                    if is_negative { sum -= value } else { sum += value }
                }
                assert_eq!(sum, factor);
            }
        }
    }

    #[test]
    fn a_sum_of_multiples_is_that_of_the_library_for_any_point_and_odd_factors() {
        let factors = odd_factors();
        for (torsion, weak) in EIGHT_TORSION.into_iter().enumerate() {
            for point in [weak, some_point(torsion as u64, torsion), -ED25519_BASEPOINT_POINT] {
                let multiples = Multiples::of_opposite(-point);
                let others = factors.iter().skip(torsion * 30).chain(&factors);
                for (own, base) in factors.iter().zip(others) {
                    let sum = multiples.add_to_base(base, own).unwrap();
                    assert_eq!(sum, expected(point, base, own), "{own:?} {base:?}");
                }
            }
        }
    }

    #[test]
    fn factors_are_not_reduced_by_the_order() {
        // The order times a point that is not torsion-free is not neutral.
        let point = some_point(7, 1);
        let less = Scalar::ZERO - Scalar::ONE;
        let multiples = Multiples::of_opposite(-point);
        let sum = multiples.add_to_base(&Scalar::ZERO, &less).unwrap() + point;
        assert_ne!(sum, EdwardsPoint::identity());
        assert_eq!(sum, expected(point, &Scalar::ZERO, &less) + point);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_sum_of_multiples_is_that_of_the_library(
            seed: u64,
            torsion in 0usize..8,
            factors: [[u8; 32]; 2],
        ) {
            let point = some_point(seed, torsion);
            let [base, own] = factors.map(Scalar::from_bytes_mod_order);
            let sum = Multiples::of_opposite(-point).add_to_base(&base, &own);
            prop_assert_eq!(sum, Some(expected(point, &base, &own)));
        }
    }
}
