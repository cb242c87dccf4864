//! XMPP itself: addresses, stanzas, errors, accounts, devices, routing, the extension API and the
//! storage traits. No sockets, no SQL, no clock.
//!
//! To follow a message, read [`receive`], [`road`], [`outbox`] and [`writing`], in this order.

// What a message is made of.
pub mod datetime;
pub mod error;
pub mod ids;
pub mod jid;
pub mod record;
pub mod seal;
pub mod stanza;

// Who holds what.
pub mod access;
pub mod account;
pub mod hub;
pub mod outbox;
pub mod roster;
pub mod session;
pub mod subscription;

// The road.
pub mod receive;
pub mod remote;
pub mod render;
pub mod road;
pub mod sharing;
pub mod writing;

// Sessions and what they see.
pub mod asking;
pub mod asking_afar;
pub mod bind2;
pub mod binding;
mod bounced;
mod catch_up;
pub mod devices;
pub mod doctor;
pub mod hosted;
mod housekeeping;
mod interests;
mod presence;
mod repetition;
mod request;
pub mod resumption;
mod snapshot;

// What others plug in.
pub mod allowance;
pub mod clock;
pub mod delays;
pub mod early;
pub mod extension;
mod following;
pub mod invitations;
mod keeping;
mod node_items;
pub mod reports;
mod slots;
pub mod storage;
mod upkeep;
pub mod workers;
