//! Keeping new jobs away from an agent before it is drained.

use super::one;
use super::script::Script;

fn cordon() -> Script {
    one().with("drain-by=wait-idle cordon=yes")
}

#[test]
fn an_idle_agent_is_drained_once_it_is_cordoned_and_still_idle() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
      5 | cordoned 1           ->                           ; draining operator by 3602, 6
      6 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_job_that_came_just_before_the_cordon_finishes() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
      5 | cordoned 1           ->                           ; draining operator by 3602, 6
    5.5 | start 1              ->                           ; draining operator by 3602, 6
      6 | tick                 ->                           ; draining operator by 3602, 3602
     90 | finish 1             -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn levels_are_asked_again_once_the_agent_is_cordoned() {
    cordon().with("detectors=log,level sample=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      1 | level 1 0            ->                           ; idle since 1, 61
      1 | sampled              ->                           ; idle since 1, 61
      2 | drain operator       -> sample, cordon 1, prepare operator ; draining operator by 3602, 62
      2 | level 1 0            ->                           ; draining operator by 3602, 62
      2 | sampled              ->                           ; draining operator by 3602, 62
      5 | cordoned 1           ->                           ; draining operator by 3602, 6
      6 | tick                 -> sample                    ; draining operator by 3602, 66
      6 | level 1 1            ->                           ; draining operator by 3602, 66
      6 | sampled              ->                           ; draining operator by 3602, 66
     20 | level 1 0            -> drain 1                   ; draining operator by 3602, 66
    ",
    );
}

#[test]
fn a_busy_agent_that_refuses_is_asked_again_after_each_job_and_now_and_then() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
      3 | uncordoned 1         ->                           ; draining operator by 3602, 13
     13 | tick                 -> cordon 1                  ; draining operator by 3602, 83
     14 | uncordoned 1         ->                           ; draining operator by 3602, 24
     15 | finish 1             -> cordon 1                  ; draining operator by 3602, 85
     16 | start 1              ->                           ; draining operator by 3602, 85
     17 | finish 1             ->                           ; draining operator by 3602, 85
     18 | uncordoned 1         -> cordon 1                  ; draining operator by 3602, 88
     19 | cordoned 1           ->                           ; draining operator by 3602, 20
     20 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_busy_agent_may_refuse_as_often_as_it_likes() {
    let mut script = cordon();
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              ->                           ; busy 1
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
    ",
    );
    for refused in (3..60).step_by(10) {
        let again = refused + 10;
        let late = again + 70;
        script.plays(&format!(
            "
        {refused} | uncordoned 1 ->          ; draining operator by 3602, {again}
        {again}   | tick         -> cordon 1 ; draining operator by 3602, {late}
    "
        ));
    }
    script.plays(
        "
     70 | cordoned 1           ->                           ; draining operator by 3602, 71
     71 | tick                 ->                           ; draining operator by 3602, 3602
     80 | finish 1             -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn an_idle_agent_that_refuses_three_times_is_drained_all_the_same() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
      3 | uncordoned 1         ->                           ; draining operator by 3602, 13
     13 | tick                 -> cordon 1                  ; draining operator by 3602, 83
     14 | uncordoned 1         ->                           ; draining operator by 3602, 24
     24 | tick                 -> cordon 1                  ; draining operator by 3602, 94
     25 | uncordoned 1         -> open 1, drain 1           ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_cordon_that_never_answers_has_failed_but_may_answer_late() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
     72 | tick                 ->                           ; draining operator by 3602, 82
     73 | cordoned 1           ->                           ; draining operator by 3602, 74
     74 | uncordoned 1         -> drain 1                   ; draining operator by 3602, 3602
     75 | cordoned 1           ->                           ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn a_killed_supervisor_asks_for_the_cordon_again() {
    cordon().plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 3602, 72
     50 | restart              -> prepare operator, cordon 1 ; draining operator by 3602, 120
     51 | cordoned 1           ->                           ; draining operator by 3602, 52
     52 | restart              -> prepare operator          ; draining operator by 3602, 52
     52 | tick                 -> drain 1                   ; draining operator by 3602, 3602
    ",
    );
}

#[test]
fn the_deadline_waits_for_no_cordon() {
    cordon().with("drain-timeout=20").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 601
      2 | drain operator       -> cordon 1, prepare operator ; draining operator by 22, 22
     22 | tick                 -> cancel 1                  ; draining operator by 22, 52
     23 | cordoned 1           ->                           ; draining operator by 22, 52
    ",
    );
}

#[test]
fn an_agent_for_which_no_job_is_left_is_cordoned_while_the_others_work() {
    cordon().with("agents=2 max-jobs=2").plays(
        "
      0 | new                  -> spawn 1, spawn 2          ; starting, 300
      1 | ready 2              ->                           ; idle since 1, 300
      2 | start 1              -> cordon 1                  ; busy 1, 72
      3 | start 2              -> cordon 2, prepare max-jobs ; draining max-jobs by 3603, 72
    ",
    );
}

/// An idle machine that its group wants back would get no job.
#[test]
fn a_cordoned_machine_is_replaced_where_another_would_stay() {
    cordon().with("idle-timeout=100").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              ->                           ; idle since 1, 101
    101 | tick                 -> cordon 1, prepare idle    ; draining idle by 3701, 171
    102 | cordoned 1           ->                           ; draining idle by 3701, 103
    103 | tick                 -> drain 1                   ; draining idle by 3701, 3701
    104 | exit 1 0             -> sweep terminate           ; sweeping idle, 106
    104 | tree-gone            -> retire idle               ; retiring idle, 7304
    105 | at-minimum           -> cordoned 1, retire operator ; retiring operator, 7305
    ",
    );
}
