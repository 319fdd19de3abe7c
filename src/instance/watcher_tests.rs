//! The watcher against a small service over real HTTP.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::imds_testing::{Fault, Running, start};
use super::notices::{News, NoticePolicy, OnRebalance, Reading, SpotKind, Target, Watch};
use super::watcher::{look, watch};
use crate::lifecycle::{Instant, Reason};

const SPOT: &str = "meta-data/spot/instance-action";
const TARGET: &str = "meta-data/autoscaling/target-lifecycle-state";
const MAINTENANCE: &str = "meta-data/events/maintenance/scheduled";
const REBALANCE: &str = "meta-data/events/recommendations/rebalance";
const PATHS: [&str; 4] = [SPOT, TARGET, MAINTENANCE, REBALANCE];

const NOTICE: &str = r#"{"action":"terminate","time":"2100-01-01T00:00:00Z"}"#;
/// Longer than any test: only pokes make it look again.
const NEVER: Duration = Duration::from_secs(3600);
const OFTEN: Duration = Duration::from_millis(5);

struct Bed {
    service: Running,
    poke: Arc<Notify>,
    news: mpsc::Receiver<News>,
}

impl Bed {
    async fn start(interval: Duration, prepare: impl FnOnce(&Running)) -> Bed {
        let policy = NoticePolicy {
            interval,
            ..NoticePolicy::default()
        };
        Bed::with(policy, prepare).await
    }

    async fn with(policy: NoticePolicy, prepare: impl FnOnce(&Running)) -> Bed {
        let (imds, service) = start().await;
        prepare(&service);
        let rules = Watch::new(policy, Instant::default());
        let poke = Arc::new(Notify::new());
        let (inbox, news) = mpsc::channel(1);
        tokio::spawn(watch(Arc::new(imds), rules, poke.clone(), inbox));
        Bed {
            service,
            poke,
            news,
        }
    }

    async fn next(&mut self) -> News {
        self.news.recv().await.expect("the watcher runs")
    }

    /// The next order to drain.
    async fn drained(&mut self) -> Reason {
        loop {
            if let News::Drain { reason, .. } = self.next().await {
                return reason;
            }
        }
    }
}

#[tokio::test]
async fn a_poke_is_one_look_at_once() {
    let mut bed = Bed::start(NEVER, |_| ()).await;
    bed.service.asked(REBALANCE, 1).await;
    bed.service.lock().says(TARGET, "InService");
    bed.poke.notify_one();
    bed.poke.notify_one();
    assert_eq!(bed.next().await, News::Target(Target::InService));
    bed.service.asked(REBALANCE, 2).await;
    bed.service.lock().says(SPOT, NOTICE);
    bed.poke.notify_one();
    assert_eq!(bed.drained().await, Reason::Spot);
    bed.service.asked(REBALANCE, 3).await;
    let service = bed.service.lock();
    assert_eq!(service.count(SPOT), 3);
    assert_eq!((service.tokens, service.connections), (1, 1));
}

#[tokio::test]
async fn a_poke_during_a_look_is_another_look() {
    let mut bed = Bed::start(NEVER, |service| {
        service.lock().fails(REBALANCE, Fault::Hang);
    })
    .await;
    bed.service.asked(REBALANCE, 1).await;
    // It is past the spot notice and waits for the last answer.
    bed.service.lock().says(SPOT, NOTICE);
    bed.poke.notify_one();
    assert_eq!(bed.drained().await, Reason::Spot);
}

#[tokio::test]
async fn what_is_known_is_told_before_more_is_asked() {
    let mut bed = Bed::start(NEVER, |service| service.lock().says(SPOT, NOTICE)).await;
    assert!(matches!(bed.next().await, News::Notice(_)));
    assert_eq!(bed.service.lock().count(TARGET), 0);
}

#[tokio::test]
async fn it_looks_again_by_itself() {
    let mut bed = Bed::start(OFTEN, |_| ()).await;
    bed.service.asked(REBALANCE, 2).await;
    bed.service.lock().says(TARGET, "Terminated\n");
    assert_eq!(bed.drained().await, Reason::ScaleIn);
}

#[tokio::test]
async fn what_is_told_days_ahead_or_ignored_is_asked_for_seldom() {
    let bed = Bed::start(OFTEN, |_| ()).await;
    bed.service.asked(REBALANCE, 3).await;
    let counts = PATHS.map(|path| bed.service.lock().count(path));
    assert_eq!(counts, [13, 13, 3, 3]);

    let policy = NoticePolicy {
        interval: OFTEN,
        on_rebalance: OnRebalance::Now,
        ..NoticePolicy::default()
    };
    let bed = Bed::with(policy, |_| ()).await;
    bed.service.asked(REBALANCE, 6).await;
    assert_eq!(bed.service.lock().count(MAINTENANCE), 1);
}

