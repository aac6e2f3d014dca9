//! How a job is refused, and what is known about each layer on the way.

use std::fmt::Display;

use adit_wire::sandbox::{Layer, LayerState, Refusal, RefusalCode, State};

/// What holds so far, and what the plan demands.
#[derive(Debug)]
pub(crate) struct Holding {
    demanded: Vec<Layer>,
    states: Vec<LayerState>,
}

impl Holding {
    pub(crate) fn new(demanded: &[Layer]) -> Self {
        Self { demanded: demanded.to_vec(), states: Vec::new() }
    }

    pub(crate) fn enforced(&mut self, layer: Layer) {
        self.states.push(LayerState { layer, state: State::Enforced });
    }

    pub(crate) fn waived(&mut self, layer: Layer) {
        self.states.push(LayerState { layer, state: State::Waived });
    }

    /// Notes that a layer does not hold; an error when the job may not run without it.
    pub(crate) fn missing(&mut self, layer: Layer, reason: &dyn Display) -> Result<(), Refusal> {
        if layer.is_always_demanded() || self.demanded.contains(&layer) {
            return Err(unavailable(layer, reason));
        }
        self.noted(layer, reason);
        Ok(())
    }

    /// Notes that a layer does not hold where nothing is demanded.
    pub(crate) fn noted(&mut self, layer: Layer, reason: &dyn Display) {
        let reason = short(reason);
        self.states.push(LayerState { layer, state: State::Missing { reason } });
    }

    /// Whether a layer is known to hold.
    pub(crate) fn holds(&self, layer: Layer) -> bool {
        self.states.iter().any(|known| known.layer == layer && known.state == State::Enforced)
    }

    /// Notes either, by how it went.
    pub(crate) fn tried<E: Display>(
        &mut self,
        layer: Layer,
        tried: Result<(), E>,
    ) -> Result<(), Refusal> {
        match tried {
            Ok(()) => self.enforced(layer),
            Err(reason) => self.missing(layer, &reason)?,
        }
        Ok(())
    }

    pub(crate) fn into_states(self) -> Vec<LayerState> {
        self.states
    }
}

/// A layer that a job needs cannot be had.
pub(crate) fn unavailable(layer: Layer, reason: &dyn Display) -> Refusal {
    Refusal {
        code: RefusalCode::SandboxUnavailable,
        layer: Some(layer),
        parameter: None,
        reason: short(reason),
    }
}

/// A path parameter is at fault.
pub(crate) fn path_refused(parameter: &str, reason: &dyn Display) -> Refusal {
    Refusal {
        code: RefusalCode::PathRefused,
        layer: None,
        parameter: Some(parameter.chars().take(REASON_CHARS_MAX).collect()),
        reason: short(reason),
    }
}

/// The program cannot be executed.
pub(crate) fn program_unavailable(reason: &dyn Display) -> Refusal {
    Refusal {
        code: RefusalCode::ProgramUnavailable,
        layer: None,
        parameter: None,
        reason: short(reason),
    }
}

/// The plan is none.
pub(crate) fn bad_plan(reason: &dyn Display) -> Refusal {
    Refusal { code: RefusalCode::BadPlan, layer: None, parameter: None, reason: short(reason) }
}

fn short(reason: &dyn Display) -> String {
    reason.to_string().chars().take(REASON_CHARS_MAX).collect()
}

/// Nineteen of them, escaped, fit into one report.
const REASON_CHARS_MAX: usize = 160;
