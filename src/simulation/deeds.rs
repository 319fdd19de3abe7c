//! What the supervisor wants, done to the world.

use std::time::Duration;

use super::group::{Call, Word};
use super::supervisor::Deed;
use super::world::{Happening, World};
use crate::instance::notices::{
    Answer, Ask, HookFailure, News, ProtectFailure, Target, Transition, Warm,
};
use crate::lifecycle::*;

/// A call that loses its answer is given up after this.
const TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn perform(&mut self, deed: Deed) {
        match deed {
            Deed::Act(action) => self.act(action),
            Deed::Look => self.look_at(self.now),
            Deed::Ask(transition, ask) => self.ask(transition, ask),
            Deed::Protect(protect) => self.protect(protect),
            Deed::Heard(news) => self.heard(news),
        }
    }

    fn heard(&mut self, news: News) {
        self.story.tells(self.now, || format!("hears {news:?}"));
        match news {
            News::Notice(_) => self.totals.notices += 1,
            News::Target(Target::Terminated | Target::Warmed(Warm::Terminated)) => {
                self.judge.chosen(self.now);
            }
            News::Target(Target::Warmed(_)) if !self.is_parked() => self.judge.chosen(self.now),
            _ => {}
        }
    }

    fn is_parked(&self) -> bool {
        let supervisor = self.supervisor.as_ref();
        supervisor.is_some_and(|it| matches!(it.life.phase(), Phase::Parked { .. }))
    }

    fn act(&mut self, action: Action) {
        self.story.tells(self.now, || format!("{action:?}"));
        let seconds = Duration::from_secs;
        match &action {
            Action::Spawn(agent) => self.spawn(*agent),
            Action::Stop(agent, how) => self.strike(*agent, *how),
            Action::Sweep(_) => {
                let wait = self.chance.between(Duration::ZERO, seconds(1));
                self.later(wait, Happening::Told(self.number, Event::TreeGone));
            }
            Action::Retire(reason) => {
                self.judge_retirement(*reason);
                let climb = self.nature.climb;
                let wait = self.chance.between(climb, climb + seconds(60));
                self.later(wait, Happening::Climbed(self.number, *reason, self.now));
            }
            Action::PowerOff => self.ends("powers off"),
            Action::Exit => self.supervisor_ends(),
            Action::Report(report) => self.report(report),
            Action::Sample | Action::Cordon(_) | Action::PrepareRetire(_) => {}
        }
        self.wanted.push((self.now, action));
    }

    /// A machine that a warm pool owns is not ended.
    fn judge_retirement(&self, reason: Reason) {
        let supervisor = self.supervisor.as_ref().expect("it acts");
        assert!(
            !supervisor.is_pooled() || reason != Reason::Signal,
            "it retires for the shutdown into its pool"
        );
    }

    fn report(&mut self, report: &Report) {
        match report {
            Report::DrainBegan { .. } => self.totals.drains += 1,
            Report::ReturnedToService { .. } => self.totals.returned += 1,
            Report::Woken => self.judge.launched(Some(self.now)),
            Report::Pooled => {
                self.totals.pooled += 1;
                assert!(!self.agents.any(), "an agent runs in the pool");
            }
            _ => {}
        }
    }

    fn spawn(&mut self, agent: AgentIndex) {
        let supervisor = self.supervisor.as_ref().expect("it acts");
        assert!(!supervisor.is_pooled(), "an agent is started for a pool");
        let life = self.agents.spawn(agent);
        self.later(
            Duration::ZERO,
            Happening::Told(self.number, Event::Spawned(agent)),
        );
        if self.chance.one_in(100) {
            return;
        }
        let boots = self.chance.seconds(2, 200);
        self.later(boots, Happening::Ready(agent, life));
    }

    fn strike(&mut self, agent: AgentIndex, how: Stop) {
        let struck = self.agents.strike(agent, how);
        for job in &struck.killed {
            self.judge.killed(self.now, job);
            self.totals.cancelled += 1;
        }
        if let Some(life) = struck.ends {
            let (wait, exit) = match how {
                Stop::Kill => (Duration::ZERO, Exit::Signal(9)),
                Stop::Terminate => (self.chance.seconds(1, 8), Exit::Signal(15)),
                _ => (self.chance.seconds(1, 25), Exit::Code(0)),
            };
            self.later(wait, Happening::Ends(agent, life, exit));
        }
    }

    fn ask(&mut self, transition: Transition, ask: Ask) {
        let call = match ask {
            // Asked once in a supervisor's life.
            Ask::Hooks if self.knows_hooks => return self.answers_at_once(transition),
            Ask::Hooks => Call::Hooks,
            Ask::State => Call::State,
            Ask::Heartbeat => Call::Heartbeat(transition),
            Ask::Complete => Call::Complete(transition),
        };
        if ask == Ask::Complete {
            let supervisor = self.supervisor.as_ref().expect("it asks");
            let good = self.was_ready || supervisor.is_pooled();
            assert!(good, "{transition:?} is completed before an agent is ready");
        }
        let word = self.call(call);
        let (wait, answer) = match word {
            Word::Hooks(hooks) => {
                self.judge.learned(&hooks);
                self.knows_hooks = true;
                (None, self.hooks_of(transition))
            }
            Word::State(state) => (None, Answer::State(state)),
            Word::Done => {
                if ask == Ask::Heartbeat && transition == Transition::Terminating {
                    self.judge.heartbeat(self.now);
                }
                (None, Answer::Done)
            }
            Word::NoAction => (None, Answer::NoAction),
            Word::Denied | Word::NotInService => (None, Answer::Failed(HookFailure::Denied)),
            Word::Throttled => (None, Answer::Failed(HookFailure::Retry)),
            Word::Lost => (Some(TIMEOUT), Answer::Failed(HookFailure::Retry)),
        };
        let failed = matches!(answer, Answer::Failed(_) | Answer::NoAction);
        if failed && transition == Transition::Terminating {
            self.judge.failed();
        }
        self.totals.heartbeats += u64::from(ask == Ask::Heartbeat && answer == Answer::Done);
        let wait = wait.unwrap_or_else(|| self.latency());
        let answered = Happening::Answered(self.number, transition, ask, answer);
        self.later(wait, answered);
    }

    fn answers_at_once(&mut self, transition: Transition) {
        let hooks = self.hooks_of(transition);
        let answered = Happening::Answered(self.number, transition, Ask::Hooks, hooks);
        self.later(Duration::ZERO, answered);
    }

    fn hooks_of(&self, transition: Transition) -> Answer {
        let hooks = self.group.hooks.iter();
        let ours = hooks.filter(|hook| hook.transition == transition);
        Answer::Hooks(ours.cloned().collect())
    }

    fn protect(&mut self, protect: bool) {
        let supervisor = self.supervisor.as_ref().expect("it asks");
        assert!(
            supervisor.is_in_service(),
            "protection is changed out of service"
        );
        let (wait, answer) = match self.call(Call::Protect(protect)) {
            Word::Denied => (None, Err(ProtectFailure::Denied)),
            Word::NotInService => (None, Err(ProtectFailure::NotInService)),
            Word::Throttled => (None, Err(ProtectFailure::Retry)),
            Word::Lost => (Some(TIMEOUT), Err(ProtectFailure::Retry)),
            _ => (None, Ok(())),
        };
        self.totals.protected += u64::from(answer.is_ok());
        let wait = wait.unwrap_or_else(|| self.latency());
        self.later(wait, Happening::Protected(self.number, protect, answer));
    }

    fn call(&mut self, call: Call) -> Word {
        let word = self.group.call(self.now, call);
        self.story.tells(self.now, || format!("{call:?}: {word:?}"));
        self.totals.calls += 1;
        if matches!(word, Word::Denied | Word::Throttled | Word::Lost) {
            self.totals.failed_calls += 1;
        }
        if word == Word::Denied {
            self.judge.denied();
        }
        word
    }

    fn latency(&mut self) -> Duration {
        self.chance.between(Duration::ZERO, Duration::from_secs(2))
    }
}
