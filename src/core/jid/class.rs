//! Which characters an address may hold: the string classes of PRECIS (RFC 8264 §4) and the contexts that
//! some characters need (RFC 5892 appendix A).
//!
//! The derived property is computed from the Unicode tables of the `idna` crate, not looked up in the registry,
//! which stands at Unicode 6.3: there a fox face (Unicode 9) would be no nickname, and its owner's messages
//! lost. Text is judged in one pass, whatever contexts it claims.

use icu_properties::{
    CodePointMapData, CodePointSetData,
    props::{
        CanonicalCombiningClass, ChangesWhenNfkcCasefolded, DefaultIgnorableCodePoint, GeneralCategory,
        HangulSyllableType, JoiningType, Script,
    },
};
use precis_profiles::{Nickname, precis_core::profile::Rules};

/// A string class of PRECIS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters, digits and visible ASCII: usernames, and labels of a domain.
    Identifier,
    /// Symbols, punctuation, spaces and compatibility characters as well.
    Freeform,
}

/// The derived property of a character (RFC 8264 §8). Nothing distinguishes here what is unassigned from what
/// is disallowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Derived {
    Valid,
    FreeformOnly,
    InContext,
    Disallowed,
}

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const KATAKANA_MIDDLE_DOT: char = '\u{30fb}';

/// Checks every character of `text`. The error is the first that is not allowed, or not where it stands.
pub(super) fn check(text: &str, class: Class) -> Result<(), char> {
    let mut seen = Seen::default();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let is_allowed = match derived(c) {
            Derived::Valid => true,
            Derived::FreeformOnly => class == Class::Freeform,
            Derived::InContext => seen.allows(c, rest.as_str()),
            Derived::Disallowed => false,
        };
        if !is_allowed {
            return Err(c);
        }
        seen.add(c);
    }
    seen.finish()
}

/// What the contexts need to know about the text so far.
#[derive(Default)]
struct Seen {
    last: Option<char>,
    /// The joining type of the last character that is not transparent.
    joining: Option<JoiningType>,
    has_kana_or_han: bool,
    has_katakana_dot: bool,
    arabic_digits: ArabicDigits,
}

/// Which of the two kinds of Arabic digits a text has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ArabicDigits {
    #[default]
    None,
    ArabicIndic,
    Extended,
}

impl Seen {
    /// The rules of RFC 5892 appendix A, but for the one that waits for the [`finish`](Self::finish).
    fn allows(&self, c: char, rest: &str) -> bool {
        let script_is = |neighbour: Option<char>, script| {
            neighbour.is_some_and(|neighbour| CodePointMapData::<Script>::new().get(neighbour) == script)
        };
        match c {
            ZERO_WIDTH_NON_JOINER => self.last_is_virama() || self.joins_across(rest), // A.1
            ZERO_WIDTH_JOINER => self.last_is_virama(),                                // A.2
            '\u{b7}' => self.last == Some('l') && rest.starts_with('l'),               // A.3
            '\u{375}' => script_is(rest.chars().next(), Script::Greek),                // A.4
            '\u{5f3}' | '\u{5f4}' => script_is(self.last, Script::Hebrew),             // A.5, A.6
            '\u{660}'..='\u{669}' => self.arabic_digits != ArabicDigits::Extended,     // A.8
            '\u{6f0}'..='\u{6f9}' => self.arabic_digits != ArabicDigits::ArabicIndic,  // A.9
            _ => true,                                                                 // A.7
        }
    }

    fn add(&mut self, c: char) {
        self.last = Some(c);
        if c.is_ascii() {
            self.joining = Some(JoiningType::NonJoining);
            return;
        }
        let joining = joining_type(c);
        if joining != JoiningType::Transparent {
            self.joining = Some(joining);
        }
        match c {
            KATAKANA_MIDDLE_DOT => self.has_katakana_dot = true,
            '\u{660}'..='\u{669}' => self.arabic_digits = ArabicDigits::ArabicIndic,
            '\u{6f0}'..='\u{6f9}' => self.arabic_digits = ArabicDigits::Extended,
            _ if !self.has_kana_or_han => {
                let script = CodePointMapData::<Script>::new().get(c);
                self.has_kana_or_han = matches!(script, Script::Hiragana | Script::Katakana | Script::Han);
            }
            _ => {}
        }
    }

    /// A.7: a Katakana middle dot needs Hiragana, Katakana or Han somewhere.
    fn finish(&self) -> Result<(), char> {
        if self.has_katakana_dot && !self.has_kana_or_han { Err(KATAKANA_MIDDLE_DOT) } else { Ok(()) }
    }

    fn last_is_virama(&self) -> bool {
        self.last.is_some_and(|c| {
            CodePointMapData::<CanonicalCombiningClass>::new().get(c) == CanonicalCombiningClass::Virama
        })
    }

