//! What the corpus consists of: recipes, from which the sound is made anew each time.

use media_core::classify::{Evidence, Sit};

use crate::material::{Engine, Manner, Material, Noise, Speaker, Text};
use crate::random::Random;
use crate::sound::{Background, Delivery, add_background, at_level, music, say, silence, tone, transmit};
use crate::{development, held_out, once_held_out};

/// The part of the corpus that parameters are chosen on, and the one that they are judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// For choosing.
    Development,
    /// For judging; nobody looks at its single items to choose anything.
    HeldOut,
}

impl Part {
    pub(crate) fn materials(self) -> &'static [Material] {
        match self {
            Self::Development => &[development::MATERIAL, once_held_out::MATERIAL],
            Self::HeldOut => &[held_out::MATERIAL],
        }
    }
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person says a word or two and waits.
    Hello,
    /// A person says a sentence and waits.
    Sentence,
    /// A person begins, stops, begins again and waits.
    Hesitant,
    /// A person greets for a company and waits.
    Company,
    /// A machine's greeting, most with a beep.
    Machine,
    /// A fax, calling or answering.
    Fax,
    /// Special information tones and an announcement.
    Sit,
    /// Busy, congestion.
    Busy,
    /// Ringback and no answer.
    Ringback,
    /// Nothing but noise.
    Silence,
}

impl Kind {
    /// All of them, with how many items of each a part has, and how often they are among answered calls, in thousandths.
    /// Busy tones, ringback and silence are no answers.
    pub(crate) const ALL: [(Self, u32, u32); 10] = [
        (Self::Hello, 300, 370),
        (Self::Sentence, 150, 70),
        (Self::Hesitant, 100, 30),
        (Self::Company, 100, 30),
        (Self::Machine, 400, 480),
        (Self::Fax, 30, 20),
        (Self::Sit, 30, 0),
        (Self::Busy, 50, 0),
        (Self::Ringback, 50, 0),
        (Self::Silence, 20, 0),
    ];

    fn manner(self) -> Option<Manner> {
        match self {
            Self::Hello => Some(Manner::Hello),
            Self::Sentence => Some(Manner::Sentence),
            Self::Hesitant => Some(Manner::Hesitant),
            Self::Company => Some(Manner::Company),
            Self::Machine => Some(Manner::Recording),
            Self::Fax | Self::Sit | Self::Busy | Self::Ringback | Self::Silence => None,
        }
    }
}

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// Tells all of it; the random choices hang on it.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    material: &'static Material,
    voice: Option<(Speaker, Text)>,
}

/// What was made.
#[derive(Debug)]
pub struct Item {
    /// [`Recipe::name`].
    pub name: String,
    /// [`Recipe::kind`].
    pub kind: Kind,
    /// Whose voice is in it.
    pub person: Option<&'static str>,
    /// 8 kHz, from the answer on.
    pub pcm: Vec<i16>,
    /// When the beep that follows the greeting ends, in ms.
    pub beep_ms: Option<u32>,
    /// Whether ringback, busy or congestion is in it.
    pub call_progress: bool,
    /// What must be found of it when it comes before the answer.
    pub early: Option<Evidence>,
}

