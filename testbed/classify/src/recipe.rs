//! What the corpus consists of: recipes, from which the sound is made anew each time.

use media_core::classify::Evidence;

use crate::random::{Random, hash};
use crate::sound::{Noise, add_noise, at_level, say, silence, tone, transmit};
use crate::words::{Engine, Manner, SPEAKERS, Speaker, TEXTS, Text};

/// The part of the corpus that parameters are chosen on, and the one that they are judged by. No voice and no text is in
/// both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For choosing.
    Development,
    /// For judging; nobody looks at its single items to choose anything.
    HeldOut,
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person says a word or two and waits.
    Hello,
    /// A person says a sentence and waits.
    Sentence,
    /// A person greets for a company and waits.
    Receptionist,
    /// A machine's greeting, most with a beep.
    Machine,
    /// A fax, calling or answering.
    Fax,
    /// Special information tones and an announcement.
    Sit,
    /// Busy, congestion, dial tone.
    Busy,
    /// Ringback and no answer.
    Ringback,
    /// Nothing but noise.
    Silence,
}

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Tells all of it; the random choices hang on it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    part: Part,
    voice: Option<(Speaker, Text)>,
}

/// What was made.
#[derive(Debug)]
pub struct Item {
    /// [`Recipe::name`].
    pub name: String,
    /// [`Recipe::kind`].
    pub kind: Kind,
    /// 8 kHz, from the answer on.
    pub pcm: Vec<i16>,
    /// When the beep that follows the greeting ends, in ms.
    pub beep_ms: Option<u32>,
    /// Whether ringback, busy or congestion is in it.
    pub call_progress: bool,
    /// What must be found of it when it comes before the answer.
    pub early: Option<Evidence>,
}

/// All of `part`, in a fixed order.
pub fn recipes(part: Part) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    for speaker in voices(part) {
        for text in texts(part, speaker.language) {
            let (kind, copies) = match text.manner {
                // Three people in four say a word or two.
                Manner::Hello => (Kind::Hello, 4),
                Manner::Sentence => (Kind::Sentence, 1),
                // Few calls are answered for a company: one greeting of a company in three is used.
                Manner::Receptionist => {
                    let used = hash(&format!("{} {}", speaker.name, text.words)).is_multiple_of(3);
                    (Kind::Receptionist, u32::from(used))
                }
                Manner::Recording => (Kind::Machine, 1),
            };
            recipes.extend((0..copies).map(|copy| Recipe {
                name: format!("{kind:?} {} {:?} {copy}", speaker.name, text.words),
                kind,
                part,
                voice: Some((speaker, text)),
            }));
        }
    }
    let tones = [(Kind::Fax, 8), (Kind::Sit, 8), (Kind::Busy, 12), (Kind::Ringback, 12), (Kind::Silence, 6)];
    for (kind, copies) in tones {
        recipes.extend((0..copies).map(|copy| Recipe {
            name: format!("{kind:?} {part:?} {copy}"),
            kind,
            part,
            voice: None,
        }));
    }
    recipes
}

fn voices(part: Part) -> impl Iterator<Item = Speaker> {
    of_part(part, SPEAKERS, |speaker| {
        (format!("{:?} {}", speaker.engine, speaker.language), format!("voice {}", speaker.name))
    })
}

fn texts(part: Part, language: &str) -> impl Iterator<Item = Text> {
    let texts = of_part(part, TEXTS, |text| {
        (format!("{} {:?}", text.language, text.manner), format!("text {}", text.words))
    });
    texts.filter(move |text| text.language == language)
}

/// Those of `all` that are of `part`, by the hash of their names: the even ones and, where these are less than half of
/// their kind, as many of the others are for development. `names` are that of the kind and that of the member.
fn of_part<T: Copy>(
    part: Part,
    all: &[T],
    names: impl Fn(&T) -> (String, String),
) -> impl Iterator<Item = T> {
    let mut ranked: Vec<(String, u64, usize)> = all
        .iter()
        .enumerate()
        .map(|(place, member)| {
            let (kind, name) = names(member);
            (kind, hash(&name), place)
        })
        .collect();
    ranked.sort_by_key(|(kind, hash, place)| (kind.clone(), hash % 2, *hash, *place));
    let mut chosen = Vec::new();
    for kind in ranked.chunk_by(|a, b| a.0 == b.0) {
        let even = kind.iter().filter(|(_, hash, _)| hash.is_multiple_of(2)).count();
        let (development, held_out) = kind.split_at(even.max(kind.len() / 2));
        let kind = match part {
            Part::Development => development,
            Part::HeldOut => held_out,
        };
        chosen.extend(kind.iter().map(|(_, _, place)| *place));
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|place| all[place]).collect::<Vec<T>>().into_iter()
}