#[tokio::test]
async fn a_topic_that_always_fails_hides_no_other() {
    let mut cases = Vec::new();
    for fault in [Fault::Status(503), Fault::Hang] {
        cases.extend(PATHS.map(|broken| tokio::spawn(all_but(broken, fault))));
    }
    for case in cases {
        case.await.expect("the case holds");
    }
}

async fn all_but(broken: &str, fault: Fault) {
    let mut bed = Bed::start(OFTEN, |service| {
        let mut service = service.lock();
        service.fails(broken, fault);
        service.says(SPOT, NOTICE);
        service.says(TARGET, "Terminated");
        let event = r#"[{"Code":"instance-stop","EventId":"e"}]"#;
        service.says(MAINTENANCE, event);
        let text = r#"{"noticeTime":"2020-10-27T08:22:00Z"}"#;
        service.says(REBALANCE, text);
    })
    .await;
    let mut told = Vec::new();
    while told.len() < 3 {
        if let News::Notice(notice) = bed.next().await {
            told.push(notice.reason);
        }
    }
    let expected = [
        (SPOT, Reason::Spot),
        (TARGET, Reason::ScaleIn),
        (MAINTENANCE, Reason::Maintenance),
        (REBALANCE, Reason::Rebalance),
    ];
    for (path, reason) in expected {
        assert_eq!(told.contains(&reason), path != broken, "{broken}: {told:?}");
    }
}

#[tokio::test]
async fn a_service_in_trouble_gets_one_request_a_round() {
    let (imds, service) = start().await;
    service.lock().fails(SPOT, Fault::Status(503));
    let rules = Watch::new(NoticePolicy::default(), Instant::default());
    let (inbox, news) = mpsc::channel::<News>(1);
    let watching = tokio::spawn(watch(Arc::new(imds), rules, Arc::default(), inbox));
    service.asked(SPOT, 1).await;
    // It ends with its look, and would have asked for the rest by then.
    drop(news);
    watching.await.expect("it ends");
    assert_eq!(service.lock().asked, ["api/token", SPOT]);
}

#[tokio::test]
async fn a_service_that_refuses_its_token_is_watched_again_when_it_gives_one() {
    let mut bed = Bed::start(OFTEN, |service| {
        service.lock().fails("api/token", Fault::Status(403));
    })
    .await;
    bed.service.asked("api/token", 5).await;
    {
        let mut service = bed.service.lock();
        service.faults.clear();
        service.says(SPOT, NOTICE);
    }
    assert_eq!(bed.drained().await, Reason::Spot);
    // What was said with the old token.
    bed.service.lock().tokens += 1;
    bed.service.lock().says(TARGET, "Terminated");
    assert_eq!(bed.drained().await, Reason::ScaleIn);
}

#[tokio::test]
async fn nonsense_is_unknown_and_what_follows_it_is_read() {
    let mut bed = Bed::start(OFTEN, |service| {
        let mut service = service.lock();
        service.says(SPOT, "<html>");
        service.says(MAINTENANCE, "[{");
        service.says(TARGET, "In Service");
    })
    .await;
    bed.service.asked(REBALANCE, 2).await;
    assert!(bed.news.try_recv().is_err());
    bed.service.lock().says(SPOT, NOTICE);
    assert_eq!(bed.drained().await, Reason::Spot);
}

#[tokio::test]
async fn it_ends_with_its_inbox() {
    let (imds, service) = start().await;
    let rules = Watch::new(NoticePolicy::default(), Instant::default());
    let (inbox, news) = mpsc::channel::<News>(1);
    let watching = watch(Arc::new(imds), rules, Arc::default(), inbox);
    let watching = tokio::spawn(watching);
    service.asked(REBALANCE, 1).await;
    drop(news);
    watching.await.expect("it ends");
}

#[tokio::test]
async fn one_look_tells_what_is_known() {
    let (imds, service) = start().await;
    service.lock().says(SPOT, NOTICE);
    service.lock().fails(TARGET, Fault::Status(503));
    service.lock().says(MAINTENANCE, "[]");
    let round = look(&imds).await;
    let Reading::Is(action) = round.spot else {
        panic!("{round:?}")
    };
    assert_eq!(action.kind, SpotKind::Terminate);
    assert_eq!(round.target, Reading::Unknown);
    assert_eq!(round.maintenance, Reading::Nothing);
    assert_eq!(round.rebalance, Reading::Nothing);

    // A silent service costs one time limit, not four.
    service.lock().fails(SPOT, Fault::Hang);
    service.lock().asked.clear();
    let round = look(&imds).await;
    assert_eq!(round.rebalance, Reading::Unknown);
    assert_eq!(service.lock().asked, [SPOT]);
}
