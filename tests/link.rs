//! The link between an agent and a gateway, over a network that fails.

mod partition;
