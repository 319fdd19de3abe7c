//! Asked to leave, but not at once.

use super::one;
use super::script::Script;

fn two_slots() -> Script {
    one().with("slots=2")
}

#[test]
fn with_one_slot_the_job_that_runs_is_the_last() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | after-job rebalance  -> drain 1, prepare rebalance ; draining rebalance by 3602, 3602
    ",
    );
}

#[test]
fn without_a_job_it_leaves_at_once() {
    two_slots().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | after-job rebalance  -> drain 1, prepare rebalance ; draining rebalance by 3602, 3602
    ",
    );
}

#[test]
fn with_several_slots_it_works_on_until_one_of_its_jobs_ends() {
    two_slots().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1 a            ->                           ; busy 1
      2 | after-job rebalance  -> leaves rebalance          ; busy 1
      3 | after-job rebalance  ->                           ; busy 1
      9 | start 1 b            ->                           ; busy 2
     10 | restart              ->                           ; busy 2
     20 | finish 1 b passed    -> drain 1, prepare rebalance ; draining rebalance by 3620, 3620
     30 | after-job spot by 60 ->                           ; draining spot by 60, 60
    ",
    );
}

#[test]
fn a_job_that_another_one_replaced_in_the_same_instant_has_ended() {
    two_slots().with("slots=2 agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | start 1 a            ->                           ; busy 1, 300
      1 | start 2 b            ->                           ; busy 2
      2 | start 2 c            ->                           ; busy 3
      3 | after-job rebalance  -> leaves rebalance          ; busy 3
      9 | start 2 d            -> drain 1, drain 2, prepare rebalance ; draining rebalance by 3609, 3609
    ",
    );
}

#[test]
fn a_level_that_falls_is_a_job_that_ends() {
    one().with("slots=2 detectors=log,level sample=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      2 | level 1 2            ->                           ; busy 2, 61
      3 | after-job rebalance  -> leaves rebalance          ; busy 2, 61
      4 | level 1 1            -> drain 1, prepare rebalance ; draining rebalance by 3604, 61
    ",
    );
}

#[test]
fn an_agent_that_crashes_ends_its_jobs() {
    two_slots().with("agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | start 1 a            ->                           ; busy 1, 300
      2 | start 2 b            ->                           ; busy 2
      3 | after-job maintenance -> leaves maintenance       ; busy 2
      4 | exit 2 signal 11     -> drain 1, prepare maintenance ; draining maintenance by 3604, 3604
    ",
    );
}

#[test]
fn its_deadline_waits_for_no_job() {
    two_slots().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | after-job maintenance by 90 -> leaves maintenance by 90 ; busy 1, 90
      3 | after-job rebalance by 95 ->                      ; busy 1, 90
      4 | after-job rebalance by 80 -> leaves maintenance by 80 ; busy 1, 80
      5 | restart              ->                           ; busy 1, 80
     80 | tick                 -> drain 1, prepare maintenance, cancel 1 ; draining maintenance by 80, 110
    ",
    );
}

#[test]
fn a_drain_that_begins_before_keeps_its_deadline_and_the_weightier_reason() {
    two_slots().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | after-job maintenance by 90 -> leaves maintenance by 90 ; busy 1, 90
      3 | drain operator       -> drain 1, prepare maintenance ; draining maintenance by 90, 90
     90 | tick                 -> cancel 1                  ; draining maintenance by 90, 120
    ",
    );
}

#[test]
fn a_deadline_that_has_passed_cancels_at_once() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
    100 | after-job spot by 90 -> drain 1, prepare spot, cancel 1 ; draining spot by 90, 130
    ",
    );
}
