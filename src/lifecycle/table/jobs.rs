//! Max-jobs, and agents that cannot be drained by a signal.

use super::one;

#[test]
fn the_drain_begins_when_the_last_allowed_job_starts() {
    one().with("max-jobs=2").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | finish 1             ->                           ; idle since 2, 602
      3 | start 1              -> drain 1, prepare max-jobs ; draining max-jobs by 3603, 3603
      4 | finish 1             ->                           ; draining max-jobs by 3603, 3603
      4 | exit 1 0             -> sweep terminate           ; sweeping max-jobs, 6
    ",
    );
}

#[test]
fn with_more_slots_it_begins_while_every_slot_may_still_take_one() {
    one().with("max-jobs=5 slots=3").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | start 1              ->                           ; busy 2
      3 | start 1              -> drain 1, prepare max-jobs ; draining max-jobs by 3603, 3603
      3 | start 1              ->                           ; draining max-jobs by 3603, 3603
    ",
    );
}

#[test]
fn agents_for_which_no_job_is_left_are_drained_one_by_one() {
    one().with("max-jobs=3 agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | start 1              ->                           ; busy 1, 300
      2 | start 2              -> drain 2                   ; busy 2
      3 | exit 2 0             ->                           ; busy 1
      4 | finish 1             ->                           ; idle since 4, 604
      5 | start 1              -> drain 1, prepare max-jobs ; draining max-jobs by 3605, 3605
    ",
    );
}

#[test]
fn no_more_agents_start_than_jobs_are_left() {
    one().with("max-jobs=2 agents=3").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
    ",
    );
    one().with("max-jobs=1 slots=2").plays(
        "
      0 | new                  -> prepare max-jobs, sweep terminate ; sweeping max-jobs, 2
    ",
    );
}

#[test]
fn an_agent_ended_before_it_was_ready_starts_no_idle_time() {
    one().with("agents=2 idle-timeout=5").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | limits max-jobs=1    -> terminate 2               ; starting, 11
      9 | ready 1              ->                           ; idle since 9, 11
    ",
    );
}

#[test]
fn a_job_too_many_is_told() {
    one().with("max-jobs=1").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              -> drain 1, prepare max-jobs ; draining max-jobs by 3601, 3601
      2 | finish 1             ->                           ; draining max-jobs by 3601, 3601
      2 | start 1              -> lost 1                    ; draining max-jobs by 3601, 3601
    ",
    );
}

#[test]
fn an_agent_whose_signal_cancels_is_signalled_when_it_has_no_job() {
    one().with("drain-by=wait-idle").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      9 | finish 1             -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_job_that_the_drain_step_of_an_idle_agent_meets_is_told() {
    one().with("drain-by=wait-idle max-jobs=2").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> prepare operator          ; draining operator by 3602, 3602
      3 | finish 1             -> drain 1                   ; draining operator by 3602, 3602
      3 | start 1              -> lost 1                    ; draining operator by 3602, 3602
    ",
    );
    one().with("drain-by=wait-idle max-jobs=1").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              -> prepare max-jobs          ; draining max-jobs by 3601, 3601
      2 | start 1              -> lost 1                    ; draining max-jobs by 3601, 3601
      3 | finish 1             -> drain 1                   ; draining max-jobs by 3601, 3601
      4 | start 1              -> lost 1                    ; draining max-jobs by 3601, 3601
    ",
    );
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> drain 1, prepare operator ; draining operator by 3602, 3602
      2 | start 1              ->                           ; draining operator by 3602, 3602
    ",
    );
}
