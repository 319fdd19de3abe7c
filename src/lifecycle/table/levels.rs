//! Detectors that see levels: they must be asked, and some of them count.

use super::one;

#[test]
fn levels_have_the_last_word_before_the_machine_is_idle() {
    one().with("detectors=log,level sample=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      1 | level 1 0            ->                           ; idle since 1, 61
      1 | sampled              ->                           ; idle since 1, 61
    599 | tick                 -> sample                    ; idle since 1, 601
    601 | tick                 -> sample                    ; idle since 1, 606
    601 | level 1 ?            ->                           ; idle since 1, 606
    601 | sampled              ->                           ; idle since 1, 606
    606 | tick                 -> sample                    ; idle since 1, 611
    606 | level 1 1            ->                           ; busy 1, 666
    606 | sampled              ->                           ; busy 1, 666
    610 | level 1 0            ->                           ; idle since 610, 666
   1210 | tick                 -> sample                    ; idle since 610, 1215
   1210 | level 1 0            ->                           ; idle since 610, 1215
   1210 | sampled              -> drain 1, prepare idle     ; draining idle by 4810, 1270
    ",
    );
}

#[test]
fn a_level_that_counts_counts_its_rises_and_no_further_than_it_can() {
    one()
        .with("detectors=log,count sample=60 max-jobs=9")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      2 | level 1 4            ->                           ; busy 4, 61
      3 | level 1 ?            ->                           ; busy 4, 61
      4 | level 1 4            ->                           ; busy 4, 61
      5 | level 1 4294967295   -> lost 1, drain 1, prepare max-jobs ; draining max-jobs by 3605, 61
      6 | level 1 0            ->                           ; draining max-jobs by 3605, 61
      7 | level 1 4294967295   ->                           ; draining max-jobs by 3605, 61
    ",
        );
}

#[test]
fn levels_are_asked_again_before_a_signal_that_would_cancel() {
    one()
        .with("detectors=log,level sample=60 drain-by=wait-idle")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      1 | level 1 0            ->                           ; idle since 1, 61
      1 | sampled              ->                           ; idle since 1, 61
     50 | drain operator       -> sample, prepare operator  ; draining operator by 3650, 110
     50 | level 1 1            ->                           ; draining operator by 3650, 110
     50 | sampled              ->                           ; draining operator by 3650, 110
     90 | level 1 0            -> drain 1                   ; draining operator by 3650, 110
    ",
        );
}

#[test]
fn the_job_of_an_agent_that_is_killed_is_lost_though_only_a_level_showed_it() {
    let mut script = one().with("detectors=log,count sample=60");
    script.plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      2 | level 1 1            -> sample                    ; busy 1, 62
      9 | level 1 0            ->                           ; idle since 9, 62
     10 | level 1 1            ->                           ; busy 1, 62
     20 | exit 1 signal 9      ->                           ; starting, 21
    ",
    );
    let tally = script.tally();
    assert_eq!((tally.unknown, tally.lost), (1, 1));
}

#[test]
fn an_agent_that_tells_no_ends_is_idle_when_a_census_says_so_twice() {
    one()
        .with("detectors=log,census sample=60 max-jobs=9")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      2 | start 1              ->                           ; busy 1, 61
      9 | level 1 0            ->                           ; busy 1, 61
     10 | level 1 ?            ->                           ; busy 1, 61
     11 | level 1 0            ->                           ; busy 1, 61
     12 | level 1 0            ->                           ; idle since 12, 61
     13 | level 1 3            ->                           ; busy 3, 61
     14 | level 1 0            ->                           ; idle since 14, 61
    ",
        );
}

#[test]
fn a_census_that_is_not_there_ends_no_job_and_keeps_no_machine() {
    one()
        .with("detectors=log,census sample=60 idle-timeout=600")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      1 | level 1 none         ->                           ; idle since 1, 61
      1 | sampled              ->                           ; idle since 1, 61
      2 | start 1              ->                           ; busy 1, 61
      9 | level 1 none         ->                           ; busy 1, 61
     10 | level 1 none         ->                           ; busy 1, 61
     11 | level 1 0            ->                           ; busy 1, 61
     12 | level 1 none         ->                           ; busy 1, 61
     13 | level 1 0            ->                           ; busy 1, 61
     20 | finish 1             ->                           ; idle since 20, 61
     20 | level 1 none         ->                           ; idle since 20, 61
    620 | tick                 -> sample                    ; idle since 20, 625
    620 | level 1 none         ->                           ; idle since 20, 625
    620 | sampled              -> drain 1, prepare idle     ; draining idle by 4220, 680
    ",
        );
}

#[test]
fn a_level_that_saw_jobs_is_not_believed_when_it_is_gone() {
    one().with("detectors=log,level sample=60").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      2 | level 1 1            ->                           ; busy 1, 61
      3 | level 1 none         ->                           ; busy 1, 61
    ",
    );
}

#[test]
fn a_census_may_close_the_job_that_a_drain_waits_for() {
    one()
        .with("detectors=log,census sample=60 drain-by=wait-idle")
        .plays(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              -> sample                    ; busy 1, 61
      1 | level 1 1            ->                           ; busy 1, 61
      1 | sampled              ->                           ; busy 1, 61
      5 | drain operator       -> sample, prepare operator  ; draining operator by 3605, 65
      5 | level 1 0            ->                           ; draining operator by 3605, 65
      5 | sampled              ->                           ; draining operator by 3605, 65
     65 | tick                 -> sample                    ; draining operator by 3605, 125
     65 | level 1 0            -> drain 1                   ; draining operator by 3605, 125
    ",
        );
}

#[test]
fn a_job_that_was_open_when_a_drained_agent_ended_well_is_not_lost() {
    let drained = |settings: &str, exit: &str| {
        let mut script = one().with("detectors=log,census sample=60").with(settings);
        script.plays(&format!(
            "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | start 1              -> sample                    ; busy 1, 61
      5 | drain operator       -> drain 1, prepare operator ; draining operator by 3605, 61
      9 | exit 1 {exit}        -> sweep terminate           ; sweeping operator, 11
    "
        ));
        (script.tally().unknown, script.tally().lost)
    };
    assert_eq!(drained("", "0"), (1, 0));
    assert_eq!(drained("exit-ok=1", "1"), (1, 0));
    assert_eq!(drained("", "1"), (0, 1));
    assert_eq!(drained("", "signal 9"), (0, 1));
}

#[test]
fn the_first_job_hastens_the_sample_that_shows_its_end() {
    one().with("detectors=log,census sample=60,1").plays(
        "
      0 | new                  -> spawn 1                   ; starting, 300
      1 | ready 1              -> sample                    ; idle since 1, 61
      1 | level 1 0            ->                           ; idle since 1, 61
      1 | sampled              ->                           ; idle since 1, 61
      9 | start 1              ->                           ; busy 1, 10
     10 | tick                 -> sample                    ; busy 1, 11
     10 | level 1 0            ->                           ; busy 1, 11
     10 | sampled              ->                           ; busy 1, 11
     11 | tick                 -> sample                    ; busy 1, 12
     11 | level 1 0            ->                           ; idle since 11, 12
    ",
    );
}
