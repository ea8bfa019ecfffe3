//! Number words against two libraries that know nothing of ours: PyPI `num2words`, and ICU's rules.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use speech_core::{Language, Reading, cardinal};

/// Every number that a language has a word of its own for is among the first thousands; the rest are of every length.
fn numbers() -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..3_000).collect();
    for power in 3..15 {
        let unit = 10_u64.pow(power);
        for around in [1, 2, 3, 5, 9, 10, 11, 12, 15, 20, 21, 24, 99, 100, 105, 110, 999] {
            numbers.extend([unit * around, unit * around + 1, unit * around + 10, unit + around]);
            numbers.extend([unit * around + unit / 10, unit * around - 1, unit * around + unit / 1000]);
        }
    }
    // A linear congruential generator (Knuth, MMIX): any numbers will do, the same every time.
    let mut state = 1_u64;
    for _ in 0..3_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        numbers.push((state >> 8) % 10_u64.pow(u32::try_from(state >> 60).unwrap()));
    }
    numbers.retain(|number| *number < 1_000_000_000_000_000);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn spelled(numbers: &[u64]) -> BTreeMap<(String, u64), String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/speech");
    let setup = Command::new(folder.join("setup.sh")).output().unwrap();
    assert!(setup.status.success(), "setup.sh: {}", String::from_utf8_lossy(&setup.stderr));
    let python = String::from_utf8(setup.stdout).unwrap();
    let mut child = Command::new(python.trim())
        .arg("-B")
        .arg(folder.join("spell.py"))
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It reads all before it writes.
    let lines: String = numbers.iter().map(|number| format!("{number}\n")).collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "spell.py failed");
    let read = |line: &str| {
        let (asked, words) = line.split_once('\t').unwrap();
        let (source, number) = asked.rsplit_once(' ').unwrap();
        ((source.to_owned(), number.parse().unwrap()), words.to_owned())
    };
    String::from_utf8(output.stdout).unwrap().lines().map(read).collect()
}

#[test]
fn numbers_are_said_as_num2words_and_icu_say_them() {
    let numbers = numbers();
    let spelled = spelled(&numbers);
    let mut wrong = Vec::new();
    let mut compared = BTreeMap::<&str, usize>::new();
    for ((source, number), words) in &spelled {
        let said = |language| cardinal(language, *number).unwrap();
        let pair = match source.as_str() {
            // Both set commas after a group, one of them from a million on: they are for the eye.
            "icu en" | "num2words en" => (said(Language::English), words.replace(',', "")),
            // ICU calls an empty thing kosong, which for a number is colloquial.
            "icu id" if *number == 0 => continue,
            // One thousand is seribu wherever it stands, as ICU says; num2words has it so only at the beginning.
            "num2words id" if number / 1_000 % 1_000 == 1 => {
                (said(Language::Indonesian), words.replace("satu ribu", "seribu"))
            }
            "icu id" | "num2words id" => (said(Language::Indonesian), words.clone()),
            "icu vi" => (said(Language::Vietnamese), words.clone()),
            // It leaves out the hundreds that are not there, and says bốn for tư.
            "num2words vi" if *number < 1_000 => {
                (said(Language::Vietnamese).replace("mươi tư", "mươi bốn"), words.clone())
            }
            "num2words vi" => continue,
            // From there on ICU says 兆, which in China is a million to many.
            "icu zh" | "icu zh-count" if *number >= 1_000_000_000_000 => continue,
            // And it leaves out the zero before 万, which grammars ask for wherever a place is left out.
            "icu zh" | "icu zh-count"
                if *number >= 100_000_000 && (1..1_000).contains(&(number / 10_000 % 10_000)) =>
            {
                continue;
            }
            "icu zh" => (said(Language::Chinese), words.clone()),
            "icu zh-count" => {
                let amount = Reading::Currency.read(Language::Chinese, &format!("{number} CNY")).unwrap();
                (amount, format!("{words}元"))
            }
            other => panic!("{other}?"),
        };
        *compared.entry(source).or_default() += 1;
        if pair.0 != pair.1 {
            wrong.push(format!("{source} {number}: we say {:?}, it says {:?}", pair.0, pair.1));
        }
    }
    println!("compared: {compared:?}");
    assert!(wrong.is_empty(), "{} differ: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(compared.values().all(|count| *count >= 1_000), "{compared:?}");
    assert_eq!(compared.len(), 8);
}
