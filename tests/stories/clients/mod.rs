//! Whole sessions, each in the order in which a client of today goes about it: what it waits for before it speaks, what it
//! asks, what it would stumble over, and what it has at the end.

mod asking;
mod encrypted;
mod first_flight;
mod invited;
mod private_nodes;
