//! The convergence checker: devices of several kinds talk, lose their network, die and come back, while the server is
//! killed and restarted; in the end everything that each of them saw is compared with what was sent and recorded.

mod cast;
mod command;
mod content;
mod device;
mod driver;
mod history;
mod judge;
mod keeping;
mod network;
mod operation;
mod outcome;
mod performer;
mod plan;
mod random;
mod real;
mod report;
mod shrink;
#[cfg(test)]
mod toy;
mod world;

pub use cast::{Cast, DeviceNo, Kind, Part, UserNo};
pub(crate) use command::{Amount, Arguments, measure};
pub use content::{Content, Id};
pub use device::{Account, Accounts, Device, Output};
pub use driver::{Progress, perform};
pub use history::{End, Event, Fact, Form, History, Recorder, Sight, Way};
pub use judge::{Promise, Rule, Violation, judge};
pub use keeping::{Change, ChangeNo, Topic};
pub use network::{Far, Network};
pub use operation::{Act, Emoji, Loss, MessageNo, Step, Trigger};
pub(crate) use outcome::{Outcome, Run, Tally, Violation as Told};
pub use plan::{Plan, Shape};
pub use random::Random;
pub(crate) use report::PROMISES;
pub use shrink::shrink;
pub use world::{Link, World};
