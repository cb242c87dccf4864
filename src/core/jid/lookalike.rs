//! Names that people take for one another (UTS 39), and the tables that names depend on.
//!
//! Two rules hold where an account is created, for its localpart. It must not mix writing systems: the level is
//! "highly restrictive" (§5.2), one script, or Latin with those of Chinese, Japanese or Korean. And its skeleton (§4),
//! in which characters that look alike are one, must not be that of another account of the domain: whole words of
//! another script look like Latin ones, and so do `rn` and `m`, `l` and `1`.
//!
//! Which characters may be in a name at all is decided by PRECIS. The identifier status of UTS 39 is not asked: it
//! leaves out scripts that few people write in.

use unicode_script::Script;
use unicode_security::{confusable_detection::skeleton, mixed_script::AugmentedScriptSet};

use super::BareJid;

/// A short name of what [`unicode_tables`] stands for, but for the tables of the standard library. A test says what it
/// has to be. It changes when a crate brings other tables.
const CRATES: &str = "06e6521a5891ba43";

/// The version of the tables that names depend on: with the same version, every name is mapped as it was. Where it is
/// another one than before, existing names have to be looked at.
pub fn unicode_tables() -> String {
    let (major, minor, _) = unicode_security::UNICODE_VERSION;
    let (case_major, case_minor, _) = char::UNICODE_VERSION;
    format!("Unicode {major}.{minor}, case mapping of {case_major}.{case_minor}, {CRATES}")
}

impl BareJid {
    /// What all addresses have in common that look like this one: the skeleton of the localpart (UTS 39 §4), and the
    /// domain. It is not shown to anybody, and is no address.
    pub fn skeleton(&self) -> String {
        let local = self.local().map(|local| skeleton(local).chain(['@']));
        local.into_iter().flatten().chain(self.domain().chars()).collect()
    }

