//! The lifecycle as a table: state + event -> what is done; the new state.
//!
//! A row's state is the end of the row above it. Reports to people are left out of the actions,
//! apart from `lost` (a race), `open` (no cordon), `stays` (after its one job), `unkillable`,
//! `returned`, `leaves` (after a job) and `unasked` (it wakes). A state ends with the time at which
//! it changes by itself. The words are those of [`script`].

mod after_job;
mod cordon;
mod hold;
mod jobs;
mod levels;
mod park;
mod script;
mod single;
mod starts;
mod steps;

use script::{Script, script};

/// One agent with one slot, whose log tells of ready and of jobs, drained by a signal: 10 minutes
/// idle, 5 minutes to boot, 1 hour to drain, 30 seconds to cancel.
fn one() -> Script {
    script()
}

#[test]
fn a_quiet_machine_leaves_when_it_has_been_idle_long_enough() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | spawned 1            ->                           ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    100 | start 1              ->                           ; busy 1
    200 | finish 1             ->                           ; idle since 200, 800
    800 | tick                 -> drain 1, prepare idle     ; draining idle by 4400, 4400
    801 | exit 1 0             -> sweep terminate           ; sweeping idle, 803
    801 | tree-gone            -> retire idle               ; retiring idle, 8001
    805 | retired              -> leave                     ; gone idle
    ",
    );
}

#[test]
fn a_job_that_starts_with_the_timeout_wins() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | start 1              ->                           ; busy 1
    603 | tick                 ->                           ; busy 1
    604 | finish 1             ->                           ; idle since 604, 1204
    ",
    );
}

#[test]
fn a_job_seen_only_by_its_end_restarts_the_idle_time() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    500 | finish 1             ->                           ; idle since 500, 1100
    ",
    );
}

#[test]
fn signals_drain_then_cancel_then_kill() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
      5 | start 1              ->                           ; busy 1
     10 | interrupt            -> drain 1, prepare signal   ; draining signal by 3610, 3610
     20 | interrupt            -> cancel 1                  ; draining signal by 3610, 50
     25 | interrupt            -> kill 1                    ; draining signal by 3610, 26
     25 | interrupt            ->                           ; draining signal by 3610, 26
     25 | exit 1 signal 9      -> sweep terminate           ; sweeping signal, 27
     26 | interrupt            ->                           ; sweeping signal, 27
    ",
    );
}

#[test]
fn quit_kills_at_once_from_any_state() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | quit                 -> terminate 1, prepare signal, kill 1 ; draining signal by 3601, 2
    ",
    );
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1
      4 | quit                 -> drain 1, prepare signal, kill 1 ; draining signal by 3604, 5
    ",
    );
}

#[test]
fn an_agent_that_was_never_ready_gets_no_signal_of_its_own_kind() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | drain operator       -> terminate 1, prepare operator ; draining operator by 3601, 11
      1 | ready 1              ->                           ; draining operator by 3601, 11
     11 | tick                 -> kill 1                    ; draining operator by 3601, 12
     11 | exit 1 signal 9      -> sweep terminate           ; sweeping operator, 13
    ",
    );
}

#[test]
fn at_the_deadline_cancel_then_kill_then_retire() {
    one().with("drain-timeout=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1
     10 | drain operator       -> drain 1, prepare operator ; draining operator by 70, 70
     70 | tick                 -> cancel 1                  ; draining operator by 70, 100
    100 | tick                 -> kill 1                    ; draining operator by 70, 101
    101 | tick                 -> kill 1                    ; draining operator by 70, 102
    102 | exit 1 signal 9      -> sweep terminate           ; sweeping operator, 104
    104 | tick                 -> sweep kill                ; sweeping operator, 104.1
    104 | tree-gone            -> retire operator           ; retiring operator, 7304
    ",
    );
}

#[test]
fn without_a_cancel_step_the_deadline_kills() {
    one().with("drain-timeout=60 cancel=none").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1
     10 | drain operator       -> drain 1, prepare operator ; draining operator by 70, 70
     70 | tick                 -> kill 1                    ; draining operator by 70, 71
    ",
    );
}

#[test]
fn an_unkillable_process_does_not_hold_the_machine() {
    let mut script = one();
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
      5 | quit                 -> drain 1, prepare signal, kill 1 ; draining signal by 3605, 6
    ",
    );
    for second in 6..15 {
        let next = second + 1;
        script.plays(&format!(
            "{second} | tick -> kill 1 ; draining signal by 3605, {next}"
        ));
    }
    script.plays("15 | tick -> unkillable 1, sweep terminate ; sweeping signal, 17");
}

