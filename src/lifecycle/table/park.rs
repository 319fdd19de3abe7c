//! Before its group has said what it wants of a machine, and in a warm pool.

use super::one;
use super::script::Script;

/// One job, then scale-in: the machine is leaving its group.
fn leaving() -> Script {
    let mut script = one();
    script.plays(
        "
      0 | parked               ->                           ; parked, 30
      1 | wake                 -> spawn 1                   ; starting, 301
      4 | ready 1              ->                           ; idle since 4, 604
     10 | start 1              ->                           ; busy 1
     20 | drain scale-in by 500 -> drain 1, prepare scale-in ; draining scale-in by 500, 500
     50 | finish 1             ->                           ; draining scale-in by 500, 500
     50 | exit 1 0             -> sweep terminate           ; sweeping scale-in, 52
     50 | tree-gone            -> retire scale-in           ; retiring scale-in, 7250
    ",
    );
    script
}

#[test]
fn no_agent_runs_before_the_machine_is_woken() {
    one().with("max-lifetime=1000").plays(
        "
      0 | parked               ->                           ; parked, 30
      5 | ready 1              ->                           ; parked, 30
      6 | spawned 1            ->                           ; parked, 30
     20 | wake                 -> spawn 1                   ; starting, 320
     21 | ready 1              ->                           ; idle since 21, 621
     22 | start 1              ->                           ; busy 1, 1020
     23 | wake                 ->                           ; busy 1, 1020
     24 | pooled               ->                           ; busy 1, 1020
    ",
    );
}

#[test]
fn a_machine_of_which_nobody_knows_anything_works() {
    one().plays(
        "
      0 | parked               ->                           ; parked, 30
     29 | restart              ->                           ; parked, 30
     30 | tick                 -> unasked, spawn 1          ; starting, 330
    ",
    );
}

#[test]
fn in_a_warm_pool_it_waits_as_long_as_the_pool_wants() {
    one().with("max-lifetime=1000").plays(
        "
      0 | parked               ->                           ; parked, 30
      2 | pooled               ->                           ; pooled
      3 | pooled               ->                           ; pooled
   9000 | restart              ->                           ; pooled
  90000 | tick                 ->                           ; pooled
  90001 | wake                 -> spawn 1                   ; starting, 90301
  90002 | start 1              ->                           ; busy 1, 91001
    ",
    );
}

#[test]
fn whoever_wants_a_parked_machine_to_end_need_not_wait_for_agents() {
    for place in ["", "1 | pooled -> ; pooled"] {
        let mut script = one();
        script.plays("0 | parked -> ; parked, 30");
        script.plays(place);
        script.plays(
            "
      2 | drain scale-in by 90 -> retire scale-in           ; retiring scale-in, 7202
      3 | wake                 ->                           ; retiring scale-in, 7202
      4 | retired              -> leave                     ; gone scale-in
    ",
        );
    }
    one().plays(
        "
      0 | parked               ->                           ; parked, 30
      1 | after-job maintenance -> retire maintenance       ; retiring maintenance, 7201
    ",
    );
}

#[test]
fn a_signal_ends_the_machine_unless_a_pool_owns_it() {
    for signal in ["interrupt", "quit"] {
        one().plays(&format!(
            "
      0 | parked               ->                           ; parked, 30
      1 | {signal}             -> retire signal             ; retiring signal, 7201
    "
        ));
        one().plays(&format!(
            "
      0 | parked               ->                           ; parked, 30
      1 | pooled               ->                           ; pooled
      2 | {signal}             -> leave                     ; gone signal
      3 | wake                 ->                           ; gone signal
    "
        ));
    }
}

#[test]
fn out_of_service_into_the_pool_and_back() {
    leaving().plays(
        "
     51 | pooled               ->                           ; pooled
   5000 | restart              ->                           ; pooled
   9000 | wake                 -> spawn 1                   ; starting, 9300
   9060 | ready 1              ->                           ; idle since 9060, 9660
   9660 | tick                 -> drain 1, prepare idle     ; draining idle by 13260, 13260
    ",
    );
}

#[test]
fn the_pool_makes_nobody_forget_how_many_jobs_there_were() {
    let mut script = one().with("max-jobs=2");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain scale-in       -> drain 1, prepare scale-in ; draining scale-in by 3602, 3602
      3 | exit 1 0             -> sweep terminate           ; sweeping scale-in, 5
      3 | tree-gone            -> retire scale-in           ; retiring scale-in, 7203
      4 | pooled               ->                           ; pooled
    100 | wake                 -> spawn 1                   ; starting, 400
    101 | start 1              -> drain 1, prepare max-jobs ; draining max-jobs by 3701, 3701
    102 | exit 1 0             -> sweep terminate           ; sweeping max-jobs, 104
    102 | tree-gone            -> retire max-jobs           ; retiring max-jobs, 7302
    103 | pooled               ->                           ; pooled
    200 | wake                 -> prepare max-jobs, sweep terminate ; sweeping max-jobs, 202
    ",
    );
    assert_eq!(script.started(), 2);
}

#[test]
fn a_shutdown_that_begins_before_the_pool_has_said_so_is_no_retirement_either() {
    leaving().plays(
        "
     51 | interrupt            ->                           ; retiring scale-in, 7250
     52 | pooled               -> leave                     ; gone signal
    ",
    );
}

#[test]
fn who_wants_the_machine_to_end_is_not_stopped_by_a_pool() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | drain operator       -> terminate 1, prepare operator ; draining operator by 3601, 11
      2 | exit 1 signal 15     -> sweep terminate           ; sweeping operator, 4
      2 | tree-gone            -> retire operator           ; retiring operator, 7202
      3 | drain spot by 100    ->                           ; retiring operator, 7202
      4 | pooled               -> retire spot               ; retiring spot, 7204
    ",
    );
    leaving().plays(
        "
   7250 | tick                 -> power-off                 ; retiring scale-in, 7550
   7251 | pooled               ->                           ; retiring scale-in, 7550
    ",
    );
}

/// The group prefers its pool, but EC2 stops the machine in an hour, in whichever state it is.
#[test]
fn a_machine_that_is_to_be_taken_away_does_not_wait_for_that_in_a_pool() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain scale-in       -> drain 1, prepare scale-in ; draining scale-in by 3602, 3602
      3 | after-job maintenance by 4000 ->                  ; draining scale-in by 3602, 3602
      4 | exit 1 0             -> sweep terminate           ; sweeping scale-in, 6
      4 | tree-gone            -> retire scale-in           ; retiring scale-in, 7204
      5 | restart              -> retire scale-in           ; retiring scale-in, 7204
      6 | pooled               -> retire maintenance        ; retiring maintenance, 7206
      7 | pooled               ->                           ; pooled
    ",
    );
}

/// Its CI server would give a woken machine no job.
#[test]
fn a_cordoned_machine_comes_out_of_the_pool_to_be_replaced() {
    one().with("drain-by=wait-idle cordon=yes").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain scale-in       -> cordon 1, prepare scale-in ; draining scale-in by 3602, 72
      3 | cordoned 1           ->                           ; draining scale-in by 3602, 4
      4 | tick                 -> drain 1                   ; draining scale-in by 3602, 3602
      5 | exit 1 0             -> sweep terminate           ; sweeping scale-in, 7
      5 | tree-gone            -> retire scale-in           ; retiring scale-in, 7205
      6 | pooled               ->                           ; pooled
     99 | wake                 -> cordoned 1, retire operator ; retiring operator, 7299
    ",
    );
}
