//! What is known of the held-out part of the corpus, by `docs/classification.md`, must not become worse. Three of the four
//! targets are missed there; a rule or parameter that meets them is judged by a new held-out part, not by this one.

use classify::{Mix, Part, make, measure};
use media_core::classify::Parameters;

#[test]
fn the_held_out_part_is_told_apart_no_worse_than_documented() {
    let figures = measure(&make(Part::HeldOut).unwrap(), Parameters::DEFAULT);
    println!("{figures}");
    // The target: never.
    assert_eq!(figures.call_progress_beeps(), 0, "{figures}");
    // The target is 92 %.
    assert!(figures.machine_recall() >= 88.0, "{figures}");
    // The target is 2 %.
    assert!(figures.humans_called_machine() <= 2.4, "{figures}");
    // The target for all is 2500 ms, which people alone meet.
    assert!(figures.human_median_ms() <= 2300, "{figures}");
    assert!(figures.machine_median_ms() <= 4400, "{figures}");
    assert!(figures.median_ms(Mix::DOCUMENTED) <= 3850, "{figures}");
    assert!(figures.human_recall() >= 97.0, "{figures}");
    assert!(figures.beep_recall() >= 89.0, "{figures}");
    assert!(figures.false_beeps() <= 1, "{figures}");
    assert!(figures.early_recall() >= 99.0, "{figures}");
}
