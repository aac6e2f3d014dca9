//! What machines and other holders of certificates show, against a gateway and an agent.

mod certificates;
mod enrolment;
pub mod holder;
mod renewal;
