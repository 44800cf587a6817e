//! Decimals as PostgreSQL's `numeric` travels.
//!
//! ```text
//! groups: i16 | weight: i16 | sign: u16 | scale: u16 | groups of four digits: u16 each
//! ```
//!
//! The weight is the power of 10,000 of the first group; groups that are zero at either end are
//! left out. The scale says how many digits behind the point are shown. A numeric may have far
//! more digits than a [`Decimal`]: it is read exactly or not at all.

use std::fmt;

use bytes::{BufMut, BytesMut};
use larder_core::Decimal;

const BASE: u128 = 10_000;
const GROUP_DIGITS: u32 = 4;
/// The most groups that are looked at one by one: 36 digits, more than a decimal has.
const HEAD_GROUPS: usize = 9;
const MANTISSA_MAX: u128 = (1 << 96) - 1;
const SCALE_MAX: u32 = Decimal::MAX_SCALE;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Appends the decimal; its scale is kept.
pub(crate) fn write(value: Decimal, out: &mut BytesMut) {
    let scale = value.scale();
    let missing = (GROUP_DIGITS - scale % GROUP_DIGITS) % GROUP_DIGITS;
    // At most 29 digits and three zeros.
    let mut digits = value.mantissa().unsigned_abs() * 10_u128.pow(missing);
    let mut weight = -i16::try_from((scale + missing) / GROUP_DIGITS).expect("at most 7") - 1;
    let mut groups = [0_u16; HEAD_GROUPS];
    let mut first = HEAD_GROUPS;
    let mut last = HEAD_GROUPS;
    while digits > 0 {
        first -= 1;
        groups[first] = (digits % BASE) as u16;
        digits /= BASE;
        weight += 1;
    }
    while last > first && groups[last - 1] == 0 {
        last -= 1;
    }
    let groups = &groups[first..last];
    let negative = value.is_sign_negative() && !groups.is_empty();
    out.put_u16(groups.len() as u16);
    out.put_i16(if groups.is_empty() { 0 } else { weight });
    out.put_u16(if negative { NEGATIVE } else { POSITIVE });
    out.put_u16(scale as u16);
    for &group in groups {
        out.put_u16(group);
    }
}

/// Why bytes are no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoNumber {
    /// `NaN` or an infinity, by its name.
    Special(&'static str),
    /// Not what PostgreSQL sends.
    Malformed,
}

/// A numeric as it came. `Display` writes it in full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numeric<'a> {
    negative: bool,
    weight: i16,
    scale: u16,
    /// Two bytes each.
    groups: &'a [u8],
}

impl<'a> Numeric<'a> {
    pub(crate) fn parse(raw: &'a [u8]) -> Result<Self, NoNumber> {
        let (header, groups) = raw.split_first_chunk::<8>().ok_or(NoNumber::Malformed)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let numeric = Self {
            negative: match field(4) {
                POSITIVE => false,
                NEGATIVE => true,
                NAN => return Err(NoNumber::Special("NaN")),
                INFINITY => return Err(NoNumber::Special("Infinity")),
                NEGATIVE_INFINITY => return Err(NoNumber::Special("-Infinity")),
                _ => return Err(NoNumber::Malformed),
            },
            weight: field(2).cast_signed(),
            scale: field(6),
            groups,
        };
        let is_sound = groups.len() == 2 * usize::from(field(0))
            && numeric.groups().all(|group| u128::from(group) < BASE);
        is_sound.then_some(numeric).ok_or(NoNumber::Malformed)
    }

    /// The decimal of the same value and, where it fits, the same scale. `None` where it needs
    /// more digits than a decimal has.
    pub(crate) fn exact(&self) -> Option<Decimal> {
        let (digits, exponent, more) = self.head();
        if more {
            return None;
        }
        (0..=u32::from(self.scale).min(SCALE_MAX))
            .rev()
            .find_map(|scale| {
                let mantissa = match exponent + scale as i32 {
                    power @ 0.. => digits.checked_mul(power_of_ten(power)?)?,
                    power => {
                        let divisor = power_of_ten(-power)?;
                        digits.is_multiple_of(divisor).then(|| digits / divisor)?
                    }
                };
                self.decimal(mantissa, scale)
            })
    }

