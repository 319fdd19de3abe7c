//! One test's view of AWS: moto behind a proxy that refuses what AWS refuses, fails as asked,
//! and remembers every call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::group::{group_of, instance_state};
use super::hooks::Way;
use super::http::{Answer, Handler, Reply, Request, Server};
use super::imds::Times;
use super::launching::Launching;
use super::moto::{Service, decode_form, moto, texts};
use super::passages::Passages;
use super::rules::{Leaving, Refusal, begun, refusal};
use super::wait_for;

/// How a call fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The account's rate is exceeded.
    Throttled,
    /// Auto Scaling has another change of the group at hand.
    Contention,
    /// The role may not do this.
    Denied,
    /// 500, nothing was done.
    InternalError,
    /// 503, nothing was done.
    Unavailable,
    /// It was done, and the connection closed before the answer.
    Lost,
    /// It was done, and there is never an answer.
    DoneThenSilent,
    /// Nothing is done, and there is never an answer.
    Hang,
    /// It is done after a while, and answered.
    Slow(Duration),
    /// This code and message, nothing was done.
    Refused(&'static str, &'static str),
    /// The answer to the same question before; if there was none, it is told as it is.
    Stale,
}

/// What the proxy saw of one call.
#[derive(Debug, Clone)]
pub struct Call {
    pub action: String,
    pub params: HashMap<String, String>,
    /// The status and error code that were answered, or how it was left without an answer.
    pub answer: String,
    /// It was carried out, whatever was answered.
    pub took_effect: bool,
}

impl Call {
    pub fn instance(&self) -> Option<&str> {
        let names = ["InstanceIds.member.1", "InstanceId", "InstanceId.1"];
        let mut values = names.iter().filter_map(|name| self.params.get(*name));
        values.next().map(String::as_str)
    }

    /// It asked for a smaller desired capacity; `None` where the action knows no such thing.
    pub fn decrement(&self) -> Option<bool> {
        let flag = self.params.get("ShouldDecrementDesiredCapacity")?;
        Some(flag == "true")
    }

    /// A parameter's text; empty when it was not given.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// A list among the parameters.
    pub fn members(&self, name: &str) -> impl Iterator<Item = &str> {
        let member = move |n| self.params.get(&format!("{name}.member.{n}"));
        (1..).map_while(member).map(String::as_str)
    }

    pub fn is_heartbeat(&self) -> bool {
        self.action == "RecordLifecycleActionHeartbeat"
    }

    /// It changes something, or would have. A heartbeat keeps everything as it is.
    fn changes(&self) -> bool {
        let reads = ["Describe", "Get"];
        !self.is_heartbeat() && !reads.iter().any(|it| self.action.starts_with(it))
    }

    /// The action with what matters of its parameters.
    fn summary(&self) -> String {
        let detail = match self.action.as_str() {
            "CompleteLifecycleAction" => self.param("LifecycleActionResult"),
            "SetInstanceProtection" if self.param("ProtectedFromScaleIn") == "true" => "on",
            "SetInstanceProtection" => "off",
            _ if self.param("DryRun") == "true" => "dry run",
            _ => match self.decrement() {
                Some(true) => "decrement",
                Some(false) => "replace",
                None => return self.action.clone(),
            },
        };
        format!("{} {detail}", self.action)
    }
}

const UNANSWERED: &str = "not answered yet";

pub struct Cloud {
    server: Server,
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    calls: Mutex<Vec<Call>>,
    faults: Mutex<Vec<(String, Fault, Times)>>,
    leaving: Mutex<HashMap<String, Leaving>>,
    /// What becomes of the next instance that leaves its group.
    lag: Mutex<Option<Leaving>>,
    pub(super) passages: Mutex<Passages>,
    pub(super) launching: Mutex<Launching>,
    /// Access keys, and when they are worth nothing any more.
    keys: Mutex<HashMap<String, SystemTime>>,
    /// Held from looking at moto's state to changing it.
    pub(super) changing: tokio::sync::Mutex<()>,
}

