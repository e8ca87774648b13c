//! Values of structured fields, as RFC 9651 §4.1 serialises them.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

use sfv::{
    BareItemFromInput, Dictionary, FieldType as _, Item, ItemSerializer, KeyRef, List, Parser,
    visitor::{DictionaryVisitor, EntryVisitor, InnerListVisitor, ItemVisitor, ParameterVisitor},
};

use crate::{
    field_type::FieldType,
    parameter::{Value, write_parameter},
};

/// Why a field has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// Not of the field's type, or the type has no members.
    Malformed,
    /// The field lacks the member.
    Absent,
}

/// The whole value.
pub(crate) fn strict(value: &str, field_type: FieldType) -> Result<String, NoValue> {
    let parser = Parser::new(value);
    // A List or Dictionary without members has no serialisation; a present, empty field has an empty value.
    let text = match field_type {
        FieldType::Item => parser.parse::<Item>().map(|item| item.serialize()),
        FieldType::List => parser.parse::<List>().map(|list| list.serialize().unwrap_or_default()),
        FieldType::Dictionary => {
            parser.parse::<Dictionary>().map(|members| members.serialize().unwrap_or_default())
        }
    };
    text.map_err(|_| NoValue::Malformed)
}

/// The requested members of a Dictionary, each as RFC 9651 §4.1 serialises it.
///
/// A Dictionary may have thousands of members, and repeat one thousands of times. Each member is written while it is
/// read, over the earlier one of its name, so that every byte of the field costs about the same.
pub(crate) struct Members<'k>(BTreeMap<&'k str, Option<String>>);

impl<'k> Members<'k> {
    /// Reads a whole field, and keeps the members with these keys.
    pub(crate) fn read(
        value: &str,
        field_type: FieldType,
        keys: impl Iterator<Item = &'k str>,
    ) -> Result<Self, NoValue> {
        match field_type {
            FieldType::Dictionary => {}
            FieldType::Item | FieldType::List => return Err(NoValue::Malformed),
        }
        let asked = Self(keys.map(|key| (key, None)).collect());
        Parser::new(value).parse_dictionary_with_visitor(asked).map_err(|_| NoValue::Malformed)
    }

    /// The value of a requested member.
    pub(crate) fn value(&self, key: &str) -> Result<&str, NoValue> {
        self.0.get(key).and_then(Option::as_deref).ok_or(NoValue::Absent)
    }
}

impl<'de> DictionaryVisitor<'de> for Members<'_> {
    type Out = Self;
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        step();
        let member = self.0.get_mut(key.as_str()).map(Option::get_or_insert_default);
        Ok(member.map(|text| {
            text.clear();
            MemberWriter(text)
        }))
    }

    fn finish(self) -> Result<Self, Infallible> {
        Ok(self)
    }
}

/// Writes a member: an Item or an Inner List.
struct MemberWriter<'t>(&'t mut String);

impl<'de> EntryVisitor<'de> for MemberWriter<'_> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'de>, Infallible> {
        Ok(ItemWriter(self.0))
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        self.0.push('(');
        Ok(ListWriter { text: self.0, separator: "" })
    }
}

struct ItemWriter<'t>(&'t mut String);

impl<'de> ItemVisitor<'de> for ItemWriter<'_> {
    type Out = ();
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de, Out = ()>, Infallible> {
        step();
        let text: &mut String = ItemSerializer::with_buffer(self.0).bare_item(&item).finish();
        Ok(ParameterWriter { text, parameters: Vec::new(), places: HashMap::new() })
    }
}

struct ListWriter<'t> {
    text: &'t mut String,
    separator: &'static str,
}

impl<'de> InnerListVisitor<'de> for ListWriter<'_> {
    type Error = Infallible;

    fn item(&mut self) -> Result<impl ItemVisitor<'de>, Infallible> {
        self.text.push_str(std::mem::replace(&mut self.separator, " "));
        Ok(ItemWriter(self.text))
    }

    fn finish(self) -> Result<impl ParameterVisitor<'de>, Infallible> {
        self.text.push(')');
        let text = self.text;
        Ok(ParameterWriter { text, parameters: Vec::new(), places: HashMap::new() })
    }
}

/// Writes the parameters of an Item or an Inner List. A repeated name has the last value, in the first place (RFC 9651
/// §4.2.3.2).
struct ParameterWriter<'t, 'de> {
    text: &'t mut String,
    parameters: Vec<(&'de str, Value<'de>)>,
    /// Where each is, once there are too many to look through.
    places: HashMap<&'de str, usize>,
}

impl<'de> ParameterWriter<'_, 'de> {
    const FEW: usize = 8;

    fn place(&mut self, key: &str) -> Option<usize> {
        if self.parameters.len() <= Self::FEW {
            let is_it = |(other, _): &(&str, _)| {
                step();
                *other == key
            };
            return self.parameters.iter().position(is_it);
        }
        if self.places.is_empty() {
            let keys = self.parameters.iter().map(|(key, _)| *key);
            let counted = keys.inspect(|_| step());
            self.places = counted.enumerate().map(|(at, key)| (key, at)).collect();
        }
        self.places.get(key).copied()
    }
}