    /// Whether the localpart has letters of several scripts that no writing system has together.
    pub fn mixes_scripts(&self) -> bool {
        let mut all = AugmentedScriptSet::default();
        let mut but_latin = AugmentedScriptSet::default();
        for scripts in self.local().unwrap_or_default().chars().map(AugmentedScriptSet::for_char) {
            all.intersect_with(scripts);
            if !scripts.base.contains_script(Script::Latin) {
                but_latin.intersect_with(scripts);
            }
        }
        all.is_empty() && !(but_latin.hanb || but_latin.jpan || but_latin.kore)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::arithmetic_side_effects)]

    use super::super::{domain, precis};
    use super::*;

    fn name(local: &str) -> BareJid {
        BareJid::new(Some(local), "example.org").unwrap_or_else(|error| panic!("{local:?}: {error}"))
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("paypal", "p\u{430}yp\u{430}l"),                 // Cyrillic a
            ("paypal", "paypa1"),                             // a digit
            ("scope", "\u{455}\u{441}\u{43e}\u{440}\u{435}"), // UTS 39 §4: all of it Cyrillic
            ("apple", "\u{430}\u{440}\u{440}\u{4cf}\u{435}"),
            ("epic", "\u{435}\u{440}\u{456}\u{441}"),
            ("jo", "\u{458}\u{3bf}"), // Cyrillic and Greek
            ("voip", "\u{3bd}oip"),   // Greek nu
            ("modern", "modem"),
            ("s\u{f8}s", "so\u{337}s"),   // UTS 39 §4: a stroke of its own
            ("jos\u{e9}", "jose\u{301}"), // one name, in fact
            ("\u{5de5}\u{53e3}", "\u{30a8}\u{30ed}"), // Han and Katakana
            ("\u{643}\u{647}", "\u{6a9}\u{6c1}"), // Arabic and Persian letters
            ("al\u{131}ce", "al\u{269}ce"), // i without a dot, iota
            ("\u{585}\u{585}", "oo"),     // Armenian oh
        ] {
            assert_eq!(name(one).skeleton(), name(other).skeleton(), "{one} and {other}");
        }
    }

    #[test]
    fn names_that_differ_have_their_own() {
        for (one, other) in [
            ("alice", "bob"),
            ("user1", "user2"),
            ("jose", "jos\u{e9}"),
            ("muller", "m\u{fc}ller"),
            ("a.b", "ab"),
            ("ivan", "\u{438}\u{432}\u{430}\u{43d}"),
            ("\u{5c71}\u{7530}", "\u{5c71}\u{672c}"),
        ] {
            assert_ne!(name(one).skeleton(), name(other).skeleton(), "{one} and {other}");
        }
        let elsewhere = BareJid::new(Some("alice"), "example.net").unwrap();
        assert_ne!(name("alice").skeleton(), elsewhere.skeleton(), "another domain is another matter");
    }

    #[test]
    fn a_name_is_of_one_writing_system() {
        for local in [
            "alice",
            "alice.o-neill",
            "user_42+test",
            "42",
            "stra\u{df}e",
            "\u{142}\u{f3}d\u{17a}",
            "\u{3b1}\u{3bb}\u{3af}\u{3ba}\u{3b7}",
            "\u{438}\u{432}\u{430}\u{43d}.7",
            "\u{561}\u{576}\u{56b}",
            "\u{5d3}\u{5d5}\u{5d3}",
            "\u{645}\u{62d}\u{645}\u{62f}",
            "\u{930}\u{93e}\u{92e}",
            "\u{9b0}\u{9be}\u{9ae}",
            "\u{ba4}\u{bae}\u{bbf}\u{bb4}\u{bcd}",
            "\u{e2a}\u{e21}\u{e0a}\u{e32}\u{e22}",
            "\u{10d2}\u{10d8}\u{10dd}",
            "\u{1230}\u{120b}\u{121d}",
            "\u{1781}\u{17d2}\u{1798}\u{17c2}\u{179a}",
            "\u{c720}\u{b9ac}",
            "\u{5c71}\u{7530}",
            "\u{305f}\u{308d}\u{3046}",
            "\u{30bf}\u{30ed}\u{30a6}",
            "\u{3105}\u{3106}",
            // Japanese, Korean and Chinese are written with several, and with Latin letters (UTS 39 §5.1, §5.2).
            "\u{5c71}\u{7530}\u{305f}\u{308d}\u{30bf}\u{30fc}",
            "ken\u{5c71}\u{7530}\u{305f}\u{308d}\u{30a6}",
            "\u{6f22}\u{c720}\u{b9ac}",
            "kim\u{6f22}\u{c720}",
            "\u{4e2d}\u{3105}\u{3106}",
            "li\u{4e2d}\u{3105}",
        ] {
            assert!(!name(local).mixes_scripts(), "{local}");
        }
        assert!(!BareJid::new(None, "example.org").unwrap().mixes_scripts());
        for local in [
            "p\u{430}yp\u{430}l",
            "\u{3b1}lice",
            "\u{438}van",
            "jos\u{435}\u{301}",
            "\u{438}\u{3b1}",
            "\u{585}scar",
            "abc\u{930}",
            "lek\u{e01}",
            "\u{c720}\u{305f}",
            "\u{3105}\u{30bf}",
            "\u{5c71}\u{438}",
            "\u{13a0}a",
        ] {
            assert!(name(local).mixes_scripts(), "{local}");
        }
    }

    /// Whoever upgrades a crate with tables learns it here, and puts the new number into [`CRATES`], so that servers
    /// look at their accounts again when they are upgraded.
    #[test]
    fn the_tables_are_those_that_their_version_stands_for() {
        const CASE_MAPPING: (u8, u8, u8) = (17, 0, 0);
        if char::UNICODE_VERSION != CASE_MAPPING {
            println!("the standard library is of Unicode {:?}: not compared", char::UNICODE_VERSION);
            return;
        }
        // No characters will be assigned in other planes before long, or ever.
        let assigned = ('\0'..'\u{40000}').chain('\u{e0000}'..'\u{e1000}');
        let hash = assigned.filter(|c| !c.is_ascii()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, c| {
            let mut utf8 = [0; 4];
            let text = &*c.encode_utf8(&mut utf8);
            let after_a = format!("a{text}"); // what cannot come first may come second
            let local = precis::local(text).or_else(|_| precis::local(&after_a));
            let local = local.map(|local| skeleton(&local).chain([' ']).chain(local.chars()).collect());
            let resource = precis::resource(text).map(String::from);
            let parts: [Option<String>; 3] =
                [local.ok(), resource.ok(), domain::enforce(text).ok().map(String::from)];
            let bytes = parts.iter().flat_map(|part| part.iter().flat_map(|part| part.bytes()).chain([0xff]));
            bytes.fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)) // FNV-1a
        });
        assert_eq!(format!("{hash:016x}"), CRATES);
    }
}
