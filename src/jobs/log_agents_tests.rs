//! Lines as agents printed them, cut to what matters, and what the built-in presets see there.

use super::tests::events;
use crate::presets::{self, Stream};

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";

/// v3.116.0 with `--spawn 3`: the jobs end with 3, with 0, and cancelled.
#[test]
fn buildkite_tells_outcomes_by_the_worker_s_exit_status() {
    let line = |said: &str| {
        format!(
            "\x1b[38;5;48m2026-11-21 15:50:34 INFO  \x1b[0m \x1b[38;5;243m{said}\x1b[0m \n",
            said = said.replacen(' ', "\x1b[0m \x1b[0m", 1)
        )
    };
    let url = "for build at https://buildkite.example/org/pipeline/builds/1";
    let text = [
        line(&format!("a-1 Starting job {ONE} {url}")),
        line("a-1 [Process] Process is running with PID: 432"),
        line(&format!("a-3 Starting job {TWO} {url}")),
        line("a-1 Process with PID: 432 finished with Exit Status: 3, Signal: nil"),
        line("a-3 Process with PID: 471 finished with Exit Status: 0, Signal: nil"),
        line(&format!("a-3 Finished job {TWO} {url}")),
        line(&format!("a-1 Finished job {ONE} {url}")),
        line(&format!("a-1 Starting job {ONE} {url}")),
        line(&format!(
            "a-1 Canceling job {ONE} with a signal grace period of 9s (agent is stopping)"
        )),
        line("a-1 Process with PID: 1601 finished with Exit Status: -1, Signal: SIGTERM"),
        line(&format!("a-1 Finished job {ONE} {url}")),
    ]
    .concat();
    let buildkite = presets::load("buildkite").expect("built in");
    assert_eq!(
        events(&buildkite, Stream::Stderr, &[text.as_bytes()]),
        [
            format!("0 started {ONE}"),
            format!("0 started {TWO}"),
            format!("0 finished {TWO} passed"),
            format!("0 finished {ONE} failed"),
            format!("0 started {ONE}"),
            format!("0 finished {ONE} canceled"),
        ]
    );
}

/// v3.137.0 with `--log-format json`.
#[test]
fn buildkite_tells_outcomes_in_json_too() {
    let line = |msg: &str, more: &str| {
        format!("{{\"ts\":\"2026-11-21T15:55:08Z\",\"level\":\"INFO\",\"msg\":\"{msg}\"{more}}}\n")
    };
    let agent = ",\"agent\":\"a-1\"";
    let status = |code: i32| {
        format!("Process with PID: 19279 finished with Exit Status: {code}, Signal: nil")
    };
    let url = "https://buildkite.example/org/pipeline/builds/1";
    let text = [
        line(&format!("Starting job at {url}#{ONE}"), agent),
        line(&status(1), agent),
        line(&status(0), &format!("{agent},\"source\":\"job\"")),
        line(&format!("Finished job at {url}#{ONE}"), agent),
        line(&format!("Starting job at {url}#{TWO}"), agent),
        line(
            &format!("Canceling job {TWO} with a signal grace period of 9s (agent is stopping)"),
            agent,
        ),
        line(&status(-1), agent),
        line(&format!("Finished job at {url}#{TWO}"), agent),
    ]
    .concat();
    let buildkite = presets::load("buildkite").expect("built in");
    assert_eq!(
        events(&buildkite, Stream::Stdout, &[text.as_bytes()]),
        [
            format!("1 started {ONE}"),
            format!("1 finished {ONE} failed"),
            format!("1 started {TWO}"),
            format!("1 finished {TWO} canceled"),
        ]
    );
}

