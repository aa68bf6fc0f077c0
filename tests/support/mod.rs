//! What tests share: the real program as a service, and how to talk to it.

mod http;
mod program;
mod server;

pub(crate) use http::{Answer, Event, Request, raw};
pub(crate) use program::User;
pub(crate) use server::{Figures, Server, data_guests, guests};
