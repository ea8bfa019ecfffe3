//! What is known of the held-out part of the corpus, by `docs/classification.md`, must not become worse. Of its four targets
//! that for the median of all verdicts is missed; a rule or parameter that meets it is judged by a new held-out part, not by
//! this one.

use classify::{Mix, Part, make, measure};
use media_core::classify::Parameters;

#[test]
fn the_held_out_part_is_told_apart_no_worse_than_documented() {
    let figures = measure(&make(Part::HeldOut).unwrap(), Parameters::DEFAULT);
    println!("{figures}");
    // The target: never.
    assert_eq!(figures.call_progress_beeps(), 0, "{figures}");
    // The target is 92 %.
    assert!(figures.machine_recall() >= 93.0, "{figures}");
    // The target is 2 %.
    assert!(figures.humans_called_machine() <= 1.6, "{figures}");
    // The target is 2500 ms.
    assert!(figures.median_ms(Mix::DOCUMENTED) <= 4050, "{figures}");
    assert!(figures.human_median_ms() <= 2700, "{figures}");
    assert!(figures.machine_median_ms() <= 4550, "{figures}");
    assert!(figures.human_recall() >= 97.0, "{figures}");
    assert!(figures.beep_recall() >= 81.0, "{figures}");
    assert!(figures.false_beeps() <= 2, "{figures}");
    assert!(figures.early_recall() >= 99.0, "{figures}");
}