/// Ringback: the tones and on and off times of one cycle.
const RINGBACKS: [(&[f32], &[u32]); 9] = [
    (&[440.0, 480.0], &[2000, 4000]),
    (&[425.0], &[1000, 4000]),
    (&[440.0], &[1500, 3500]),
    (&[450.0], &[1000, 4000]),
    (&[400.0, 450.0], &[400, 200, 400, 2000]),
    (&[413.0, 438.0], &[400, 200, 400, 2000]),
    (&[384.0, 416.0], &[1000, 2000]),
    (&[425.0], &[1000, 5000]),
    (&[425.0], &[800, 3200]),
];
const BUSIES: [(&[f32], &[u32], Evidence); 8] = [
    (&[480.0, 620.0], &[500, 500], Evidence::Busy),
    (&[425.0], &[500, 500], Evidence::Busy),
    (&[400.0], &[375, 375], Evidence::Busy),
    (&[450.0], &[350, 350], Evidence::Busy),
    (&[425.0], &[480, 480], Evidence::Busy),
    (&[480.0, 620.0], &[250, 250], Evidence::Congestion),
    (&[425.0], &[240, 240], Evidence::Congestion),
    (&[400.0], &[400, 350, 225, 525], Evidence::Congestion),
];

fn cadence(tones: &[f32], times: &[u32], cycles: usize, db: f32) -> Vec<f32> {
    let cycle =
        times.iter().enumerate().map(|(n, ms)| if n % 2 == 0 { tone(*ms, tones, db) } else { silence(*ms) });
    std::iter::repeat_n(cycle.collect::<Vec<_>>().concat(), cycles).flatten().collect()
}

impl Recipe {
    /// Makes the sound.
    ///
    /// # Errors
    /// A voice that is not installed.
    pub fn make(&self) -> anyhow::Result<Item> {
        let mut random = Random::of(&self.name);
        let random = &mut random;
        let mut item = Item {
            name: self.name.clone(),
            kind: self.kind,
            pcm: Vec::new(),
            beep_ms: None,
            call_progress: false,
            early: None,
        };
        let level = random.decibels(-28, -10);
        let tone_level = random.decibels(-26, -8);
        let mut sound = Vec::new();
        match (self.kind, self.voice) {
            (Kind::Machine, Some((speaker, text))) => {
                self.ring(&mut item, &mut sound, tone_level, random);
                sound.extend(silence(random.between(150, 1300)));
                sound.extend(at_level(greeting(speaker, text, random)?, level));
                if random.one_in(8) {
                    // A full mailbox hangs up: busy instead of a beep.
                    let (tones, times, _) = random.pick(&BUSIES);
                    sound.extend(silence(random.between(200, 900)));
                    sound.extend(cadence(tones, times, 6, tone_level));
                    item.call_progress = true;
                } else {
                    sound.extend(silence(random.between(150, 1500)));
                    let hz = *random.pick(&[
                        400.0, 425.0, 440.0, 520.0, 700.0, 850.0, 950.0, 1000.0, 1050.0, 1400.0, 2000.0,
                    ]);
                    let two = [hz, hz * 1.5];
                    let tones =
                        if random.one_in(5) && (500.0..1450.0).contains(&hz) { &two[..] } else { &two[..1] };
                    // At the frequencies of call progress only what is shorter than a ring is a beep.
                    let longest = if hz < 510.0 { 250 } else { 1200 };
                    sound.extend(tone(random.between(120, longest), tones, tone_level));
                    item.beep_ms = Some(sound.len() as u32 / 8);
                }
                sound.extend(silence(4000));
            }
            (Kind::Hello | Kind::Sentence | Kind::Receptionist, Some((speaker, text))) => {
                self.ring(&mut item, &mut sound, tone_level, random);
                let before = if random.one_in(12) { (1200, 2500) } else { (80, 1000) };
                sound.extend(silence(random.between(before.0, before.1)));
                let said = at_level(greeting(speaker, text, random)?, level);
                sound.extend(&said);
                sound.extend(silence(random.between(1800, 3000)));
                if self.kind == Kind::Hello {
                    // Nobody answered them, so they say it again.
                    sound.extend(said);
                }
                sound.extend(silence(3000));
            }
            (Kind::Fax, _) => {
                let calling = random.one_in(2);
                sound.extend(silence(random.between(200, 1500)));
                if calling {
                    sound.extend(cadence(
                        &[1100.0 + random.decibels(-30, 30)],
                        &[random.between(450, 550), 3000],
                        3,
                        tone_level,
                    ));
                } else {
                    sound.extend(tone(
                        random.between(2600, 4000),
                        &[2100.0 + random.decibels(-14, 14)],
                        tone_level,
                    ));
                    sound.extend(silence(2000));
                }
                item.early = Some(if calling { Evidence::Cng } else { Evidence::Ced });
            }
            (Kind::Sit, _) => {
                use media_core::classify::Sit;
                let codes = [
                    (913.8, 276, 1370.6, 276, Sit::Intercept),
                    (985.2, 380, 1370.6, 276, Sit::Vacant),
                    (913.8, 276, 1428.5, 380, Sit::Reorder),
                    (985.2, 380, 1428.5, 380, Sit::NoCircuit),
                ];
                let (first, first_ms, second, second_ms, sit) = *random.pick(&codes);
                sound.extend(silence(random.between(50, 600)));
                let gap = random.between(0, 30);
                for (hz, ms) in [(first, first_ms), (second, second_ms), (1776.7, 380)] {
                    sound.extend(tone(ms, &[hz], tone_level));
                    sound.extend(silence(gap));
                }
                sound.extend(silence(random.between(100, 400)));
                let readers = voices(self.part).filter(|speaker| speaker.engine == Engine::Recorded);
                let readers: Vec<Speaker> = readers.collect();
                let recordings: Vec<Text> =
                    texts(self.part, "files").filter(|text| text.manner == Manner::Recording).collect();
                sound.extend(at_level(
                    greeting(*random.pick(&readers), *random.pick(&recordings), random)?,
                    level,
                ));
                sound.extend(silence(2000));
                item.early = Some(Evidence::Sit(sit));
            }
            (Kind::Busy, _) => {
                sound.extend(silence(random.between(50, 600)));
                let (tones, times, evidence) = random.pick(&BUSIES);
                sound.extend(cadence(tones, times, 10, tone_level));
                (item.early, item.call_progress) = (Some(*evidence), true);
            }
            (Kind::Ringback, _) => {
                sound.extend(silence(random.between(50, 600)));
                let (tones, times) = random.pick(&RINGBACKS);
                sound.extend(cadence(tones, times, 5, tone_level));
                (item.early, item.call_progress) = (Some(Evidence::Ringback), true);
            }
            (Kind::Silence | Kind::Hello | Kind::Sentence | Kind::Receptionist | Kind::Machine, _) => {
                sound.extend(silence(8000));
            }
        }
        self.line(&mut item, sound, level.min(tone_level), random);
        Ok(item)
    }

