//! What a value can be, how it is read and how the sample shows it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::domain::Domain;
use super::read::Reader;
use super::store_url::StoreUrl;
use super::suggest::did_you_mean;
use super::units::{Size, parse_duration, show_duration};

/// The type of a key.
pub(crate) trait Setting: Sized {
    /// The value, or nothing after noting a problem.
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self>;

    /// The value in TOML.
    fn toml(&self) -> String;

    /// The key and its value as lines of TOML, each after `mark`.
    fn show(&self, name: &str, mark: &str) -> String {
        format!("{mark}{name} = {}\n", self.toml())
    }

    /// The same for a list of such values.
    fn show_list(list: &[Self], name: &str, mark: &str) -> String {
        format!("{mark}{name} = {}\n", list_toml(list))
    }
}

/// A value that is written as text.
pub(crate) trait Text: Sized {
    /// What is expected, with its article and an example.
    const WHAT: &'static str;
    /// Whether a wrong value may be shown in a message.
    const MAY_SHOW: bool = true;
    /// Reads it; the error can follow "is not a …": it is empty or says more.
    fn parse(text: &str, base: &Path) -> Result<Self, String>;
    /// The text that `parse` reads.
    fn text(&self) -> String;
}

impl<T: Text> Setting for T {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(text) = reader.text(value) else {
            return reader.expected(value, T::WHAT);
        };
        match T::parse(&text, reader.base()) {
            Ok(parsed) => Some(parsed),
            Err(detail) if !T::MAY_SHOW => {
                reader.refuse(value, &format!("the value is not {}{detail}", T::WHAT))
            }
            Err(detail) => {
                let text = printable(&text);
                reader.refuse(value, &format!("\"{text}\" is not {}{detail}", T::WHAT))
            }
        }
    }

    fn toml(&self) -> String {
        quoted(&self.text())
    }
}

/// On the command line a list may also be written `a,b`.
impl<T: Setting> Setting for Vec<T> {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let read_all = |list: &[Spanned<DeValue<'_>>], reader: &mut Reader<'_>| {
            let read: Vec<_> = list
                .iter()
                .enumerate()
                .map(|(index, item)| reader.element(index, item.span(), |reader| T::read(item, reader)))
                .collect();
            read.into_iter().collect()
        };
        if let DeValue::Array(list) = value.get_ref() {
            return read_all(list, reader);
        }
        if let (true, Some(text)) = (reader.is_argument(), reader.text(value)) {
            let items = text.split(',').map(|item| Spanned::new(0..0, DeValue::String(item.trim().into())));
            return read_all(&items.collect::<Vec<_>>(), reader);
        }
        reader.expected(value, "a list")
    }

    fn toml(&self) -> String {
        list_toml(self)
    }

    fn show(&self, name: &str, mark: &str) -> String {
        T::show_list(self, name, mark)
    }
}

/// Something that can be switched off: `"off"`, or a value.
impl<T: Text> Setting for Option<T> {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match reader.text(value) {
            Some(text) if text == "off" => Some(None),
            _ => T::read(value, reader).map(Some),
        }
    }

    fn toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted("off"), Setting::toml)
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => { $(
        impl Setting for $number {
            fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
                let DeValue::Integer(number) = value.get_ref() else {
                    return reader.expected(value, "a whole number");
                };
                match Self::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Some(number),
                    Err(_) => {
                        reader.refuse(value, &format!("{number} is not a whole number from 0 to {}", Self::MAX))
                    }
                }
            }

            fn toml(&self) -> String {
                self.to_string()
            }
        }
    )+ };
}

whole_numbers!(u16, u32);

/// A number alone is a number of bytes.
impl Setting for Size {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        const WHAT: &str = "a size such as \"256KiB\" or \"1MiB\"";
        if let DeValue::Integer(number) = value.get_ref() {
            let bytes = u64::from_str_radix(number.as_str(), number.radix());
            return match bytes {
                Ok(bytes) => Some(Self::bytes(bytes)),
                Err(_) => reader.refuse(value, &format!("{number} is not {WHAT}")),
            };
        }
        let Some(text) = reader.text(value) else {
            return reader.expected(value, WHAT);
        };
        let size = Self::parse(&text);
        size.or_else(|| reader.refuse(value, &format!("\"{}\" is not {WHAT}", printable(&text))))
    }

    fn toml(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Text for Duration {
    const WHAT: &'static str = "a duration such as \"10s\", \"5m\" or \"1h\"";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        parse_duration(text).ok_or_else(|| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if digits { format!("; did you mean \"{text}s\"?") } else { String::new() }
        })
    }

    fn text(&self) -> String {
        show_duration(*self)
    }
}

impl Text for SocketAddr {
    const WHAT: &'static str = "an address with a port such as \"[::]:5222\" or \"127.0.0.1:5222\"";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| {
            let port = text.strip_prefix("*:").or(text.strip_prefix(':')).unwrap_or(text);
            match (port.parse::<u16>(), text.strip_prefix("localhost:")) {
                (Ok(port), _) => format!("; did you mean \"[::]:{port}\"?"),
                (_, Some(port)) if port.parse::<u16>().is_ok() => {
                    format!("; did you mean \"127.0.0.1:{port}\"?")
                }
                _ => String::new(),
            }
        })
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Relative paths start at the directory of the file that names them.
impl Text for PathBuf {
    const WHAT: &'static str = "a path";

    fn parse(text: &str, base: &Path) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') {
            return Err(String::new());
        }
        Ok(base.join(text))
    }

    fn text(&self) -> String {
        self.display().to_string()
    }
}

impl Text for Domain {
    const WHAT: &'static str = "a domain name such as \"example.org\"";

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        Domain::new(text).map_err(|error| format!(": {error}"))
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Text for StoreUrl {
    const WHAT: &'static str = "\"sqlite:FILE\" or \"postgres://USER@HOST/DATABASE\"";
    const MAY_SHOW: bool = false; // a password may stand in it

    fn parse(text: &str, _: &Path) -> Result<Self, String> {
        StoreUrl::new(text)
    }

    fn text(&self) -> String {
        self.written()
    }
}

/// Declares an enum whose values are written as words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The word as it is written in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::setting::Text for $name {
            const WHAT: &'static str = concat!("one of" $(, " ", $word)+);

            fn parse(text: &str, _: &std::path::Path) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::config::setting::nearest_word(text, &[$($word),+])),
                }
            }

            fn text(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}
pub(crate) use words;

pub(crate) fn nearest_word(text: &str, words: &[&str]) -> String {
    did_you_mean(text, words.iter().copied())
}

/// A string in the quotes of TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(crate) fn list_toml<T: Setting>(list: &[T]) -> String {
    format!("[{}]", list.iter().map(Setting::toml).collect::<Vec<_>>().join(", "))
}

/// Somebody's text inside a message of one line.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
