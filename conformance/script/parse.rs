//! From the text of a script to its steps. All that can be wrong is found here, before it runs.

use std::collections::BTreeSet;

use super::block::{Statement, statements};
use super::pattern::Variable;
use super::steps::is_account;
use super::{
    Action, Choice, Comparison, Connect, DeviceName, Level, Need, Pattern, Place, Script, Step, Template,
};
use crate::xml;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ParseError {
    /// Counted from 1.
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Reads a script.
pub(crate) fn parse(source: &str) -> Result<Script, ParseError> {
    let statements = statements(source)
        .map_err(|line| ParseError { line, message: "an indented line below no statement".to_owned() })?;
    let mut parser = Parser::default();
    for statement in &statements {
        parser.read(statement).map_err(|message| ParseError { line: statement.line, message })?;
    }
    parser.finish().map_err(|message| ParseError { line: 1, message })
}

#[derive(Default)]
struct Parser {
    spec: Option<String>,
    says: Option<String>,
    needs: Vec<Need>,
    accounts: BTreeSet<String>,
    ghosts: BTreeSet<String>,
    steps: Vec<Step>,
    /// Uses of variables, to be checked when all accounts and devices are known.
    uses: Vec<(usize, String)>,
    captured: BTreeSet<String>,
    devices: BTreeSet<DeviceName>,
}

impl Parser {
    fn read(&mut self, statement: &Statement<'_>) -> Result<(), String> {
        let &Statement { line, text, .. } = statement;
        if let Some((key, value)) = text.split_once(": ").filter(|(key, _)| is_account(key)) {
            return self.header(key, value.trim());
        }
        let action = match text.split_once(' ') {
            Some(("no", rest)) => return self.ghost(rest),
            Some(("account", name)) => return self.account(name),
            Some(("check", rest)) => self.check(line, rest)?,
            Some((first, rest)) if first.contains('/') => self.device_step(statement, first, rest)?,
            _ => return self.subscription(line, text),
        };
        if statement.block.is_some() && !takes_block(&action) {
            return Err("no block belongs here".to_owned());
        }
        if let Some(device) = action.device() {
            self.accounts.insert(device.account().to_owned());
        }
        self.push(line, action)
    }

    fn push(&mut self, line: usize, action: Action) -> Result<(), String> {
        let is_late = self.steps.iter().any(|step| !step.action.is_setup());
        if is_late && action.is_setup() && !matches!(action, Action::Ignore { .. }) {
            return Err("what is set up stands before the first other step".to_owned());
        }
        self.steps.push(Step { line, action });
        Ok(())
    }

    fn header(&mut self, key: &str, value: &str) -> Result<(), String> {
        if !self.steps.is_empty() {
            return Err(format!("{key}: belongs above the steps"));
        }
        match key {
            "spec" if self.spec.is_none() && value.contains('§') => self.spec = Some(value.to_owned()),
            "spec" => return Err("spec: names one document and its section, once".to_owned()),
            "says" if self.says.is_none() => self.says = Some(value.to_owned()),
            "needs" => {
                for need in value.split(',') {
                    self.needs.push(Need::parse(need.trim())?);
                }
            }
            _ => return Err(format!("{key}: is not known here")),
        }
        Ok(())
    }

    fn account(&mut self, name: &str) -> Result<(), String> {
        if !is_account(name) {
            return Err(format!("{name:?} is no name for an account"));
        }
        self.accounts.insert(name.to_owned());
        Ok(())
    }

    /// `no account NAME`
    fn ghost(&mut self, rest: &str) -> Result<(), String> {
        let name = rest.strip_prefix("account ").filter(|name| is_account(name));
        self.ghosts.insert(name.ok_or("expected: no account NAME")?.to_owned());
        Ok(())
    }

    /// `A and B are friends`, `A is subscribed to B`
    fn subscription(&mut self, line: usize, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        let pairs = match words.as_slice() {
            [a, "and", b, "are", "friends"] => vec![(*a, *b), (*b, *a)],
            [a, "is", "subscribed", "to", b] => vec![(*a, *b)],
            _ => return Err(format!("not understood: {text}")),
        };
        for (reader, writer) in pairs {
            self.account(reader)?;
            self.account(writer)?;
            let (reader, writer) = (reader.to_owned(), writer.to_owned());
            self.push(line, Action::Subscribe { reader, writer })?;
        }
        Ok(())
    }

    fn check(&mut self, line: usize, rest: &str) -> Result<Action, String> {
        let comparisons = [
            (" is not ", Comparison::IsNot),
            (" is ", Comparison::Is),
            (" <= ", Comparison::LessOrEqual),
            (" < ", Comparison::Less),
        ];
        for (words, comparison) in comparisons {
            if let Some((left, right)) = rest.split_once(words) {
                let (left, right) = (self.template(line, left)?, self.template(line, right)?);
                return Ok(Action::Check { left, comparison, right });
            }
        }
        Err("expected: check A is B, is not, < or <=".to_owned())
    }

    fn device_step(&mut self, statement: &Statement<'_>, first: &str, rest: &str) -> Result<Action, String> {
        let line = statement.line;
        let (name, is_genitive) = match first.strip_suffix("'s") {
            Some(name) => (name, true),
            None => (first, false),
        };
        let device = DeviceName::parse(name).ok_or_else(|| format!("{name} is no device"))?;
        if is_genitive {
            return match rest {
                "stream is closed" => Ok(Action::StreamIsClosed(device)),
                "connection ends" => Ok(Action::ConnectionEnds(device)),
                _ => Err(format!("not understood: {rest}")),
            };
        }
        let words: Vec<&str> = rest.split(' ').collect();
        match words.as_slice() {
            ["is", "online", options @ ..] => self.connect(device, Level::Online, options),
            ["connects", "up", "to", level, options @ ..] => {
                self.connect(device, Level::parse(level)?, options)
            }
            ["connects", options @ ..] => self.connect(device, Level::Bound, options),
            ["sends:"] => self.send(line, device, 1, statement),
            ["sends", times, "times:"] => {
                let times = times.parse().map_err(|_| format!("{times} is no number"))?;
                self.send(line, device, times, statement)
            }
            ["sends", "raw:"] => {
                let text = self.template(line, block(statement)?)?;
                Ok(Action::SendRaw { device, text })
            }
            ["receives:"] => self.receive(device, 1, Choice::InOrder, statement),
            ["receives", times, "times:"] => {
                let times = times.parse().map_err(|_| format!("{times} is no number"))?;
                self.receive(device, times, Choice::InOrder, statement)
            }
            ["receives", "in", "any", "order:"] => self.receive(device, 1, Choice::AnyOrder, statement),
            ["receives", "one", "of:"] => self.receive(device, 1, Choice::OneOf, statement),
            ["receives", "nothing", "more"] => Ok(Action::ReceiveNothing(device)),
            ["ignores:"] => Ok(Action::Ignore { device, patterns: self.patterns(statement)? }),
            ["opens", "a", "stream"] => Ok(Action::OpenStream(device)),
            ["starts", "tls"] => Ok(Action::StartTls(device)),
            ["shakes", "hands"] => Ok(Action::Handshake { device, may_fail: false }),
            ["shakes", "hands", "or", "is", "refused"] => Ok(Action::Handshake { device, may_fail: true }),
            ["tries", mechanism, how @ ..] => {
                let (has_wrong_password, on_behalf_of) = match how {
                    [] => (false, None),
                    ["with", "a", "wrong", "password"] => (true, None),
                    ["on", "behalf", "of", who] => (false, Some(self.template(line, who)?)),
                    _ => return Err(format!("not understood: {rest}")),
                };
                let mechanism = (*mechanism).to_owned();
                Ok(Action::Try { device, mechanism, has_wrong_password, on_behalf_of })
            }
            ["closes", "the", "stream"] => Ok(Action::CloseStream(device)),
            ["drops", "the", "connection"] => Ok(Action::Drop(device)),
            _ => Err(format!("not understood: {rest}")),
        }
    }

    fn connect(&mut self, device: DeviceName, level: Level, options: &[&str]) -> Result<Action, String> {
        let mut connect = Connect {
            level,
            has_carbons: false,
            has_sm: false,
            has_manual_acks: false,
            wants_roster: level == Level::Online,
            priority: None,
        };
        let options = match options {
            [] => String::new(),
            ["with", options @ ..] => options.join(" "),
            _ => return Err(format!("not understood: {}", options.join(" "))),
        };
        for option in options.split(", ").filter(|option| !option.is_empty()) {
            match option {
                "carbons" => connect.has_carbons = true,
                "sm" => connect.has_sm = true,
                "manual acks" => connect.has_manual_acks = true,
                "no roster" if level == Level::Online => connect.wants_roster = false,
                _ => match option.strip_prefix("priority ") {
                    Some(priority) if level == Level::Online => {
                        let parsed = priority.parse().map_err(|_| format!("{priority} is no priority"))?;
                        connect.priority = Some(parsed);
                    }
                    _ => return Err(format!("{option:?} is no option here")),
                },
            }
        }
        if (connect.has_carbons || connect.has_sm) && level < Level::Bound {
            return Err("options need a bound resource".to_owned());
        }
        self.devices.insert(device.clone());
        Ok(Action::Connect(device, connect))
    }

    fn receive(
        &mut self,
        device: DeviceName,
        times: u32,
        choice: Choice,
        statement: &Statement<'_>,
    ) -> Result<Action, String> {
        if times > 1 {
            self.captured.insert("n".to_owned());
        }
        Ok(Action::Receive { device, times, patterns: self.patterns(statement)?, choice })
    }

    fn send(
        &mut self,
        line: usize,
        device: DeviceName,
        times: u32,
        statement: &Statement<'_>,
    ) -> Result<Action, String> {
        let source = block(statement)?;
        if times > 1 {
            self.captured.insert("n".to_owned());
        }
        let text = self.template(line, source)?;
        // With any value in place of the variables, it must be well-formed.
        let sample = text.variables().iter().map(|&name| (name.to_owned(), "x".to_owned())).collect();
        let filled = text.fill(&sample, xml::escape)?;
        xml::fragment(&String::from_utf8_lossy(&filled))?;
        Ok(Action::Send { device, times, text })
    }

    fn template(&mut self, line: usize, text: &str) -> Result<Template, String> {
        let template = Template::parse(text)?;
        for name in template.variables() {
            if !self.captured.contains(name) {
                self.uses.push((line, name.to_owned()));
            }
        }
        Ok(template)
    }

    fn patterns(&mut self, statement: &Statement<'_>) -> Result<Vec<Pattern>, String> {
        let elements = xml::fragment(block(statement)?)?;
        let patterns: Vec<Pattern> = elements.iter().map(Pattern::new).collect::<Result<_, _>>()?;
        for pattern in &patterns {
            pattern.visit_variables(&mut |variable| match variable {
                Variable::Captured(name) => {
                    self.captured.insert(name.to_owned());
                }
                Variable::Used(name) if !self.captured.contains(name) => {
                    self.uses.push((statement.line, name.to_owned()));
                }
                Variable::Used(_) => {}
            });
        }
        Ok(patterns)
    }

    fn finish(self) -> Result<Script, String> {
        for (line, name) in &self.uses {
            if !self.is_known(name) {
                return Err(format!("line {line}: {{{name}}} is not known"));
            }
        }
        for step in &self.steps {
            if let Some(device) = step.action.device().filter(|device| !self.devices.contains(device)) {
                return Err(format!("line {}: {device} never connects", step.line));
            }
        }
        if !self.steps.iter().any(|step| can_fail(&step.action)) {
            return Err("nothing is expected, so nothing can fail".to_owned());
        }
        let variables = self.uses.into_iter().map(|(_, name)| name).collect();
        Ok(Script {
            variables,
            spec: self.spec.ok_or("spec: is missing")?,
            says: self.says.ok_or("says: is missing")?,
            needs: self.needs,
            accounts: self.accounts.difference(&self.ghosts).cloned().collect(),
            ghosts: self.ghosts,
            steps: self.steps,
        })
    }

    fn is_known(&self, name: &str) -> bool {
        let is_person = |name: &str| self.accounts.contains(name) || self.ghosts.contains(name);
        match name.split_once('.') {
            Some((device, "sent" | "received")) => {
                DeviceName::parse(device).is_some_and(|device| self.devices.contains(&device))
            }
            Some((account, "local" | "password")) => is_person(account),
            Some(_) => false,
            None if name.contains('/') => {
                DeviceName::parse(name).is_some_and(|device| is_person(device.account()))
            }
            None => name == "domain" || is_person(name),
        }
    }
}

fn block<'a>(statement: &'a Statement<'_>) -> Result<&'a str, String> {
    statement.block.as_deref().ok_or_else(|| "an indented block is missing".to_owned())
}

fn takes_block(action: &Action) -> bool {
    matches!(
        action,
        Action::Send { .. } | Action::SendRaw { .. } | Action::Receive { .. } | Action::Ignore { .. }
    )
}

fn can_fail(action: &Action) -> bool {
    matches!(
        action,
        Action::Receive { .. }
            | Action::ReceiveNothing(_)
            | Action::StreamIsClosed(_)
            | Action::ConnectionEnds(_)
            | Action::Check { .. }
    )
}

impl Need {
    fn parse(text: &str) -> Result<Self, String> {
        let (place, feature) = match text.split_once(' ') {
            None => (Place::Anywhere, text),
            Some(("server", feature)) => (Place::Server, feature),
            Some(("account", feature)) => (Place::Account, feature),
            Some(("pubsub", feature)) => (Place::Pubsub, feature),
            Some(("stream", feature)) => (Place::Stream, feature),
            Some(("mechanism", feature)) => (Place::Mechanism, feature),
            Some((place, _)) => return Err(format!("{place} is no place of a feature")),
        };
        if feature.is_empty() || feature.contains(' ') {
            Err(format!("{text:?} is no feature"))
        } else {
            Ok(Self { place, feature: feature.to_owned() })
        }
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "stream" => Ok(Self::Stream),
            "tls" => Ok(Self::Tls),
            "login" => Ok(Self::Login),
            _ => Err(format!("{text} is not tcp, stream, tls or login")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    const HEAD: &str = "spec: RFC 6121 §1\nsays: It works.\n";

    #[test]
    fn a_script_is_read() {
        let script = parse(&format!(
            "# A comment.\n{HEAD}needs: stream urn:x, urn:y\nno account ghost\nalice and bob are friends\n\
             alice/phone is online with carbons, priority -1\nbob/desk#2 connects up to tls\n\
             alice/phone sends 3 times:\n  <message to='{{bob}}' id='{{n}}'>\n    <body>{{ghost}}</body>\n  </message>\n\
             bob/desk#2 receives:\n  <message id='{{id:=}}'/>\n\
             bob/desk#2 receives in any order:\n  <iq id='{{id}}'/>\n  <iq/>\n\
             bob/desk#2's connection ends\ncheck {{id}} is not {{alice.local}}\n"
        ))
        .unwrap();
        assert_eq!(script.spec, "RFC 6121 §1");
        assert_eq!(script.needs.len(), 2);
        assert_eq!(script.needs[0], Need { place: Place::Stream, feature: "urn:x".to_owned() });
        assert_eq!(script.accounts.iter().collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(script.steps.len(), 9);
        let Action::Connect(device, connect) = &script.steps[2].action else { panic!() };
        assert_eq!((device.account(), device.resource()), ("alice", "phone"));
        assert!(connect.has_carbons && connect.wants_roster && connect.priority == Some(-1));
        let Action::Receive { patterns, choice, .. } = &script.steps[5].action else { panic!() };
        assert!(*choice == Choice::InOrder && patterns.len() == 1);
    }

    #[test]
    fn mistakes_name_their_line() {
        let end = "alice/phone receives nothing more\n";
        for (body, line, words) in [
            ("alice/phone is onlin\n", 3, "not understood"),
            ("alice/phone is online with wings\n", 3, "no option"),
            ("alice/phone connects up to heaven\n", 3, "heaven"),
            ("alice/phone connects up to tls with sm\n", 3, "bound"),
            ("alice/phone is online\nalice/phone sends:\n  <iq>\n", 4, "not closed"),
            ("alice/phone is online\nalice/phone sends:\n", 4, "block"),
            ("alice/phone is online\n  <iq/>\n", 3, "no block"),
            ("alice/phone is online\nalice/phone sends:\n  <iq to='{bob}'/>\n", 1, "{bob} is not known"),
            ("alice/phone is online\nalice/phone sends:\n  <iq to='{x'/>\n", 4, "brace"),
            ("alice/phone is online\nalice/phone receives:\n  <iq id='{x}'/>\n", 1, "{x} is not known"),
            ("alice/phone is online\nalice/phone receives:\n  <iq id='{x y}'/>\n", 4, "no placeholder"),
            ("alice/phone is online\nbob/desk drops the connection\n", 1, "never connects"),
            ("alice/phone connects\nalice/phone drops the connection\nbob/x is online\n", 5, "set up"),
            ("spec: RFC 1 §1\n", 3, "once"),
            ("colour: red\n", 3, "not known"),
            ("needs: moon urn:x\n", 3, "no place"),
            ("dance\n", 3, "not understood"),
            ("check a b\n", 3, "expected: check"),
        ] {
            let error = parse(&format!("{HEAD}{body}{end}")).expect_err(body);
            assert_eq!(error.line, line, "{body}: {}", error.message);
            assert!(error.message.contains(words), "{body}: {}", error.message);
        }
    }

    #[test]
    fn a_script_that_cannot_fail_is_refused() {
        let error = parse(&format!("{HEAD}alice/phone is online\n")).unwrap_err();
        assert!(error.message.contains("nothing can fail"));
        assert!(parse("alice/phone connects\nalice/phone receives nothing more\n").is_err());
    }
}