/// drone-runner-exec v1.0.0-beta.10, and the errors after which a stage is over.
#[test]
fn drone_runners_stages_end_in_each_of_their_ways() {
    let accepted = r#"time="2026-11-21T15:46:44Z" level=debug msg="stage accepted" stage.id=1 stage.name=default stage.number=1 thread=1"#;
    let more = "build.id=1 build.number=1 repo.id=1 repo.name=hello stage.id=1 stage.name=default stage.number=1 thread=1";
    let mut text = format!(
        "time=\"2026-11-21T15:46:43Z\" level=info msg=\"polling the remote server\" capacity=3\n\
         {accepted}\n\
         time=\"2026-11-21T15:46:44Z\" level=debug msg=\"updated stage to running\" {more}\n\
         time=\"2026-11-21T15:46:49Z\" level=debug msg=\"updated stage to complete\" duration=5 {more}\n"
    );
    let errors = [
        "cannot get stage details",
        "cannot process stage, access denied",
        "cannot parse configuration file",
        "cannot update stage",
    ];
    for error in errors {
        text += &format!(
            "{accepted}\ntime=\"2026-11-21T15:46:49Z\" level=error msg=\"{error}\" error=\"x stage.id=9 \\\" stage.id=8 y\" {more}\n"
        );
    }
    let runner = presets::load("drone-runner").expect("built in");
    let mut expected = vec!["ready"];
    for _ in 0..=errors.len() {
        expected.extend(["0 started 1", "0 finished 1 unknown"]);
    }
    assert_eq!(
        events(&runner, Stream::Stderr, &[text.as_bytes()]),
        expected
    );
}

/// drone-agent v0.8.10; the last has no Docker daemon.
#[test]
fn drone_0_8_tells_exit_codes() {
    let text = br#"{"time":"t","level":"debug","message":"request next execution"}
{"time":"t","level":"debug","repo":"o/r","build":"12","id":"34","message":"received execution"}
{"time":"t","level":"debug","repo":"o/r","build":"12","id":"34","error":"","exit_code":1,"message":"pipeline complete"}
{"time":"t","level":"debug","repo":"o/r","build":"12","id":"34","error":"","exit_code":1,"message":"updating pipeline status"}
{"time":"t","level":"debug","repo":"o/r","build":"12","id":"34","message":"updating pipeline status complete"}
{"time":"t","level":"debug","repo":"o/r","build":"13","id":"35","message":"received execution"}
{"time":"t","level":"error","repo":"o/r","build":"13","id":"35","error":"x","message":"cannot create docker client"}
"#;
    let agent = presets::load("drone").expect("built in");
    assert_eq!(
        events(&agent, Stream::Stderr, &[text]),
        [
            "ready",
            "0 started 34",
            "0 finished 34 failed",
            "0 started 35",
            "0 finished 35 unknown",
        ]
    );
}

/// drone-agent v1.6.5.
#[test]
fn drone_1_tells_what_failed() {
    let text = br#"{"arch":"amd64","level":"debug","machine":"m","msg":"runner: polling queue","os":"linux","time":"t"}
{"arch":"amd64","build":7,"level":"info","machine":"m","msg":"runner: start execution","os":"linux","repo":"o/r","stage":1,"stage-id":5,"time":"t"}
{"arch":"amd64","build":7,"error":null,"level":"info","machine":"m","msg":"runner: execution complete","os":"linux","repo":"o/r","stage":1,"stage-id":5,"time":"t"}
{"arch":"amd64","build":8,"level":"info","machine":"m","msg":"runner: start execution","os":"linux","repo":"o/r","stage":1,"stage-id":6,"time":"t"}
{"arch":"amd64","build":8,"error":"run : exit code 3","level":"info","machine":"m","msg":"runner: execution failed","os":"linux","repo":"o/r","stage":1,"stage-id":6,"time":"t"}
"#;
    let agent = presets::load("drone").expect("built in");
    assert_eq!(
        events(&agent, Stream::Stderr, &[text]),
        [
            "ready",
            "1 started 5",
            "1 finished 5 passed",
            "1 started 6",
            "1 finished 6 failed",
        ]
    );
}