impl<'de> ParameterVisitor<'de> for ParameterWriter<'_, 'de> {
    type Out = ();
    type Error = Infallible;

    fn parameter(
        &mut self,
        key: &'de KeyRef,
        value: BareItemFromInput<'de>,
    ) -> Result<(), Infallible> {
        let (key, value) = (key.as_str(), Value::from(value));
        let place = self.place(key).and_then(|at| self.parameters.get_mut(at));
        if let Some((_, earlier)) = place {
            *earlier = value;
            return Ok(());
        }
        if !self.places.is_empty() {
            self.places.insert(key, self.parameters.len());
        }
        self.parameters.push((key, value));
        Ok(())
    }

    fn finish(self) -> Result<(), Infallible> {
        for (key, value) in &self.parameters {
            step();
            write_parameter(self.text, key, value);
        }
        Ok(())
    }
}

#[cfg(not(test))]
fn step() {}

/// Counts what is done for each piece of a field, so that a test can bound it without a clock.
#[cfg(test)]
fn step() {
    tests::STEPS.set(tests::STEPS.get().saturating_add(1));
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        pub(super) static STEPS: Cell<usize> = const { Cell::new(0) };
    }

    #[test]
    fn a_field_takes_steps_in_proportion_to_its_bytes_whatever_repeats_in_it() {
        let few: String = ('b'..='i').map(|name| format!(";{name}")).collect();
        let cases = [
            "a,".to_owned(),
            "a;b,".into(),
            "a;b;c;b;c;b,".into(),
            "a=(1 2 1;q;q);b,".into(),
            format!("a{few};j{few}{few},"),
            "b,".into(),
        ];
        let different = |from: usize| (from..from + 100).map(|at| format!(";p{at}"));
        for piece in cases {
            let steps = |times: usize| {
                STEPS.set(0);
                let field = piece.repeat(times);
                let field = field.trim_end_matches(',');
                Members::read(field, FieldType::Dictionary, ["a"].into_iter()).unwrap();
                (STEPS.get(), field.len())
            };
            let ((some, _), (many, bytes)) = (steps(100), steps(10_000));
            assert!(many <= some * 100, "{piece}: {some} and {many}");
            assert!(many <= bytes * 4, "{piece}: {many} for {bytes} bytes");
        }
        // Parameters of one member: different ones, and the same ones again.
        for rounds in [1, 10] {
            STEPS.set(0);
            let once: String = (0..20).flat_map(|hundreds| different(hundreds * 100)).collect();
            let field = format!("a{}", once.repeat(rounds));
            Members::read(&field, FieldType::Dictionary, ["a"].into_iter()).unwrap();
            assert!(STEPS.get() <= field.len(), "{} for {} bytes", STEPS.get(), field.len());
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("a"),
            Just("b"),
            Just("c"),
            Just("=1"),
            Just("=2.50"),
            Just("=?0"),
            Just("=(x y;q)"),
            Just("=\"a, b\""),
            Just(";p=1"),
            Just(";p"),
            Just(";q=\"r\""),
            Just(";r;s;t;u;v;w;x;y;z;p"),
            Just("=:AAE=:"),
            Just("=@1"),
            Just("=*/:t"),
            Just("=%\"%c3%a9\""),
            Just("="),
            Just(" "),
            Just(", "),
            Just(", "),
            Just(","),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_member_is_that_of_the_whole_dictionary(field in text()) {
            let keys = ["a", "b", "", "A"];
            let ours = Members::read(&field, FieldType::Dictionary, keys.into_iter());
            let whole = Parser::new(&field).parse::<Dictionary>();
            prop_assert_eq!(ours.is_ok(), whole.is_ok());
            if let (Ok(ours), Ok(mut whole)) = (ours, whole) {
                for key in keys {
                    let member = whole.swap_remove(key).and_then(|member| vec![member].serialize());
                    let ours = ours.value(key).map(str::to_owned);
                    prop_assert_eq!(ours, member.ok_or(NoValue::Absent));
                }
            }
        }
    }

    #[test]
    fn only_a_dictionary_has_members() {
        for field_type in [FieldType::Item, FieldType::List] {
            let members = Members::read("a", field_type, ["a"].into_iter());
            assert_eq!(members.err(), Some(NoValue::Malformed));
        }
    }

    #[test]
    fn of_what_repeats_the_last_counts_in_the_place_of_the_first() {
        let many: String = (0..2_000).map(|at| format!(";p{at}={at}")).collect();
        let again: String = (0..2_000).map(|at| format!(";p{at}")).collect();
        let table = [
            ("a;x;y;x=1, b, a=2;y;z;y=?0".to_owned(), "2;y=?0;z".to_owned()),
            ("a=(1 2);x, a=(t;q;r;q=1 s);x;x".into(), "(t;q=1;r s);x".into()),
            (format!("a{many}{again}"), format!("?1{again}")),
            (format!("a{many}{many}"), format!("?1{many}")),
        ];
        for (field, expected) in table {
            let members = Members::read(&field, FieldType::Dictionary, ["a"].into_iter()).unwrap();
            assert_eq!(members.value("a"), Ok(expected.as_str()), "{field:.60}");
        }
    }
}