#[test]
fn the_job_of_an_unkillable_process_does_not_keep_the_next_one_busy() {
    let mut script = one().with("drain-timeout=5 cancel=none");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | tick                 -> drain 1, prepare idle     ; draining idle by 608, 608
    604 | start 1              ->                           ; draining idle by 608, 608
    608 | tick                 -> kill 1                    ; draining idle by 608, 609
    ",
    );
    for second in 609..618 {
        let next = second + 1;
        script.plays(&format!(
            "{second} | tick -> kill 1 ; draining idle by 608, {next}"
        ));
    }
    script.plays(
        "
    618 | tick                 -> unkillable 1, sweep terminate ; sweeping idle, 620
    619 | tree-gone            -> retire idle               ; retiring idle, 7819
    620 | at-minimum           -> spawn 1, returned         ; starting, 920
    621 | ready 1              ->                           ; idle since 620, 1820
    ",
    );
}

#[test]
fn a_later_notice_only_tightens() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1
     10 | drain operator       -> drain 1, prepare operator ; draining operator by 3610, 3610
     20 | drain spot by 130    ->                           ; draining spot by 130, 130
     30 | drain operator by 900 ->                          ; draining spot by 130, 130
     40 | drain scale-in by 900 ->                          ; draining scale-in by 130, 130
    130 | tick                 -> cancel 1                  ; draining scale-in by 130, 160
    ",
    );
}

#[test]
fn a_notice_after_idle_decides_how_the_machine_leaves() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | tick                 -> drain 1, prepare idle     ; draining idle by 4203, 4203
    604 | drain spot by 720    ->                           ; draining spot by 720, 720
    605 | exit 1 0             -> sweep terminate           ; sweeping spot, 607
    606 | tree-gone            -> retire spot               ; retiring spot, 7806
    607 | at-minimum           -> power-off                 ; retiring spot, 907
    907 | tick                 -> leave                     ; gone spot
    ",
    );
}

#[test]
fn a_spot_notice_during_retirement_leaves_anew_when_the_minimum_refuses() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | tick                 -> drain 1, prepare idle     ; draining idle by 4203, 4203
    604 | exit 1 0             -> sweep terminate           ; sweeping idle, 606
    604 | tree-gone            -> retire idle               ; retiring idle, 7804
    605 | drain spot by 720    ->                           ; retiring idle, 7804
    606 | at-minimum           -> retire spot               ; retiring spot, 7806
    607 | retired              -> leave                     ; gone spot
    ",
    );
}

#[test]
fn idle_instance_at_minimum_returns_to_service_and_backs_off() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | tick                 -> drain 1, prepare idle     ; draining idle by 4203, 4203
    604 | exit 1 0             -> sweep terminate           ; sweeping idle, 606
    604 | tree-gone            -> retire idle               ; retiring idle, 7804
    606 | at-minimum           -> spawn 1, returned         ; starting, 906
    609 | ready 1              ->                           ; idle since 606, 1806
   1806 | tick                 -> drain 1, prepare idle     ; draining idle by 5406, 5406
   1807 | exit 1 0             -> sweep terminate           ; sweeping idle, 1809
   1807 | tree-gone            -> retire idle               ; retiring idle, 9007
   1808 | at-minimum           -> spawn 1, returned         ; starting, 2108
   1810 | ready 1              ->                           ; idle since 1808, 4208
   2000 | start 1              ->                           ; busy 1
   2001 | finish 1             ->                           ; idle since 2001, 2601
    ",
    );
}

#[test]
fn silence_from_retirement_powers_off_and_then_leaves() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    603 | tick                 -> drain 1, prepare idle     ; draining idle by 4203, 4203
    604 | exit 1 0             -> sweep terminate           ; sweeping idle, 606
    604 | tree-gone            -> retire idle               ; retiring idle, 7804
   7804 | tick                 -> power-off                 ; retiring idle, 8104
   7900 | at-minimum           ->                           ; retiring idle, 8104
   8104 | tick                 -> leave                     ; gone idle
   8105 | drain operator       ->                           ; gone idle
    ",
    );
}

#[test]
fn a_machine_that_lived_long_enough_drains_and_lets_its_job_finish() {
    one().with("max-lifetime=1000").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | start 1              ->                           ; busy 1, 1000
   1000 | tick                 -> drain 1, prepare max-lifetime ; draining max-lifetime by 4600, 4600
   2000 | finish 1             ->                           ; draining max-lifetime by 4600, 4600
   2000 | exit 1 0             -> sweep terminate           ; sweeping max-lifetime, 2002
    ",
    );
}

#[test]
fn new_limits_count_at_once() {
    one().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      3 | ready 1              ->                           ; idle since 3, 603
    100 | limits idle-timeout=200 ->                        ; idle since 3, 203
    150 | limits idle-timeout=60 -> drain 1, prepare idle   ; draining idle by 3750, 3750
    160 | limits drain-timeout=9000 ->                      ; draining idle by 3750, 3750
    170 | limits drain-timeout=100 ->                       ; draining idle by 250, 250
    180 | limits drain-timeout=never ->                     ; draining idle by 250, 250
    ",
    );
}
