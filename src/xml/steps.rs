//! What reading costs, counted: bytes looked at, names compared. Only tests count; elsewhere this is nothing.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// So many steps more.
#[cfg(test)]
pub(crate) fn add(steps: usize) {
    STEPS.set(STEPS.get().saturating_add(steps));
}

#[cfg(not(test))]
#[inline]
pub(crate) const fn add(_: usize) {}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;
    use crate::{Limits, cases::read};

    const N: usize = 2_000;
    /// None but one of bytes, which makes the reader look at how long an element is when it is written.
    const LIMITS: Limits = Limits { element_bytes_max: 1 << 20, ..Limits::none() };
    const WHOLE: usize = usize::MAX;
    /// The steps that `input` takes in pieces of `cut` bytes.
    fn steps(input: &str, cut: usize, limits: &Limits) -> usize {
        let before = STEPS.get();
        let _read = std::hint::black_box(read(input.as_bytes().chunks(cut), limits));
        STEPS.get() - before
    }

    fn times(count: usize, piece: impl Fn(usize) -> String) -> String {
        (0..count).map(piece).collect()
    }

    /// Input of a kind that invites to look at much again and again, of a size that grows with `n`.
    fn hard(kind: &str, n: usize) -> String {
        // The larger of two inputs is still as deep as the ceiling allows.
        let levels = n * Limits::DEPTH_CEILING / (4 * N);
        match kind {
            "attributes" => format!("<r><a{}/>", times(n, |n| format!(" a{n}=''"))),
            "attributes, the last one twice" => {
                format!("<r><a{} a{}=''/>", times(n, |n| format!(" a{n}=''")), n - 1)
            }
            "declarations" => format!("<r><a{}/>", times(n, |n| format!(" xmlns:p{n}='u'"))),
            "declarations that are used" => {
                format!("<r><a{}/>", times(n, |n| format!(" xmlns:p{n}='u{n}' p{n}:b=''")))
            }
            "declarations that hide others" => {
                let open = times(levels, |n| format!("<p:a xmlns:p='u{n}'>"));
                format!("<r>{open}{}", "</p:a>".repeat(levels))
            }
            "a declaration comes and goes" => {
                let sixteen = times(16, |n| format!(" xmlns:p{n}='u'"));
                format!("<r><a{sixteen}>{}</a>", times(n, |n| format!("<q{n}:b xmlns:q{n}='u'/>")))
            }
            "declarations of the root" => {
                let declared = times(n, |n| format!(" xmlns:p{n}='u{n}'"));
                format!("<r{declared}><a>{}</a>", times(n, |n| format!("<p{n}:b/>")))
            }
            "depth" => format!("<r>{}{}", "<a>".repeat(levels), "</a>".repeat(levels)),
            "depth with prefixes" => {
                let open = times(levels, |n| format!("<p{n}:a xmlns:p{n}='u'>"));
                format!("<r>{open}{}", times(levels, |n| format!("</p{}:a>", levels - 1 - n)))
            }
            "children" => format!("<r><a>{}</a>", "<b/>x".repeat(n)),
            "stanzas" => format!("<r>{}", "<b/> ".repeat(n)),
            "text" => format!("<r><a>{}</a>", "x".repeat(n)),
            "unfinished text" => format!("<r><a>{}", "x".repeat(n)),
            "references" => format!("<r><a>{}</a>", "&lt;".repeat(n)),
            "a reference without its end" => format!("<r><a>{}</a>", "&x".repeat(n)),
            "line ends" => format!("<r><a>{}</a>", "\r".repeat(n)),
            "brackets" => format!("<r><a><![CDATA[{}]]></a>", "]".repeat(n)),
            "sections" => format!("<r><a>{}</a>", "<![CDATA[]]]]>".repeat(n)),
            "a value" => format!("<r><a b='{}'/>", "x".repeat(n)),
            "a value of references" => format!("<r><a b='{}'/>", "&lt;".repeat(n)),
            "a value of other quotes" => format!("<r><a b='{}'/>", "\"&apos;".repeat(n)),
            "an unfinished tag" => format!("<r><a{}", times(n, |n| format!(" a{n}=''"))),
            "an unfinished value" => format!("<r><a b='{}", "x".repeat(n)),
            "an unfinished name" => format!("<r><a{}", "x".repeat(n)),
            "an unfinished end" => format!("<r><a></a{}", " ".repeat(n)),
            "space" => format!("<r>{}", " ".repeat(n)),
            "the root" => format!("<r{}>", times(n, |n| format!(" a{n}=''"))),
            _ => panic!("no such kind: {kind}"),
        }
    }

    #[test]
    fn reading_is_linear_in_the_input() {
        for kind in [
            "attributes",
            "attributes, the last one twice",
            "declarations",
            "declarations that are used",
            "declarations that hide others",
            "a declaration comes and goes",
            "declarations of the root",
            "depth",
            "depth with prefixes",
            "children",
            "stanzas",
            "text",
            "unfinished text",
            "references",
            "a reference without its end",
            "line ends",
            "brackets",
            "sections",
            "a value",
            "a value of references",
            "a value of other quotes",
            "an unfinished tag",
            "an unfinished value",
            "an unfinished name",
            "an unfinished end",
            "space",
            "the root",
        ] {
            for cut in [1, 100, WHOLE] {
                let [few, many] = [N, 4 * N].map(|n| {
                    let input = hard(kind, n);
                    (input.len(), steps(&input, cut, &LIMITS))
                });
                // Sorting makes four times as many names cost a little more than four times as much.
                let grown = 5 * many.0.div_ceil(4);
                let linear = few.1 * grown / few.0;
                assert!(many.1 <= linear, "{kind} in pieces of {cut}: {} steps, then {}", few.1, many.1);
                // Whatever is counted is counted here as well: a count of nothing proves nothing.
                assert!(few.1 >= few.0, "{kind} in pieces of {cut}: {} steps in {} bytes", few.1, few.0);
            }
        }
    }
}
