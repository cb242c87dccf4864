//! What people do with the server, by subject. Each story is named by what holds at its end.

mod acknowledgements;
mod admin;
mod api;
mod archive;
mod attention;
mod bad_input;
mod certificate;
mod command_line;
mod configuration;
mod convergence;
mod crash;
mod defences;
mod discovery;
mod disk;
mod domains;
mod guessing;
mod half_open;
mod login;
mod logs;
mod network;
mod numbers;
mod order;
mod restart;
mod revocation;
mod roster;
mod scripts;