impl Cloud {
    pub fn start() -> Cloud {
        let shared = Arc::new(Shared {
            calls: Mutex::default(),
            faults: Mutex::default(),
            leaving: Mutex::default(),
            lag: Mutex::default(),
            passages: Mutex::default(),
            launching: Mutex::default(),
            keys: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        });
        let _ = moto();
        let state = Arc::clone(&shared);
        let handler: Handler = Arc::new(move |request| {
            // On a task of its own: what a call does is recorded even if its caller is killed.
            let answer = tokio::spawn(Arc::clone(&state).answer(request));
            Box::pin(async { answer.await.unwrap_or(Answer::Close) })
        });
        Cloud {
            server: Server::start(handler),
            shared,
        }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// What `AWS_ENDPOINT_URL` is set to.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on `action` fails; `*` is every action. The latest word on an action comes first.
    pub fn fail(&self, action: &str, fault: Fault, times: Times) {
        let fault = (action.to_owned(), fault, times);
        locked(&self.shared.faults).insert(0, fault);
    }

    /// The next instance that leaves its group still shows this lifecycle state for so many
    /// looks, as AWS' do for seconds to minutes; `InService` is a stale read.
    pub fn lag(&self, state: &'static str, looks: Times) {
        *locked(&self.shared.lag) = Some(Leaving { state, looks });
    }

    /// Every call so far, once the last of them is over.
    pub fn calls(&self) -> Vec<Call> {
        wait_for("the end of all calls", || {
            let calls = locked(&self.shared.calls).clone();
            let over = calls.iter().all(|call| call.answer != UNANSWERED);
            over.then_some(calls)
        })
    }

    /// The actions that change something, in order, with what was answered.
    pub fn changes(&self) -> Vec<String> {
        let calls = self.calls();
        let changes = calls.iter().filter(|call| call.changes());
        changes
            .map(|call| format!("{}: {}", call.summary(), call.answer))
            .collect()
    }

    /// From this time on, calls signed with this access key are refused.
    pub fn key_ends(&self, access_key: &str, at: SystemTime) {
        locked(&self.shared.keys).insert(access_key.to_owned(), at);
    }

    /// How often a decrement on behalf of this instance was carried out.
    pub fn decrements(&self, instance: &str) -> usize {
        let calls = self.calls();
        let carried_out = calls.iter().filter(|call| call.took_effect);
        carried_out
            .filter(|call| call.decrement() == Some(true) && call.instance() == Some(instance))
            .count()
    }

    /// How often this instance was brought down.
    pub fn terminations(&self, instance: &str) -> usize {
        let calls = self.calls();
        let carried_out = calls.iter().filter(|call| call.took_effect);
        carried_out
            .filter(|call| {
                call.action.starts_with("Terminate") && call.instance() == Some(instance)
            })
            .count()
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request) -> Answer {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let params: HashMap<_, _> = decode_form(&form).into_iter().collect();
        let param = |name: &str| params.get(name).cloned().unwrap_or_default();
        let mut call = Call {
            action: param("Action"),
            answer: UNANSWERED.to_owned(),
            took_effect: false,
            params: params.clone(),
        };
        // Recorded on arrival: a client that gives up must not take the record with it.
        let place = {
            let mut calls = locked(&self.calls);
            calls.push(call.clone());
            calls.len() - 1
        };
        let fault = self.take_fault(&call.action);
        let service = Service::of_version(&param("Version"));
        let answer = match (service, fault) {
            (None, _) => Refusal::unknown_action(&call.action).answer(Service::Ec2),
            (Some(service), _) if self.key_has_ended(&request) => {
                Refusal::expired(service).answer(service)
            }
            (Some(service), Some(fault)) => self.failing(service, fault, &request, &mut call).await,
            (Some(service), None) => self.carry_out(service, &request, &mut call).await,
        };
        call.answer = describe(&answer);
        locked(&self.calls)[place] = call;
        answer
    }

    fn take_fault(&self, action: &str) -> Option<Fault> {
        let mut faults = locked(&self.faults);
        let meant = |name: &str| name == action || name == "*";
        let (_, fault, times) = faults
            .iter_mut()
            .find(|(name, _, times)| meant(name) && *times != Times::N(0))?;
        times.take();
        Some(fault.clone())
    }

    async fn failing(
        &self,
        service: Service,
        fault: Fault,
        request: &Request,
        call: &mut Call,
    ) -> Answer {
        let refused = |refusal: Refusal| refusal.answer(service);
        match fault {
            Fault::Throttled => refused(Refusal::throttled(service)),
            Fault::Contention => refused(Refusal::contention()),
            Fault::Denied => refused(Refusal::denied(service, &call.action)),
            Fault::InternalError => refused(Refusal::internal(service)),
            Fault::Unavailable => refused(Refusal::unavailable(service)),
            Fault::Refused(code, message) => refused(Refusal::new(400, code, message)),
            Fault::Hang => Answer::Hang,
            Fault::Lost => {
                self.carry_out(service, request, call).await;
                Answer::Close
            }
            Fault::DoneThenSilent => {
                self.carry_out(service, request, call).await;
                Answer::Hang
            }
            Fault::Stale => match self.stale(call) {
                Some(body) => Answer::Reply(Reply::new(200, "text/xml", body)),
                None => self.carry_out(service, request, call).await,
            },
            Fault::Slow(wait) => {
                tokio::time::sleep(wait).await;
                self.carry_out(service, request, call).await
            }
        }
    }

    async fn carry_out(&self, service: Service, request: &Request, call: &mut Call) -> Answer {
        let _changing = self.changing.lock().await;
        self.settle().await;
        if let Some(answer) = self.own_answer(call).await {
            self.settle().await;
            return answer.answer(service);
        }
        let instance = call.instance().map(str::to_owned);
        let leaving = instance.as_ref().and_then(|id| self.look_at(id));
        if let Some(answer) = refusal(call, leaving).await {
            return answer.answer(service);
        }
        if let Some(answer) = self.launching_answer(call).await {
            return answer.answer(service);
        }
        let before = match &instance {
            Some(id) if call.action == "TerminateInstances" => Some(instance_state(id).await),
            _ => None,
        };
        let signature = request.headers.get("authorization");
        let Some(signature) = signature.and_then(|value| value.to_str().ok()) else {
            return Refusal::unsigned().answer(service);
        };
        let mut reply = moto()
            .forward(signature.to_owned(), request.body.clone())
            .await;
        if reply.status.is_success() {
            let body = String::from_utf8_lossy(&reply.body).into_owned();
            reply.body = self.shown(call, &body).into();
        }
        // Terminating what is terminated is accepted, and changes nothing.
        call.took_effect = reply.status.is_success() && before.is_none_or(|it| it == "running");
        let ended = call.action == "TerminateInstances" && call.took_effect;
        if let Some(instance) = instance.as_ref().filter(|_| ended) {
            locked(&self.passages).forget(instance);
        }
        let leaves = ["DetachInstances", "TerminateInstanceInAutoScalingGroup"];
        if call.took_effect && leaves.contains(&call.action.as_str()) {
            let lag = locked(&self.lag).take();
            let leaving = instance.zip(lag);
            locked(&self.leaving).extend(leaving);
        }
        Answer::Reply(reply)
    }

    /// What lifecycle hooks make of a call.
    async fn own_answer(&self, call: &mut Call) -> Option<Refusal> {
        if call.action == "DescribeLifecycleHooks"
            && let Some(refused) = refusal(call, None).await
        {
            return Some(refused);
        }
        if let Some(answer) = locked(&self.passages).answer(call) {
            call.took_effect = answer.is_success() && call.changes();
            return Some(answer);
        }
        if call.action != "TerminateInstanceInAutoScalingGroup" {
            return None;
        }
        let instance = call.instance()?.to_owned();
        let group = group_of(&instance).await?;
        let hooked = locked(&self.passages).holds_on_the_way_out(&group);
        if !hooked || refusal(call, None).await.is_some() {
            return None;
        }
        let params = [
            ("AutoScalingGroupName", group.as_str()),
            ("InstanceIds.member.1", &instance),
            (
                "ShouldDecrementDesiredCapacity",
                call.param("ShouldDecrementDesiredCapacity"),
            ),
        ];
        moto()
            .call(Service::AutoScaling, "DetachInstances", &params)
            .await;
        locked(&self.passages).lead(&group, &instance, Way::Out, 1);
        call.took_effect = true;
        Some(begun(&call.action, &group))
    }

    fn key_has_ended(&self, request: &Request) -> bool {
        let signature = request.headers.get("authorization");
        let signature = signature.and_then(|value| value.to_str().ok());
        let key = signature.and_then(|it| it.split("Credential=").nth(1)?.split('/').next());
        let keys = locked(&self.keys);
        let ends = key.and_then(|key| keys.get(key));
        ends.is_some_and(|at| *at <= SystemTime::now())
    }

    /// How AWS still shows an instance that has left; each look uses up some of its lag.
    fn look_at(&self, instance: &str) -> Option<Leaving> {
        let mut leaving = locked(&self.leaving);
        let shown = leaving.get_mut(instance)?;
        shown.looks.take().then_some(*shown)
    }
}

/// The status and the error code, if any.
fn describe(answer: &Answer) -> String {
    match answer {
        Answer::Reply(reply) | Answer::Half(reply) => {
            let body = String::from_utf8_lossy(&reply.body);
            let status = reply.status.as_u16();
            match texts(&body, "Code").first() {
                Some(code) if status >= 400 => format!("{status} {code}"),
                _ => status.to_string(),
            }
        }
        Answer::Close => "connection closed".to_owned(),
        Answer::Hang => "silence".to_owned(),
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
