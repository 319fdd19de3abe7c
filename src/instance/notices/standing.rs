//! What an instance's lifecycle state says of its pending action.

use super::hooks::Transition;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The action has not begun.
    Early,
    /// It waits for us.
    Waiting,
    /// Nothing waits any more, and the instance is being ended or stopped.
    Going,
    /// Nothing waits any more, and nothing ends the instance because of it.
    Past,
}

impl Standing {
    /// By the states of Auto Scaling (user guide, "Amazon EC2 Auto Scaling instance lifecycle" and
    /// "Lifecycle state transitions for instances in a warm pool"); `None`: in no group. One that
    /// is not documented is taken for an early one, so that it is looked at again.
    pub fn of(transition: Transition, state: Option<&str>) -> Standing {
        match transition {
            Transition::Launching => Standing::of_launch(state),
            Transition::Terminating => Standing::of_termination(state),
        }
    }

    fn of_launch(state: Option<&str>) -> Standing {
        let Some(state) = state else {
            return Standing::Early;
        };
        match state {
            "Pending:Wait" | "Warmed:Pending:Wait" => Standing::Waiting,
            "Pending" | "Warmed:Pending" => Standing::Early,
            "InService" | "EnteringStandby" | "Standby" | "Detaching" | "Detached"
            | "Terminated" | "Pending:Proceed" => Standing::Past,
            _ if state.starts_with("Warmed:") || state.starts_with("Terminating") => Standing::Past,
            _ => Standing::Early,
        }
    }

    fn of_termination(state: Option<&str>) -> Standing {
        let Some(state) = state else {
            return Standing::Past;
        };
        match state {
            // The last is that of an instance on its way back into the warm pool (Auto Scaling user
            // guide, "Use lifecycle hooks with a warm pool").
            "Terminating:Wait" | "Warmed:Terminating:Wait" | "Warmed:Pending:Wait" => {
                Standing::Waiting
            }
            "Warmed:Terminating" | "Warmed:Pending" => Standing::Early,
            "Terminating:Proceed"
            | "Terminated"
            | "Warmed:Terminating:Proceed"
            | "Warmed:Terminated" => Standing::Going,
            "Terminating:Retained" | "Detaching" | "Detached" => Standing::Past,
            _ if state.starts_with("Warmed:") => Standing::Past,
            _ => Standing::Early,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Standing::{Early, Going, Past, Waiting};
    use super::*;

    #[test]
    fn each_state_says_where_the_action_stands() {
        // state, of a launch, of a termination
        let table = [
            ("Pending", Early, Early),
            ("Pending:Wait", Waiting, Early),
            ("Pending:Proceed", Past, Early),
            ("InService", Past, Early),
            ("EnteringStandby", Past, Early),
            ("Standby", Past, Early),
            ("Terminating", Past, Early),
            ("Terminating:Wait", Past, Waiting),
            ("Terminating:Proceed", Past, Going),
            ("Terminating:Retained", Past, Past),
            ("Terminated", Past, Going),
            ("Detaching", Past, Past),
            ("Detached", Past, Past),
            ("Warmed:Pending", Early, Early),
            ("Warmed:Pending:Wait", Waiting, Waiting),
            ("Warmed:Pending:Proceed", Past, Past),
            ("Warmed:Stopped", Past, Past),
            ("Warmed:Running", Past, Past),
            ("Warmed:Hibernated", Past, Past),
            ("Warmed:Terminating", Past, Early),
            ("Warmed:Terminating:Wait", Past, Waiting),
            ("Warmed:Terminating:Proceed", Past, Going),
            ("Warmed:Terminated", Past, Going),
            ("Levitating", Early, Early),
        ];
        for (state, launch, termination) in table {
            let of = |transition| Standing::of(transition, Some(state));
            assert_eq!(of(Transition::Launching), launch, "{state}");
            assert_eq!(of(Transition::Terminating), termination, "{state}");
        }
        assert_eq!(Standing::of(Transition::Launching, None), Early);
        assert_eq!(Standing::of(Transition::Terminating, None), Past);
    }
}
