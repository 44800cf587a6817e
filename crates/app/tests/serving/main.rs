//! The service as a process: started as a user starts it, asked over the network, stopped and
//! killed.

mod durability;
mod server;
mod settings;
mod stopping;