    /// One call in twenty goes on ringing after the gateway said that it was answered.
    #[expect(clippy::unused_self, reason = "a step of the recipe")]
    fn ring(&self, item: &mut Item, sound: &mut Vec<f32>, db: f32, random: &mut Random) {
        if random.one_in(20) {
            let (tones, times) = random.pick(&RINGBACKS);
            let cycles = random.between(1, 2) as usize;
            sound.extend(cadence(tones, times, cycles, db));
            item.call_progress = true;
        }
    }

    /// What the line adds and takes.
    #[expect(clippy::unused_self, reason = "a step of the recipe")]
    fn line(&self, item: &mut Item, mut sound: Vec<f32>, level: f32, random: &mut Random) {
        let below = random.decibels(16, 42);
        let noise = match random.between(0, 3) {
            0 => Noise::None,
            1 => Noise::White(level - below),
            _ => Noise::Pink(level - below),
        };
        add_noise(&mut sound, noise, random);
        let loss = *random.pick(&[0, 0, 0, 1, 3]);
        let a_law = random.one_in(2);
        item.pcm = transmit(&sound, a_law, loss, random);
    }
}

/// The sentences of `text` with pauses between them.
fn greeting(speaker: Speaker, text: Text, random: &mut Random) -> anyhow::Result<Vec<f32>> {
    // People who answer speak faster than people who record a greeting.
    let speed = if text.manner == Manner::Recording { (130, 185) } else { (160, 210) };
    let (speed, pitch) = (random.between(speed.0, speed.1), random.between(30, 70));
    let mut sound = Vec::new();
    for (n, sentence) in text.words.split('|').enumerate() {
        if n > 0 {
            let pause = if speaker.engine == Engine::Recorded { (60, 350) } else { (200, 750) };
            sound.extend(silence(random.between(pause.0, pause.1)));
        }
        sound.extend(say(speaker, sentence, speed, pitch)?);
    }
    Ok(sound)
}