/// All of `part`, in a fixed order: of each kind so many, the speakers by turns.
pub fn recipes(part: Part) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    let kinds = |material| Kind::ALL.map(|(kind, count, _)| (material, kind, count));
    for (material, kind, count) in part.materials().iter().flat_map(kinds) {
        let voices = kind.manner().map(|manner| (manner, material.speakers_of(manner)));
        for n in 0..count {
            let name = format!("{}, {kind:?} {n}", material.seed);
            let voice = voices.as_ref().map(|(manner, speakers)| {
                let speaker = speakers[n as usize % speakers.len()];
                let texts: Vec<Text> = material.texts_of(speaker, *manner).collect();
                (speaker, *Random::of(&format!("{name}, text")).pick(&texts))
            });
            recipes.push(Recipe { name, kind, material, voice });
        }
    }
    recipes
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
            name: match self.voice {
                Some((speaker, text)) => format!("{}: {} {:?}", self.name, speaker.name, text.words),
                None => self.name.clone(),
            },
            kind: self.kind,
            person: self.voice.map(|(speaker, _)| speaker.person()),
            pcm: Vec::new(),
            beep_ms: None,
            call_progress: false,
            early: None,
        };
        let level = random.decibels(-30, -8);
        let tone_level = random.decibels(-26, -8);
        let mut sound = Vec::new();
        match (self.kind, self.voice) {
            (Kind::Machine, Some((speaker, text))) => {
                self.ring(&mut item, &mut sound, tone_level, random);
                self.machine(&mut item, &mut sound, (speaker, text), (level, tone_level), random)?;
            }
            (Kind::Hello | Kind::Sentence | Kind::Hesitant | Kind::Company, Some((speaker, text))) => {
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
                    let tones = [1100.0 + random.decibels(-30, 30)];
                    sound.extend(cadence(&tones, &[random.between(450, 550), 3000], 3, tone_level));
                } else {
                    let tones = [2100.0 + random.decibels(-14, 14)];
                    sound.extend(tone(random.between(2600, 4000), &tones, tone_level));
                    sound.extend(silence(2000));
                }
                item.early = Some(if calling { Evidence::Cng } else { Evidence::Ced });
            }
            (Kind::Sit, _) => {
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
                sound.extend(at_level(self.recording(random)?, level));
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
            (
                Kind::Silence | Kind::Hello | Kind::Sentence | Kind::Hesitant | Kind::Company | Kind::Machine,
                _,
            ) => sound.extend(silence(8000)),
        }
        self.line(&mut item, sound, level.min(tone_level), random)?;
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

    /// A greeting, one in fifteen after music on hold, and then a beep, a busy tone or nothing.
    fn machine(
        &self,
        item: &mut Item,
        sound: &mut Vec<f32>,
        (speaker, text): (Speaker, Text),
        (level, tone_level): (f32, f32),
        random: &mut Random,
    ) -> anyhow::Result<()> {
        sound.extend(silence(random.between(150, 1300)));
        if random.one_in(15) {
            let hold = music(*random.pick(self.material.music))?;
            let length = random.between(2000, 8000) as usize * 8;
            let start = random.between(0, (hold.len() - length) as u32) as usize;
            sound.extend(at_level(hold[start..start + length].to_vec(), level));
            sound.extend(silence(random.between(0, 500)));
        }
        sound.extend(at_level(greeting(speaker, text, random)?, level));
        match random.between(1, 10) {
            // A full mailbox hangs up.
            1 => {
                let (tones, times, _) = random.pick(&BUSIES);
                sound.extend(silence(random.between(200, 900)));
                sound.extend(cadence(tones, times, 6, tone_level));
                item.call_progress = true;
            }
            // An announcement that takes no message.
            2 => {}
            _ => {
                sound.extend(silence(random.between(150, 1500)));
                // One in ten at a frequency that ringback has, too.
                let hz = if random.one_in(10) {
                    *random.pick(&[400.0, 425.0, 440.0, 480.0])
                } else {
                    random.between(520, 2150) as f32
                };
                let two = [hz, hz * 1.5];
                let tones =
                    if random.one_in(5) && (520.0..1430.0).contains(&hz) { &two[..] } else { &two[..1] };
                sound.extend(tone(random.between(120, 1500), tones, tone_level));
                item.beep_ms = Some(sound.len() as u32 / 8);
            }
        }
        sound.extend(silence(4000));
        Ok(())
    }

    /// Any recorded prompt, or any greeting of a machine where there is none.
    fn recording(&self, random: &mut Random) -> anyhow::Result<Vec<f32>> {
        let material = self.material;
        let readers = material.speakers_of(Manner::Recording);
        let (recorded, made): (Vec<Speaker>, Vec<Speaker>) =
            readers.into_iter().partition(|speaker| speaker.engine == Engine::Recorded);
        let reader = *random.pick(if recorded.is_empty() { &made } else { &recorded });
        let texts: Vec<Text> = material.texts_of(reader, Manner::Recording).collect();
        greeting(reader, *random.pick(&texts), random)
    }

    /// What the line adds and takes.
    fn line(
        &self,
        item: &mut Item,
        mut sound: Vec<f32>,
        level: f32,
        random: &mut Random,
    ) -> anyhow::Result<()> {
        // Rooms are behind people and machines; behind tones of the network there is none.
        let kinds = if self.voice.is_some() { 9 } else { 7 };
        let background = match random.between(0, kinds) {
            0..=2 => Background::None,
            3..=4 => Background::Steady(self.material.noises[0]),
            5..=7 => Background::Steady(self.material.noises[1]),
            8 => {
                let others = [self.recording(random)?, self.recording(random)?, self.recording(random)?];
                let longest = others.iter().map(Vec::len).max().unwrap_or(0);
                let all = (0..longest).map(|n| others.iter().map(|other| other[n % other.len()]).sum());
                Background::Sound(all.collect())
            }
            _ => Background::Sound(music(*random.pick(self.material.music))?),
        };
        // Voices and music behind a voice are a nuisance when they are 16 dB below.
        let below = match background {
            Background::Sound(_) => random.decibels(16, 36),
            Background::None | Background::Steady(_) => random.decibels(12, 45),
        };
        let comfort = random.one_in(4).then(|| random.decibels(-65, -50));
        add_background(&mut sound, &background, level - below, comfort, random);
        // One in eight: the way for the sound is not open at once, the first of it is lost.
        let late =
            if self.voice.is_some() && random.one_in(8) { random.between(60, 400) as usize * 8 } else { 0 };
        sound.iter_mut().take(late).for_each(|sample| *sample = 0.0);
        // The answer comes by one way, the sound by another.
        let delay = random.between(0, 200);
        sound.splice(0..0, silence(delay));
        item.beep_ms = item.beep_ms.map(|ms| ms + delay);
        let loss = *random.pick(&[0, 0, 0, 1, 3]);
        let codec = *random.pick(self.material.codecs);
        let what = match background {
            Background::None => "no noise",
            Background::Steady(Noise::White) => "white noise",
            Background::Steady(Noise::Pink) => "pink noise",
            Background::Steady(Noise::Brown) => "a car",
            Background::Steady(Noise::Fan) => "a fan",
            Background::Sound(_) => "voices or music",
        };
        item.name +=
            &format!(", at {level:.0} dB with {what} {below:.0} dB below, comfort noise at {comfort:.0?} dB");
        item.name += &format!(", {late} samples lost at first, {codec:?}, {loss} % loss");
        item.pcm = transmit(&sound, codec, loss, random)?;
        Ok(())
    }
}

/// The sentences of `text` with pauses between them.
fn greeting(speaker: Speaker, text: Text, random: &mut Random) -> anyhow::Result<Vec<f32>> {
    // People who answer speak faster than people who record a greeting, who may sing it or read it off.
    let (slowest, fastest, ranges) = match text.manner {
        Manner::Recording => (125, 190, &[100, 100, 100, 0, 180, 250][..]),
        Manner::Hello | Manner::Sentence | Manner::Hesitant | Manner::Company => {
            (150, 220, &[60, 100, 100, 150][..])
        }
    };
    let delivery = Delivery {
        speed: random.between(slowest, fastest),
        pitch: random.between(25, 75),
        range: *random.pick(ranges),
    };
    let mut sound = Vec::new();
    for (n, sentence) in text.words.split('|').enumerate() {
        if n > 0 {
            let pause = match (text.manner, speaker.engine) {
                (Manner::Hesitant, _) => (250, 1200),
                (_, Engine::Recorded) => (60, 350),
                (_, Engine::Espeak | Engine::Flite | Engine::Festival) => (200, 800),
            };
            sound.extend(silence(random.between(pause.0, pause.1)));
        }
        sound.extend(say(speaker, sentence, delivery)?);
    }
    Ok(sound)
}
