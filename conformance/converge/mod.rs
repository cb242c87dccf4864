//! The convergence checker: devices of several kinds talk, lose their network, die and come back, while the server is
//! killed and restarted; in the end everything that each of them saw is compared with what was sent and recorded.

mod cast;
mod random;

pub use cast::{Cast, DeviceNo, Kind, Part, UserNo};
pub use random::Random;
