//! All that the suite finds about several servers, on one page.

mod asked;
mod command;
#[cfg(test)]
mod example;
mod page;
mod part;
mod promises;
mod scripts;

pub(crate) use command::Arguments;