    /// The first digits, the power of ten behind the last of them, and whether there are further
    /// ones that are not zero.
    fn head(&self) -> (u128, i32, bool) {
        let leading = self.groups().take_while(|&group| group == 0).count();
        let mut groups = self.groups().skip(leading);
        let taken = groups.len().min(HEAD_GROUPS);
        let digits = (groups.by_ref().take(taken))
            .fold(0, |digits, group| digits * BASE + u128::from(group));
        let before_point = i32::from(self.weight) + 1 - (leading + taken) as i32;
        let more = groups.any(|group| group != 0);
        match digits {
            0 => (0, 0, false),
            digits => (digits, before_point * GROUP_DIGITS as i32, more),
        }
    }

    fn decimal(&self, mantissa: u128, scale: u32) -> Option<Decimal> {
        if mantissa > MANTISSA_MAX {
            return None;
        }
        let mut decimal = Decimal::try_from_i128_with_scale(mantissa as i128, scale).ok()?;
        decimal.set_sign_negative(self.negative && mantissa > 0);
        Some(decimal)
    }

    fn groups(&self) -> impl ExactSizeIterator<Item = u16> + Clone + use<'a> {
        let pairs = self.groups.chunks_exact(2);
        pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

fn power_of_ten(power: i32) -> Option<u128> {
    10_u128.checked_pow(power.unsigned_abs())
}

impl fmt::Display for Numeric<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |power: i32| {
            let at = usize::try_from(i32::from(self.weight) - power).ok();
            at.and_then(|at| self.groups().nth(at)).unwrap_or(0)
        };
        if self.negative {
            f.write_str("-")?;
        }
        write!(f, "{}", group(i32::from(self.weight).max(0)))?;
        for power in (0..i32::from(self.weight).max(0)).rev() {
            write!(f, "{:04}", group(power))?;
        }
        let mut left = usize::from(self.scale);
        let mut power = -1;
        while left > 0 {
            f.write_str(if power == -1 { "." } else { "" })?;
            let digits = format!("{:04}", group(power));
            f.write_str(&digits[..left.min(4)])?;
            left = left.saturating_sub(4);
            power -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(text: &str) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(text.parse().expect("a decimal"), &mut out);
        out.to_vec()
    }

    /// What PostgreSQL sends: groups, weight, negative, scale.
    fn wire(groups: &[u16], weight: i16, negative: bool, scale: u16) -> Vec<u8> {
        let mut out = BytesMut::new();
        out.put_u16(groups.len() as u16);
        out.put_i16(weight);
        out.put_u16(if negative { NEGATIVE } else { POSITIVE });
        out.put_u16(scale);
        for &group in groups {
            out.put_u16(group);
        }
        out.to_vec()
    }

    /// A text of digits as PostgreSQL would send it, of any length.
    fn of_digits(whole: &str, fraction: &str) -> Vec<u8> {
        let padded = format!(
            "{}{whole}{fraction}{}",
            "0".repeat((4 - whole.len() % 4) % 4),
            "0".repeat((4 - fraction.len() % 4) % 4)
        );
        let groups: Vec<u16> = (padded.as_bytes().chunks(4))
            .map(|four| {
                std::str::from_utf8(four)
                    .expect("digits")
                    .parse()
                    .expect("a group")
            })
            .collect();
        let weight = whole.len().div_ceil(4) as i16 - 1;
        let first = groups
            .iter()
            .position(|&group| group > 0)
            .unwrap_or(groups.len());
        let last = groups
            .iter()
            .rposition(|&group| group > 0)
            .map_or(first, |last| last + 1);
        wire(
            &groups[first..last],
            weight - first as i16,
            false,
            fraction.len() as u16,
        )
    }

