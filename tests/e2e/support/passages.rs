//! The lifecycle hooks of a cloud's groups, and the instances that they hold: moto knows neither.
//!
//! An instance that leaves its group is taken from moto's at once, as AWS takes it from the
//! desired capacity, and only the proxy shows it until its end.

use std::collections::HashMap;
use std::time::Instant;

use super::cloud::Call;
use super::hooks::{Fate, Hook, Passage, Transition, Way};
use super::rules::{Refusal, empty, instance_shown, result};

#[derive(Default)]
pub struct Passages {
    /// By group.
    hooks: HashMap<String, Vec<Hook>>,
    /// Groups whose lifecycle policy keeps what was abandoned on its way out.
    retaining: Vec<String>,
    /// By instance.
    held: HashMap<String, Held>,
}

struct Held {
    group: String,
    passage: Passage,
}

impl Passages {
    pub fn add_hook(&mut self, group: &str, hook: Hook) {
        self.hooks.entry(group.to_owned()).or_default().push(hook);
    }

    pub fn retain_abandoned(&mut self, group: &str) {
        self.retaining.push(group.to_owned());
    }

    pub fn holds_on_the_way_out(&self, group: &str) -> bool {
        let hooks = self.hooks.get(group).into_iter().flatten();
        hooks
            .into_iter()
            .any(|hook| hook.transition == Transition::Terminating)
    }

    /// `lag`: looks and calls for which the actions are not there yet.
    pub fn lead(&mut self, group: &str, instance: &str, way: Way, lag: u32) {
        let hooks = self.hooks.get(group).map_or(&[][..], Vec::as_slice);
        let retains = self.retaining.iter().any(|it| it == group);
        let passage = Passage::new(way, hooks, lag, Instant::now()).retaining(retains);
        let group = group.to_owned();
        self.held
            .insert(instance.to_owned(), Held { group, passage });
    }

    /// It was terminated behind the group's back, or is in service.
    pub fn forget(&mut self, instance: &str) {
        self.held.remove(instance);
    }

    /// `None`: not listed, or not held.
    pub fn state(&self, instance: &str) -> Option<String> {
        let mut passage = self.held.get(instance)?.passage.clone();
        passage.look(Instant::now())
    }

    /// Whose way has ended since one last asked, and where.
    pub fn fates(&mut self) -> Vec<(String, Fate)> {
        let now = Instant::now();
        let held = self.held.iter_mut();
        held.filter_map(|(id, it)| Some((id.clone(), it.passage.take_fate(now)?)))
            .collect()
    }

    /// The answer to a call that is about hooks or about an instance held by one.
    pub fn answer(&mut self, call: &Call) -> Option<Refusal> {
        match call.action.as_str() {
            "DescribeLifecycleHooks" => Some(self.describe(call)),
            "RecordLifecycleActionHeartbeat" | "CompleteLifecycleAction" => Some(self.act(call)),
            _ => self.about_held(call),
        }
    }

    fn describe(&self, call: &Call) -> Refusal {
        let group = call.param("AutoScalingGroupName");
        let named = |hook: &&Hook| {
            let mut names = call.members("LifecycleHookNames").peekable();
            names.peek().is_none() || names.any(|name| name == hook.name)
        };
        let hooks = self.hooks.get(group).into_iter().flatten().filter(named);
        let hooks: String = hooks.map(|hook| xml(group, hook)).collect();
        result(
            &call.action,
            &format!("<LifecycleHooks>{hooks}</LifecycleHooks>"),
        )
    }

    fn act(&mut self, call: &Call) -> Refusal {
        let (group, hook) = (
            call.param("AutoScalingGroupName"),
            call.param("LifecycleHookName"),
        );
        let instance = call.param("InstanceId");
        let verdict = call.param("LifecycleActionResult");
        let heartbeat = call.action == "RecordLifecycleActionHeartbeat";
        if !heartbeat && !["CONTINUE", "ABANDON"].contains(&verdict) {
            return Refusal::validation(format!(
                "1 validation error detected: Value '{verdict}' at 'lifecycleActionResult' failed \
                 to satisfy constraint: Member must satisfy enum value set: [ABANDON, CONTINUE]"
            ));
        }
        let now = Instant::now();
        let held = self.held.get_mut(instance).filter(|it| it.group == group);
        let done = held.is_some_and(|Held { passage, .. }| {
            if heartbeat {
                passage.heartbeat(hook, now)
            } else {
                passage.complete(hook, verdict == "ABANDON", now)
            }
        });
        if done {
            empty(&call.action)
        } else {
            Refusal::validation(format!(
                "No active Lifecycle Action found with instance ID {instance}"
            ))
        }
    }

    fn about_held(&mut self, call: &Call) -> Option<Refusal> {
        let instance = call.instance()?;
        let held = self.held.get_mut(instance)?;
        let refused = |message: String| Some(Refusal::validation(message));
        let out = held.passage.way == Way::Out;
        let mut look = || held.passage.look(Instant::now());
        match call.action.as_str() {
            "DescribeAutoScalingInstances" => {
                let shown = look().map(|state| instance_shown(instance, &held.group, &state));
                let shown = shown.unwrap_or_default();
                let list = format!("<AutoScalingInstances>{shown}</AutoScalingInstances>");
                Some(result(&call.action, &list))
            }
            "DetachInstances" | "SetInstanceProtection"
                if look().as_deref() == Some("InService") =>
            {
                None
            }
            "DetachInstances" => refused(format!(
                "The instance {instance} is not in InService or Standby."
            )),
            "SetInstanceProtection" => refused(format!(
                "The instance {instance} is not in InService or EnteringStandby or Standby."
            )),
            "TerminateInstanceInAutoScalingGroup" if out => refused(format!(
                "Instance Id not found - No managed instance found for instance ID {instance}"
            )),
            _ => None,
        }
    }
}

fn xml(group: &str, hook: &Hook) -> String {
    let transition = match hook.transition {
        Transition::Launching => "autoscaling:EC2_INSTANCE_LAUNCHING",
        Transition::Terminating => "autoscaling:EC2_INSTANCE_TERMINATING",
    };
    let target = hook.target.map_or(String::new(), |arn| {
        format!("<NotificationTargetARN>{arn}</NotificationTargetARN>")
    });
    let default = if hook.abandons { "ABANDON" } else { "CONTINUE" };
    // AWS knows whole seconds.
    let seconds = |timeout: std::time::Duration| timeout.as_secs_f64().ceil();
    format!(
        "<member><LifecycleHookName>{}</LifecycleHookName>\
         <AutoScalingGroupName>{group}</AutoScalingGroupName>\
         <LifecycleTransition>{transition}</LifecycleTransition>{target}\
         <HeartbeatTimeout>{}</HeartbeatTimeout><GlobalTimeout>{}</GlobalTimeout>\
         <DefaultResult>{default}</DefaultResult></member>",
        hook.name,
        seconds(hook.heartbeat),
        seconds(hook.global),
    )
}
