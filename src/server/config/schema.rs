//! From the list of keys to structs, parser and sample. A key is written once, in `keys.rs`, as a
//! field with its documentation, type and default; the macros here derive the rest from it.

use toml::Spanned;
use toml::de::DeValue;

use super::read::Reader;

/// A table of the configuration.
pub(crate) trait Section: Default + Sized + 'static {
    /// What the table is for, one entry a line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the sample.
    const KEYS: &'static [Key<Self>];

    /// The names of its keys.
    fn names() -> impl Iterator<Item = &'static str> {
        Self::KEYS.iter().map(|key| key.name)
    }
}

/// One key of the table `S`.
pub(crate) struct Key<S: 'static> {
    pub(crate) name: &'static str,
    /// Its documentation, one entry a line.
    pub(crate) doc: &'static [&'static str],
    /// Reads a value into its field, or notes a problem.
    pub(crate) read: fn(&mut S, &Spanned<DeValue<'_>>, &mut Reader<'_>),
    /// The field as lines of TOML. The argument starts each line: nothing, or the mark of a comment.
    pub(crate) show: fn(&S, &str) -> String,
}

/// Declares a table: a struct with a documented field for each key.
macro_rules! section {
    ($(#[doc = $about:literal])+ $name:ident {
        $($(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default,)+ }
            }
        }

        impl $crate::config::schema::Section for $name {
            const ABOUT: &'static [&'static str] = &[$($about),+];
            const KEYS: &'static [$crate::config::schema::Key<Self>] = &[$(
                $crate::config::schema::Key {
                    name: stringify!($key),
                    doc: &[$($doc),+],
                    read: |section, value, reader| {
                        if let Some(value) = <$type as $crate::config::setting::Setting>::read(value, reader) {
                            section.$key = value;
                        }
                    },
                    show: |section, mark| {
                        $crate::config::setting::Setting::show(&section.$key, stringify!($key), mark)
                    },
                },
            )+];
        }
    };
}
pub(crate) use section;

/// Declares the whole configuration: its tables, in the order of the sample.
macro_rules! configuration {
    ($(#[doc = $about:literal])+ $name:ident { $($section:ident: $type:ident,)+ }) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = concat!("The keys of `[", stringify!($section), "]`.")] pub $section: $type,)+
        }

        impl $name {
            /// The names of all tables.
            pub(crate) const SECTIONS: &'static [&'static str] = &[$(stringify!($section)),+];

            /// Every key with its default, nothing derived from other keys yet.
            pub(crate) fn unsettled() -> Self {
                Self { $($section: $type::default(),)+ }
            }

            /// Reads the table `name`; false if there is no such table.
            pub(crate) fn read(
                &mut self,
                name: &str,
                table: &toml::de::DeTable<'_>,
                reader: &mut $crate::config::read::Reader<'_>,
            ) -> bool {
                $(if name == stringify!($section) {
                    reader.table(&mut self.$section, table);
                    return true;
                })+
                false
            }

            /// Every key as `(section, key)`.
            pub(crate) fn all_keys() -> Vec<(&'static str, &'static str)> {
                let mut keys = Vec::new();
                $(keys.extend(<$type as $crate::config::schema::Section>::names()
                    .map(|key| (stringify!($section), key)));)+
                keys
            }

            /// All tables as the sample shows them.
            pub(crate) fn describe(&self) -> String {
                let mut out = String::new();
                $($crate::config::sample::describe(stringify!($section), &self.$section, &mut out);)+
                out
            }
        }
    };
}
pub(crate) use configuration;
