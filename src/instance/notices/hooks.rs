//! Lifecycle hooks: which of a group's are this program's.

use std::time::Duration;

/// Of an instance into its group, or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    Launching,
    Terminating,
}

impl Transition {
    /// For the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Transition::Launching => "launching",
            Transition::Terminating => "terminating",
        }
    }
}

/// One hook of the group (Auto Scaling `DescribeLifecycleHooks`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    pub name: String,
    pub transition: Transition,
    /// The action ends so long after it began, or after its last heartbeat.
    pub heartbeat_timeout: Duration,
    /// The action ends so long after it began, whatever heartbeats say.
    pub global_timeout: Duration,
    /// It notifies a queue or topic (`NotificationTargetARN`), so somebody else may complete it.
    pub has_target: bool,
    /// What happens without an answer is ABANDON.
    pub abandons: bool,
}

/// `--launch-hook` and `--terminate-hook`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HookNames {
    pub launch: Option<String>,
    pub terminate: Option<String>,
}

impl HookNames {
    pub fn of(&self, transition: Transition) -> Option<&str> {
        match transition {
            Transition::Launching => self.launch.as_deref(),
            Transition::Terminating => self.terminate.as_deref(),
        }
    }
}

/// The hooks that are ours to keep and complete: the configured one; else those whose names begin
/// with `clockout`; else the only one; else those that notify nobody. To complete a hook that
/// another program waits for would end its work, so of several that notify somebody it is none.
pub fn ours<'a>(hooks: &'a [Hook], transition: Transition, names: &HookNames) -> Vec<&'a Hook> {
    let all = || hooks.iter().filter(|hook| hook.transition == transition);
    if let Some(name) = names.of(transition) {
        return all().filter(|hook| hook.name == name).collect();
    }
    let named: Vec<_> = all()
        .filter(|hook| hook.name.starts_with("clockout"))
        .collect();
    if !named.is_empty() || all().count() == 1 {
        return if named.is_empty() {
            all().collect()
        } else {
            named
        };
    }
    all().filter(|hook| !hook.has_target).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(name: &str) -> Hook {
        Hook {
            name: name.trim_end_matches('!').to_owned(),
            transition: Transition::Terminating,
            heartbeat_timeout: Duration::from_secs(3600),
            global_timeout: Duration::from_secs(172_800),
            has_target: name.ends_with('!'),
            abandons: true,
        }
    }

    /// A name that ends with `!` notifies somebody.
    fn chosen(names: &[&str], configured: Option<&str>) -> Vec<String> {
        let mut hooks: Vec<_> = names.iter().map(|name| hook(name)).collect();
        let mut other = hook("clockout-launch");
        other.transition = Transition::Launching;
        hooks.push(other);
        let names = HookNames {
            launch: Some("never-asked".to_owned()),
            terminate: configured.map(str::to_owned),
        };
        let ours = ours(&hooks, Transition::Terminating, &names);
        ours.into_iter().map(|hook| hook.name.clone()).collect()
    }

    #[test]
    fn a_configured_name_is_the_hook_and_nothing_else_is() {
        assert_eq!(chosen(&["a", "b!", "clockout"], Some("b")), ["b"]);
        assert!(chosen(&["a"], Some("b")).is_empty());
    }

    #[test]
    fn names_of_ours_go_before_the_rest() {
        let expected = ["clockout-drain", "clockout2"];
        assert_eq!(
            chosen(&["a", "clockout-drain!", "clockout2"], None),
            expected
        );
    }

    #[test]
    fn the_only_hook_is_ours_whoever_hears_of_it() {
        assert_eq!(chosen(&["a!"], None), ["a"]);
        assert!(chosen(&[], None).is_empty());
    }

    #[test]
    fn of_several_those_that_notify_nobody_are_ours() {
        assert_eq!(chosen(&["a!", "b", "c"], None), ["b", "c"]);
        assert!(chosen(&["a!", "b!"], None).is_empty());
    }
}
