//! What is promised of the held-out part of the corpus.

use classify::{Mix, Part, make, measure};
use media_core::classify::Parameters;

#[test]
fn the_held_out_part_is_told_apart_as_promised() {
    let figures = measure(&make(Part::HeldOut).unwrap(), Parameters::DEFAULT);
    println!("{figures}");
    assert!(figures.machine_recall() >= 92.0, "{figures}");
    assert!(figures.humans_called_machine() <= 2.0, "{figures}");
    assert!(figures.median_ms(Mix::DOCUMENTED) <= 2500, "{figures}");
    assert_eq!(figures.call_progress_beeps(), 0, "{figures}");
    assert!(figures.beep_recall() >= 90.0, "{figures}");
    assert!(figures.early_recall() >= 90.0, "{figures}");
}