/// v1.0.5: two workflows, one of which is cancelled by a signal.
#[test]
fn woodpecker_1_tells_outcomes_by_the_exit_code() {
    let line = |id: &str, more: &str, message: &str| {
        format!(
            "{{\"level\":\"debug\",\"repo\":\"o/r\",\"pipeline\":\"7\",\"id\":\"{id}\"{more},\
             \"time\":\"2026-11-21T15:53:22Z\",\"caller\":\"agent/runner.go:90\",\
             \"message\":\"{message}\"}}\n"
        )
    };
    let ended = |code: i32, canceled: bool| {
        format!(",\"error\":\"\",\"exit_code\":{code},\"canceled\":{canceled}")
    };
    let text = [
        "{\"level\":\"info\",\"time\":\"t\",\"message\":\"Starting Woodpecker agent with version \
         'dev' and backend 'local' using platform 'linux/amd64' running up to 1 pipelines in \
         parallel\"}\n"
            .to_owned(),
        line("1", "", "received execution"),
        line(
            "1",
            ",\"exit_code\":3,\"exited\":true",
            "update step status complete",
        ),
        line("1", "", "pipeline initialization failed"),
        line("1", &ended(3, false), "pipeline complete"),
        line(
            "1",
            ",\"error\":\"\",\"exit_code\":3",
            "updating pipeline status",
        ),
        line("1", "", "updating pipeline status complete"),
        line("2", "", "received execution"),
        "ctrl+c received, terminating process\n".to_owned(),
        line("2", &ended(137, true), "pipeline complete"),
        line("2", ",\"error\":\"EOF\"", "updating pipeline status failed"),
    ]
    .concat();
    let woodpecker = presets::load("woodpecker").expect("built in");
    assert_eq!(
        events(&woodpecker, Stream::Stderr, &[text.as_bytes()]),
        [
            "ready",
            "0 started 1",
            "0 finished 1 failed",
            "0 started 2",
            "0 finished 2 canceled",
        ]
    );
}

/// From v2.7 to v3.13, and from v3.14 on. A repository's name is no word of the agent's.
#[test]
fn woodpecker_3_tells_outcomes_when_a_workflow_is_finished() {
    let line = |id: &str, more: &str, message: &str| {
        format!(
            "{{\"level\":\"debug\",\"repo\":\"o/\\\"message\\\":\\\"workflow finished\\\"}}\",\
             \"pipeline\":\"7\",\"workflow_id\":\"{id}\"{more},\"time\":\"2026-11-21T15:53:22Z\",\
             \"caller\":\"/src/agent/runner.go:110\",\"message\":\"{message}\"}}\n"
        )
    };
    let ended =
        |error: &str, canceled: bool| format!(",\"error\":\"{error}\",\"canceled\":{canceled}");
    let text = [
        "{\"level\":\"info\",\"version\":\"3.13.0\",\"message\":\"Starting Woodpecker agent\"}\n"
            .to_owned(),
        "{\"level\":\"info\",\"version\":\"3.17.0\",\"message\":\"starting Woodpecker agent\"}\n"
            .to_owned(),
        line("1", "", "received execution"),
        line("1", ",\"error\":\"EOF\"", "workflow initialization failed"),
        line("1", &ended("", false), "workflow finished"),
        line("1", ",\"error\":\"\"", "updating workflow status"),
        line("1", "", "updating workflow status complete"),
        line("2", "", "received execution"),
        line(
            "2",
            &ended("uuid=x: exit code 1", false),
            "workflow finished",
        ),
        line("2", "", "signaling workflow stopped done"),
        line("3", "", "received execution"),
        line("3", &ended("", true), "workflow finished"),
        line(
            "3",
            ",\"error\":\"EOF\"",
            "failed to update workflow status",
        ),
        line("4", "", "received execution"),
        line(
            "4",
            ",\"error\":\"EOF\"",
            "signaling workflow initialization to server failed",
        ),
    ]
    .concat();
    let woodpecker = presets::load("woodpecker").expect("built in");
    assert_eq!(
        events(&woodpecker, Stream::Stderr, &[text.as_bytes()]),
        [
            "ready",
            "0 started 1",
            "0 finished 1 passed",
            "0 started 2",
            "0 finished 2 failed",
            "0 started 3",
            "0 finished 3 canceled",
            "0 started 4",
            "0 finished 4 unknown",
        ]
    );
}

