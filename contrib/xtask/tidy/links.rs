//! A link of a Markdown page to a file of ours leads there.

use super::Problem;
use super::tree::Tree;
use crate::root::Root;

pub(super) fn problems(root: &Root, tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for file in tree.files.iter().filter(|file| file.has_extension("md")) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (line, text) in file.lines() {
            for target in targets(text) {
                if !root.has(format!("{folder}/{target}").trim_start_matches('/')) {
                    problems.push(Problem::new(
                        &file.path,
                        line,
                        format!("the link to {target:?} leads nowhere"),
                    ));
                }
            }
        }
    }
    problems
}

/// The files that a line links to.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = links.filter_map(|link| link.split('#').next());
    files.filter(|file| !file.is_empty() && !file.contains(':'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn broken_links_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::new(folder.path()).unwrap();
        root.write("xeps/lib.rs", "//! .").unwrap();
        let page = "[a](lib.rs) [b](../README.md#top)\n[c](gone.rs)\n[d](https://xmpp.org/x) [e](#here)\n";
        root.write("xeps/README.md", page).unwrap();
        root.write("README.md", "[x](xeps/lib.rs) [y](xeps/gone.rs)\n").unwrap();
        let (tree, _) = Tree::read(&root).unwrap();
        let found: Vec<_> = problems(&root, &tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "README.md:1: the link to \"xeps/gone.rs\" leads nowhere",
                "xeps/README.md:2: the link to \"gone.rs\" leads nowhere",
            ]
        );
    }
}
