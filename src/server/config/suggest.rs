//! The nearest right word for a wrong one.

/// The candidate that `word` was probably meant to be: at most a third of its letters differ, two in
/// a short word. Two letters that changed places count as one.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean "x"?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_word_and_strange_words_find_none() {
        let words = ["domains", "data_dir", "log", "url"];
        for (wrong, want) in [
            ("domian", Some("domains")),
            ("Data-Dir", Some("data_dir")),
            ("datadir", Some("data_dir")),
            ("ulr", Some("url")),
            ("lgo", Some("log")),
            ("elephant", None),
            ("xy", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, words), want, "{wrong}");
        }
    }
}