    #[test]
    fn the_bytes_are_those_of_the_server() {
        for (text, groups, weight, negative, scale) in [
            ("0", &[][..], 0, false, 0),
            ("0.00", &[], 0, false, 2),
            ("-0.0", &[], 0, false, 1),
            ("1", &[1], 0, false, 0),
            ("10000", &[1], 1, false, 0),
            ("12345678", &[1234, 5678], 1, false, 0),
            ("-1.50", &[1, 5000], 0, true, 2),
            ("0.0001", &[1], -1, false, 4),
            ("0.00001", &[1000], -2, false, 5),
            ("100000000000000000000", &[1], 5, false, 0),
            (
                "79228162514264337593543950335",
                &[7, 9228, 1625, 1426, 4337, 5935, 4395, 335],
                7,
                false,
                0,
            ),
            ("0.0000000000000000000000000001", &[1], -7, false, 28),
        ] {
            assert_eq!(sent(text), wire(groups, weight, negative, scale), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_told_apart() {
        let special = |sign: u16| {
            let mut raw = wire(&[], 0, false, 0);
            raw[4..6].copy_from_slice(&sign.to_be_bytes());
            Numeric::parse(&raw).map(|_| ())
        };
        assert_eq!(special(NAN), Err(NoNumber::Special("NaN")));
        assert_eq!(special(INFINITY), Err(NoNumber::Special("Infinity")));
        assert_eq!(
            special(NEGATIVE_INFINITY),
            Err(NoNumber::Special("-Infinity"))
        );
        assert_eq!(special(0x1234), Err(NoNumber::Malformed));
        for raw in [
            &[][..],
            &[0; 7],
            &wire(&[1], 0, false, 0)[..9],
            &wire(&[10_000], 0, false, 0),
        ] {
            assert_eq!(
                Numeric::parse(raw).map(|_| ()),
                Err(NoNumber::Malformed),
                "{raw:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_not_read_as_something_else() {
        let exact = |whole: &str, fraction: &str| {
            let raw = of_digits(whole, fraction);
            Numeric::parse(&raw).expect("a number").exact()
        };
        assert_eq!(exact("79228162514264337593543950336", ""), None);
        assert_eq!(exact("79228162514264337593543950335", "1"), None);
        assert_eq!(exact("0", &format!("{}1", "0".repeat(28))), None);
        assert_eq!(exact(&"9".repeat(200), &"9".repeat(200)), None);
        assert_eq!(exact("1", &"0".repeat(100)), Some(Decimal::ONE));
        assert_eq!(
            exact("79228162514264337593543950335", "00"),
            Some(Decimal::MAX)
        );
        let far = |weight| wire(&[1], weight, false, 0);
        for weight in [i16::MIN, i16::MAX] {
            let raw = far(weight);
            assert_eq!(Numeric::parse(&raw).expect("a number").exact(), None);
        }
    }

    #[test]
    fn numbers_of_any_length_can_be_shown() {
        for (whole, fraction) in [
            ("0", "0"),
            ("1", "05"),
            ("12345", "6789012"),
            ("0", "00001"),
        ] {
            let raw = of_digits(whole, fraction);
            let shown = Numeric::parse(&raw).expect("a number").to_string();
            assert_eq!(shown, format!("{whole}.{fraction}"));
        }
    }

    fn decimal() -> impl Strategy<Value = Decimal> {
        let mantissa = prop_oneof![
            any::<i64>().prop_map(i128::from),
            0..=MANTISSA_MAX as i128,
            (0..=29_u32).prop_map(|power| 10_i128.pow(power).min(MANTISSA_MAX as i128)),
        ];
        (mantissa, 0..=28_u32, any::<bool>()).prop_map(|(mantissa, scale, negative)| {
            let mut decimal = Decimal::from_i128_with_scale(mantissa, scale);
            decimal.set_sign_negative(negative != decimal.is_sign_negative() && !decimal.is_zero());
            decimal
        })
    }

    proptest! {
        #[test]
        fn decimals_come_back_with_their_scale(decimal in decimal()) {
            let mut raw = BytesMut::new();
            write(decimal, &mut raw);
            let numeric = Numeric::parse(&raw).expect("a number");
            prop_assert_eq!(numeric.exact().map(|d| d.to_string()), Some(decimal.to_string()));
            prop_assert_eq!(numeric.to_string(), decimal.to_string());
        }

        #[test]
        fn no_bytes_panic(raw in any::<Vec<u8>>(), groups in any::<Vec<u16>>(), weight: i16, scale: u16) {
            let groups: Vec<u16> = groups.into_iter().map(|group| group % 10_000).collect();
            let made = wire(&groups, weight, true, scale);
            for raw in [&raw[..], &made] {
                if let Ok(numeric) = Numeric::parse(raw) {
                    let _ = numeric.exact();
                }
            }
        }
    }
}