/// gitlab-runner v17.9: two jobs, of which one fails and one passes; v19.4's form of a failure.
#[test]
fn gitlab_breaks_a_failure_s_line_or_not() {
    let color = |said: &str| said.replace('<', "\x1b[0;33m").replace('>', "\x1b[0;m");
    let text = color(
        "Initializing executor providers                   >  builds>=0 max_builds>=2\n\
         Checking for jobs... received                     >  job>=1 repo_url>=https://x/job=9.git runner>=012345678\n\
         Added job to processing list                      >  builds>=1 job>=1 max_builds>=2 project>=1 repo_url>=https://x/y.git\n\
         Added job to processing list                      >  builds>=2 job>=2 max_builds>=2 project>=1 repo_url>=https://x/y.git\n\
         <WARNING: Job failed: exit status 1\n\
         \u{20}              >  <duration_s>=0.186055637 <job>=1 <project>=1 <runner>=012345678\n\
         Job succeeded                                     >  duration_s>=0.176810001 job>=2 project>=1 runner>=012345678\n\
         Removed job from processing list                  >  builds>=1 job>=1 max_builds>=2 project>=1\n\
         Removed job from processing list                  >  builds>=0 job>=2 max_builds>=2 project>=1\n\
         Added job to processing list                      >  builds>=1 job>=3 max_builds>=2 project>=1\n\
         <WARNING: Job failed: exit status 1               >  <duration_s>=0.1 <error>=exit status 1 <exit_code>=1 <job>=3 <job-status>=failed\n\
         Removed job from processing list                  >  builds>=0 job>=3 max_builds>=2 project>=1\n\
         <WARNING: Job failed: canceled                    >  <duration_s>=0.1 <error>=canceled <job>=4 <job-status>=failed\n\
         Removed job from processing list                  >  builds>=0 job>=4 max_builds>=2 project>=1\n",
    );
    let gitlab = presets::load("gitlab").expect("built in");
    assert_eq!(
        events(&gitlab, Stream::Stderr, &[text.as_bytes()]),
        [
            "ready",
            "0 started 1",
            "0 started 2",
            "0 finished 1 failed",
            "0 finished 2 passed",
            "0 started 3",
            "0 finished 3 failed",
            "0 finished 4 canceled",
        ]
    );
}

/// The same runner with its other log formats.
#[test]
fn gitlab_speaks_json_and_logrus_text_too() {
    let json = r#"
{"builds":0,"level":"info","max_builds":2,"msg":"Initializing executor providers","time":"2026-11-21T16:01:20Z"}
{"builds":1,"job":1,"level":"info","msg":"Added job to processing list","time":"2026-11-21T16:01:22Z"}
{"duration_s":0.2,"job":1,"level":"warning","msg":"Job failed: exit status 1\n","time":"2026-11-21T16:01:22Z"}
{"builds":0,"job":1,"level":"info","msg":"Removed job from processing list","time":"2026-11-21T16:01:22Z"}
"#;
    let text = r#"
time="2026-11-21T16:01:20Z" level=info msg="Initializing executor providers" builds=0 max_builds=2
time="2026-11-21T16:01:22Z" level=info msg="Added job to processing list" builds=1 job=1 max_builds=2
time="2026-11-21T16:01:22Z" level=warning msg="Job failed: exit status 1\n" duration_s=0.2 job=1 project=1
time="2026-11-21T16:01:22Z" level=info msg="Removed job from processing list" builds=0 job=1 max_builds=2
"#;
    let gitlab = presets::load("gitlab").expect("built in");
    for format in [json, text] {
        assert_eq!(
            events(&gitlab, Stream::Stderr, &[format.as_bytes()]),
            ["ready", "0 started 1", "0 finished 1 failed"]
        );
    }
}

/// kkagent 1.7.36; its job prints its agent's own lines.
#[test]
fn kraken_lines_count_where_their_module_writes_them() {
    let text = "\
2026-11-21 15:55:23,458 INFO p:20668    agent:168   reported host info: {'system': 'debian-12'}
2026-11-21 15:55:23,464 INFO p:20668    agent:193   >>>>>> received job: {'id': 1, 'name': 'job 1'}
2026-11-21 15:55:23,480 INFO p:20668   jobber:451   started job in /x/jobs/1, executing in local
2026-11-21 15:55:24,793 INFO p:20668 local_ru:143   2026-11-21 10:01:52,710 INFO p:31852   jobber:500   completed job 1 with status done
2026-11-21 15:55:24,793 INFO p:20668 local_ru:143      jobber:500   completed job 1 with status done
2026-11-21 15:55:25,844 INFO p:20668   jobber:500   completed job 1 with status error
2026-11-21 15:55:25,845 INFO p:20668    agent:193   >>>>>> received job: {}
";
    let kraken = presets::load("kraken").expect("built in");
    assert_eq!(
        events(&kraken, Stream::Stderr, &[text.as_bytes()]),
        [
            "ready",
            "0 started 1",
            "1 started 1",
            "0 finished 1 failed",
            "1 finished 1 unknown",
            "safe"
        ]
    );
}