    /// Whether letters join from the left and from the right, with nothing but transparent ones between. The
    /// search forward ends at the next non-joiner, so all searches in a text together pass it once.
    fn joins_across(&self, rest: &str) -> bool {
        matches!(self.joining, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
            && rest
                .chars()
                .map(joining_type)
                .find(|joining| *joining != JoiningType::Transparent)
                .is_some_and(|joining| {
                    matches!(joining, JoiningType::RightJoining | JoiningType::DualJoining)
                })
    }
}

fn joining_type(c: char) -> JoiningType {
    CodePointMapData::<JoiningType>::new().get(c)
}

/// RFC 8264 §8, in the order that it prescribes.
fn derived(c: char) -> Derived {
    use GeneralCategory as G;

    if c.is_ascii() {
        return match c {
            '!'..='~' => Derived::Valid, // §9.11
            ' ' => Derived::FreeformOnly,
            _ => Derived::Disallowed,
        };
    }
    if let Some(derived) = exception(c) {
        return derived;
    }
    if matches!(c, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER) {
        return Derived::InContext;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    let is_letter_or_digit = match category {
        G::LowercaseLetter
        | G::UppercaseLetter
        | G::OtherLetter
        | G::DecimalNumber
        | G::ModifierLetter
        | G::NonspacingMark
        | G::SpacingMark => true, // §9.1
        G::TitlecaseLetter
        | G::LetterNumber
        | G::OtherNumber
        | G::EnclosingMark // §9.18
        | G::SpaceSeparator // §9.14
        | G::MathSymbol
        | G::CurrencySymbol
        | G::ModifierSymbol
        | G::OtherSymbol // §9.15
        | G::ConnectorPunctuation
        | G::DashPunctuation
        | G::OpenPunctuation
        | G::ClosePunctuation
        | G::InitialPunctuation
        | G::FinalPunctuation
        | G::OtherPunctuation => false, // §9.16
        // Unassigned, control, format, private use, surrogate, line and paragraph separator.
        _ => return Derived::Disallowed,
    };
    if is_old_hangul_jamo(c) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c) {
        return Derived::Disallowed; // §9.9, §9.13
    }
    if is_letter_or_digit && !has_compatibility_form(c) { Derived::Valid } else { Derived::FreeformOnly }
}

/// §9.6, which is RFC 5892 §2.6.
fn exception(c: char) -> Option<Derived> {
    match c {
        '\u{df}' | '\u{3c2}' | '\u{6fd}' | '\u{6fe}' | '\u{f0b}' | '\u{3007}' => Some(Derived::Valid),
        '\u{b7}'
        | '\u{375}'
        | '\u{5f3}'
        | '\u{5f4}'
        | '\u{660}'..='\u{669}'
        | '\u{6f0}'..='\u{6f9}'
        | KATAKANA_MIDDLE_DOT => Some(Derived::InContext),
        '\u{640}' | '\u{7fa}' | '\u{302e}' | '\u{302f}' | '\u{3031}'..='\u{3035}' | '\u{303b}' => {
            Some(Derived::Disallowed)
        }
        _ => None,
    }
}

fn is_old_hangul_jamo(c: char) -> bool {
    matches!(
        CodePointMapData::<HangulSyllableType>::new().get(c),
        HangulSyllableType::LeadingJamo | HangulSyllableType::VowelJamo | HangulSyllableType::TrailingJamo
    )
}

/// §9.17: whether NFKC changes the character. Where not even NFKC with case folding does, NFKC alone does not,
/// and the slow question is spared. NFKC is the normalisation of the Nickname profile (RFC 8266 §2.1).
fn has_compatibility_form(c: char) -> bool {
    if !CodePointSetData::new::<ChangesWhenNfkcCasefolded>().contains(c) {
        return false;
    }
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    Nickname::new().normalization_rule(text).is_ok_and(|normal| normal != text)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use precis_profiles::precis_core::{DerivedPropertyValue, FreeformClass, IdentifierClass, StringClass};

    use super::*;

    /// New tables may add addresses, but must not change or end one that exists. The registry of PRECIS (Unicode
    /// 6.3) is the oldest state that an address can come from.
    #[test]
    fn no_character_of_the_registry_has_changed() {
        let mut compared = 0;
        for c in ('\0'..='\u{2ffff}').chain('\u{e0000}'..='\u{e0fff}') {
            let identifier = IdentifierClass::default().get_value_from_char(c);
            let registered = match (identifier, FreeformClass::default().get_value_from_char(c)) {
                (DerivedPropertyValue::Unassigned, _) => continue,
                (DerivedPropertyValue::PValid, _) => Derived::Valid,
                (_, DerivedPropertyValue::SpecClassPval) => Derived::FreeformOnly,
                (DerivedPropertyValue::ContextJ | DerivedPropertyValue::ContextO, _) => Derived::InContext,
                _ => Derived::Disallowed,
            };
            assert_eq!(derived(c), registered, "U+{:04X}", u32::from(c));
            compared += 1;
        }
        // Unicode 6.3 assigns 110,187 characters, and 6,400 for private use and 65 controls are below U+30000.
        assert!(compared > 110_187, "{compared}");
    }

    #[test]
    fn characters_of_later_unicode_versions_are_known() {
        for (c, derived_value) in [
            ('\u{1f98a}', Derived::FreeformOnly), // fox face, 9.0
            ('\u{1fae0}', Derived::FreeformOnly), // melting face, 14.0
            ('\u{20c0}', Derived::FreeformOnly),  // som sign, 14.0
            ('\u{10d30}', Derived::Valid),        // Hanifi Rohingya digit zero, 11.0
            ('\u{1e922}', Derived::Valid),        // Adlam small letter alif, 9.0
            ('\u{a7ae}', Derived::Valid),         // Latin capital letter small capital I, 9.0
            ('\u{107a0}', Derived::FreeformOnly), // modifier letter with a compatibility form, 14.0
            ('\u{378}', Derived::Disallowed),     // unassigned still
        ] {
            assert_eq!(derived(c), derived_value, "U+{:04X}", u32::from(c));
        }
    }

    /// The rules of RFC 5892 appendix A.
    #[test]
    fn some_characters_depend_on_their_context() {
        for (text, result) in [
            ("\u{915}\u{94d}\u{200c}\u{937}", Ok(())), // A.1, behind a virama
            ("\u{644}\u{200c}\u{627}", Ok(())),        // A.1, dual joining before right joining
            ("\u{644}\u{64e}\u{200c}\u{64e}\u{627}", Ok(())), // A.1, with transparent marks between
            ("\u{a872}\u{200c}\u{627}", Ok(())),       // A.1, left joining before right joining
            ("\u{627}\u{200c}\u{627}", Err('\u{200c}')), // A.1, right joining joins nothing that follows
            ("\u{644}\u{200c}a", Err('\u{200c}')),     // A.1, nothing to join behind it
            ("\u{644}\u{64e}\u{200c}", Err('\u{200c}')), // A.1, the end of the text
            ("\u{200c}\u{627}", Err('\u{200c}')),      // A.1, the beginning of the text
            ("\u{644}a\u{200c}\u{627}", Err('\u{200c}')), // A.1, a letter that does not join between
            ("\u{644}\u{200c}\u{200c}\u{627}", Err('\u{200c}')), // A.1, a second one between
            ("\u{915}\u{94d}\u{200d}", Ok(())),        // A.2
            ("a\u{200d}b", Err('\u{200d}')),           // A.2
            ("\u{200d}", Err('\u{200d}')),             // A.2
            ("l\u{b7}l", Ok(())),                      // A.3
            ("l\u{b7}l\u{b7}l", Ok(())),               // A.3
            ("a\u{b7}l", Err('\u{b7}')),               // A.3
            ("l\u{b7}a", Err('\u{b7}')),               // A.3
            ("l\u{b7}", Err('\u{b7}')),                // A.3
            ("\u{b7}l", Err('\u{b7}')),                // A.3
            ("\u{375}\u{3b1}", Ok(())),                // A.4
            ("\u{375}a", Err('\u{375}')),              // A.4
            ("\u{3b1}\u{375}", Err('\u{375}')),        // A.4
            ("\u{5d0}\u{5f3}", Ok(())),                // A.5
            ("a\u{5f3}", Err('\u{5f3}')),              // A.5
            ("\u{5f3}\u{5d0}", Err('\u{5f3}')),        // A.5
            ("\u{5d0}\u{5f4}\u{5d1}", Ok(())),         // A.6
            ("\u{5f4}", Err('\u{5f4}')),               // A.6
            ("\u{30fb}\u{30a2}", Ok(())),              // A.7, Katakana
            ("\u{3042}a\u{30fb}", Ok(())),             // A.7, Hiragana
            ("\u{30fb}\u{30fb}\u{4e00}", Ok(())),      // A.7, Han
            ("a\u{30fb}b", Err('\u{30fb}')),           // A.7
            ("\u{661}\u{662}", Ok(())),                // A.8
            ("\u{661}\u{6f2}", Err('\u{6f2}')),        // A.8
            ("\u{6f1}\u{6f2}", Ok(())),                // A.9
            ("\u{6f1}a\u{662}", Err('\u{662}')),       // A.9
        ] {
            assert_eq!(check(text, Class::Identifier), result, "{text:?}");
            assert_eq!(check(text, Class::Freeform), result, "{text:?}");
        }
    }

    #[test]
    fn the_classes_differ_in_symbols_spaces_and_compatibility() {
        for text in ["a b", "\u{2163}", "\u{265a}", "\u{a0}", "\u{201c}", "\u{fb01}", "\u{1c5}", "\u{488}"] {
            assert!(check(text, Class::Identifier).is_err(), "{text:?}");
            assert_eq!(check(text, Class::Freeform), Ok(()), "{text:?}");
        }
        for text in
            ["\u{7f}", "\u{ad}", "\u{34f}", "\u{1100}", "\u{2028}", "\u{202e}", "\u{e000}", "\u{fe0f}"]
        {
            assert!(check(text, Class::Identifier).is_err(), "{text:?}");
            assert!(check(text, Class::Freeform).is_err(), "{text:?}");
        }
    }
}
