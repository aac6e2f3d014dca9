//! The machine's side of Adit: shells behind supervisors, their output in a numbered ring, their screen in a model.
//!
//! Read first: [`session::Session`], the task of one session; [`supervise`], the processes that keep its shell.

pub mod attended;
mod dialled;
mod forker;
mod identity;
mod job;
pub mod keys;
mod registry;
pub mod ring;
pub mod run;
pub mod screen;
pub mod session;
pub mod shell;
pub mod supervise;
mod warrants;
