//! Agents that run one job a process.

use super::one;
use super::script::Script;

fn single() -> Script {
    one().with("drain-by=single-job")
}

#[test]
fn a_one_job_agent_is_started_again_until_max_jobs() {
    one().with("drain-by=single-job max-jobs=2").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | exit 1 0             -> spawn 1                   ; starting, 302
      3 | start 1              -> prepare max-jobs          ; draining max-jobs by 3603, 3603
      4 | exit 1 0             -> sweep terminate           ; sweeping max-jobs, 6
    ",
    );
}

#[test]
fn a_one_job_agent_that_ends_at_once_is_paced_and_must_become_ready() {
    one().with("drain-by=single-job boot-timeout=5").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 5
    0.5 | exit 1 0             ->                           ; starting, 1
      1 | tick                 -> spawn 1                   ; starting, 5
      4 | exit 1 0             -> spawn 1                   ; starting, 5
      5 | tick                 -> terminate 1, prepare boot-timeout ; draining boot-timeout by 3605, 15
    ",
    );
}

#[test]
fn the_exit_of_a_one_job_agent_counts_where_nothing_else_does() {
    one()
        .with("drain-by=single-job max-jobs=2 detectors=hint")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
     10 | exit 1 0             -> spawn 1                   ; starting, 310
     11 | ready 1              ->                           ; idle since 10, 610
     20 | exit 1 unknown       -> prepare max-jobs, sweep terminate ; sweeping max-jobs, 22
    ",
        );
}

#[test]
fn a_one_job_agent_with_its_job_gets_no_signal_and_ends_by_itself() {
    single().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      9 | finish 1             ->                           ; draining operator by 3602, 19
     10 | restart              -> prepare operator          ; draining operator by 3602, 19
     18 | exit 1 0             -> sweep terminate           ; sweeping operator, 20
    ",
    );
    single().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; idle since 2, 12
      3 | drain operator       -> prepare operator          ; draining operator by 3603, 12
      4 | exit 1 0             -> sweep terminate           ; sweeping operator, 6
    ",
    );
}

#[test]
fn a_one_job_agent_without_a_job_is_drained_when_confirmed_idle() {
    single().with("cordon=yes").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
      3 | cordoned 1           ->                           ; draining operator by 3602, 4
      4 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_job_before_the_drain_step_lets_a_one_job_agent_end_by_itself() {
    single().with("window=4,30").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 32
      3 | start 1              ->                           ; draining operator by 3602, 3602
      4 | finish 1             ->                           ; draining operator by 3602, 14
      5 | safe 1               ->                           ; draining operator by 3602, 14
     14 | tick                 -> stays 1                   ; draining operator by 3602, 44
     20 | safe 1               -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_drained_agent_that_stays_after_its_one_job_is_told() {
    single().with("detectors=log,level sample=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              -> sample                    ; busy 1, 61
      1 | level 1 0            ->                           ; busy 1, 61
      1 | sampled              ->                           ; busy 1, 61
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 61
      9 | finish 1             ->                           ; draining operator by 3602, 19
     19 | tick                 -> stays 1, sample           ; draining operator by 3602, 79
     19 | level 1 0            ->                           ; draining operator by 3602, 79
     19 | sampled              -> drain 1                   ; draining operator by 3602, 79
    ",
    );
}

#[test]
fn an_agent_that_stays_after_its_one_job_takes_jobs_again() {
    single().with("max-jobs=4 agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | ready 2              ->                           ; idle since 1, 300
      2 | start 1              ->                           ; busy 1
      3 | finish 1             ->                           ; idle since 3, 13
     13 | tick                 -> stays 1                   ; idle since 3, 603
     14 | start 1              ->                           ; busy 1
     15 | finish 1             ->                           ; idle since 15, 615
     99 | tick                 ->                           ; idle since 15, 615
    100 | start 1              ->                           ; busy 1
    101 | start 2              -> prepare max-jobs          ; draining max-jobs by 3701, 3701
    102 | finish 1             -> drain 1                   ; draining max-jobs by 3701, 3701
    ",
    );
}

#[test]
fn the_next_process_of_an_agent_that_stayed_is_known_to_stay() {
    single().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; idle since 2, 12
     12 | tick                 -> stays 1                   ; idle since 2, 602
     13 | exit 1 0             -> spawn 1                   ; starting, 313
     14 | start 1              ->                           ; busy 1
     15 | finish 1             ->                           ; idle since 15, 615
     16 | drain operator       -> drain 1, prepare operator ; draining operator by 3616, 3616
    ",
    );
}

#[test]
fn a_one_job_agent_that_finds_no_job_is_started_again_and_its_idle_time_goes_on() {
    let mut script = single().with("exit-ok=1 max-jobs=3");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
    0.1 | ready 1              ->                           ; idle since 0.1, 600.1
    0.5 | exit 1 1             ->                           ; starting, 1
      1 | tick                 -> spawn 1                   ; starting, 300.5
    1.1 | ready 1              ->                           ; idle since 0.1, 600.1
    300 | exit 1 0             -> spawn 1                   ; starting, 600
    301 | ready 1              ->                           ; idle since 0.1, 600.1
  600.1 | tick                 -> drain 1, prepare idle     ; draining idle by 4200.1, 4200.1
    ",
    );
    assert_eq!(script.started(), 0);
}
