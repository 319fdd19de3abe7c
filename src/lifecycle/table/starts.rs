//! How agents come up, crash, and end by themselves.

use super::one;

#[test]
fn an_agent_that_is_never_ready_ends_the_machine() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | spawned 1            ->                           ; starting, 300
    300 | tick                 -> terminate 1, prepare boot-timeout ; draining boot-timeout by 3900, 310
    ",
    );
}

#[test]
fn a_spawn_that_never_answers_ends_the_machine() {
    one().with("agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 300
    300 | tick                 -> drain 1, terminate 2, prepare boot-timeout ; draining boot-timeout by 3900, 310
    ",
    );
}

#[test]
fn without_a_ready_line_a_started_agent_is_ready() {
    one().with("sees-ready=no").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | spawned 1            ->                           ; idle since 1, 601
    ",
    );
}

#[test]
fn a_crash_is_started_again_later_each_time_and_the_fifth_is_a_loop() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | start 1              ->                           ; busy 1
      3 | exit 1 1             ->                           ; starting, 4
      4 | tick                 -> spawn 1                   ; starting, 303
      5 | exit 1 1             ->                           ; starting, 7
      7 | tick                 -> spawn 1                   ; starting, 303
      8 | spawn-failed 1 127   ->                           ; starting, 12
     12 | tick                 -> spawn 1                   ; starting, 303
     13 | exit 1 signal 11     ->                           ; starting, 21
     21 | tick                 -> spawn 1                   ; starting, 303
     22 | exit 1 1             -> prepare crash-loop, sweep terminate ; sweeping crash-loop, 24
     24 | tick                 -> sweep kill                ; sweeping crash-loop, 24.1
     24 | tree-gone            -> retire crash-loop         ; retiring crash-loop, 7224
     25 | at-minimum           -> power-off                 ; retiring crash-loop, 325
    ",
    );
}

#[test]
fn crashes_far_apart_are_no_loop() {
    one().with("idle-timeout=never").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1
    100 | exit 1 1             ->                           ; starting, 101
    101 | tick                 -> spawn 1                   ; starting, 400
    102 | ready 1              ->                           ; idle since 1
    200 | exit 1 1             ->                           ; starting, 201
    ",
    );
}

#[test]
fn an_agent_that_ends_well_by_itself_ends_the_machine() {
    one().with("agents=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 300
      1 | ready 2              ->                           ; idle since 1, 601
      2 | exit 1 0             ->                           ; idle since 1, 601
      3 | exit 2 0             -> prepare agent-exit, sweep terminate ; sweeping agent-exit, 5
    ",
    );
}

#[test]
fn a_planned_status_is_a_good_end() {
    one().with("exit-ok=3").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | exit 1 3             -> prepare agent-exit, sweep terminate ; sweeping agent-exit, 4
    ",
    );
}

#[test]
fn where_there_is_no_machine_to_end_a_crash_ends_the_supervisor() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | pass-through         ->                           ; starting, 300
      2 | exit 1 1             -> prepare agent-exit, sweep terminate ; sweeping agent-exit, 4
    ",
    );
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      2 | exit 1 1             ->                           ; starting, 3
      2 | pass-through         -> prepare agent-exit, sweep terminate ; sweeping agent-exit, 4
    ",
    );
}

#[test]
fn a_killed_supervisor_goes_on_where_it_was() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
     10 | restart              ->                           ; idle since 3, 603
     20 | drain operator       -> drain 1, prepare operator ; draining operator by 3620, 3620
     21 | restart              -> prepare operator          ; draining operator by 3620, 51
     51 | tick                 -> drain 1                   ; draining operator by 3620, 3620
     52 | exit 1 0             -> sweep terminate           ; sweeping operator, 54
     53 | restart              -> sweep terminate           ; sweeping operator, 54
     53 | tree-gone            -> retire operator           ; retiring operator, 7253
     54 | restart              -> retire operator           ; retiring operator, 7253
   7253 | tick                 -> power-off                 ; retiring operator, 7553
   7254 | restart              -> power-off                 ; retiring operator, 7553
   7255 | retired              -> leave                     ; gone operator
   7256 | restart              -> leave                     ; gone operator
    ",
    );
}

#[test]
fn a_drain_that_may_be_lost_is_not_repeated_while_a_job_runs() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1
     10 | drain operator       -> drain 1, prepare operator ; draining operator by 3610, 3610
     20 | restart              -> prepare operator          ; draining operator by 3610, 50
     50 | tick                 ->                           ; draining operator by 3610, 80
     60 | finish 1             ->                           ; draining operator by 3610, 80
     80 | tick                 -> drain 1                   ; draining operator by 3610, 3610
    ",
    );
}
