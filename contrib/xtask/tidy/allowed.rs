//! Exceptions, each with its reason. One that is not needed any more is a problem itself.

use super::Problem;

/// A problem that is none: a file, a part of what is said of it, and why it may be.
struct Exception {
    path: &'static str,
    what: &'static str,
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[Exception {
    path: "xeps/xep0280_carbons.rs",
    what: "urn:xmpp:forward:0",
    reason: "the wrapping of a copy is one text, written as it stands for every copy",
}];

/// Takes out what is allowed.
pub(super) fn apply(problems: Vec<Problem>) -> Vec<Problem> {
    without(problems, EXCEPTIONS)
}

fn without(problems: Vec<Problem>, exceptions: &[Exception]) -> Vec<Problem> {
    let fits = |exception: &Exception, problem: &Problem| {
        problem.path == exception.path && problem.what.contains(exception.what)
    };
    let is_idle = |exception: &&Exception| !problems.iter().any(|problem| fits(exception, problem));
    let told = |exception: &Exception| {
        let Exception { path, what, reason } = exception;
        Problem::new(path, 0, format!("the exception for {what:?} is not needed any more ({reason})"))
    };
    let idle: Vec<Problem> = exceptions.iter().filter(is_idle).map(told).collect();
    let is_left = |problem: &Problem| !exceptions.iter().any(|exception| fits(exception, problem));
    problems.into_iter().filter(is_left).chain(idle).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_covers_its_problem_and_nothing_else() {
        let exceptions = [Exception { path: "a.rs", what: "fn long", reason: "a table" }];
        let long = Problem::new("a.rs", 3, "fn long has 70 lines");
        for (problems, left) in [
            (vec![long.clone()], vec![]),
            (vec![long.clone(), Problem::new("a.rs", 9, "other")], vec!["a.rs:9: other"]),
            (vec![], vec!["a.rs: the exception for \"fn long\" is not needed any more (a table)"]),
            (
                vec![Problem::new("b.rs", 3, "fn long has 70 lines")],
                vec![
                    "b.rs:3: fn long has 70 lines",
                    "a.rs: the exception for \"fn long\" is not needed any more (a table)",
                ],
            ),
        ] {
            let found: Vec<_> = without(problems, &exceptions).iter().map(ToString::to_string).collect();
            assert_eq!(found, left);
        }
    }
}
