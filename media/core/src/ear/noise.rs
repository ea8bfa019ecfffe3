//! Comfort noise: what fills the pauses of a peer that sends nothing in them.

/// The loudest noise that is made up from what was heard: -50 dBov. Louder backgrounds are rare, and a voice mistaken for
/// background would roar.
const LOUDEST: f32 = 104.0;

/// What the level may rise by for each packet time that is louder than it, 2 dB in a second of 20 ms.
const RISE: f32 = 1.005;

/// Reflection coefficients that are used of a description (RFC 3389, 3.2 leaves their number open); more say little of noise.
const MAX_ORDER: usize = 10;

/// Noise at the level, and in the colour, of the peer's background.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    /// Root mean square of the quietest that was heard lately; silence before anything was.
    heard: Option<f32>,
    /// What the peer said of it.
    told: Option<f32>,
    reflections: [f32; MAX_ORDER],
    delays: [f32; MAX_ORDER],
    random: u32,
}

impl Noise {
    pub(super) fn new() -> Self {
        Self {
            heard: None,
            told: None,
            reflections: [0.0; MAX_ORDER],
            delays: [0.0; MAX_ORDER],
            // Any but zero: nobody hears which noise it is.
            random: 0x9E37_79B9,
        }
    }

    /// Learns the background from sound that came as sound.
    pub(super) fn learn(&mut self, sound: &[i16]) {
        if sound.is_empty() {
            return;
        }
        let energy: f32 = sound.iter().map(|sample| f32::from(*sample).powi(2)).sum();
        let rms = (energy / sound.len() as f32).sqrt();
        let heard = match self.heard {
            None => rms,
            Some(heard) if rms < heard => (heard + rms) / 2.0,
            Some(heard) => (heard * RISE).max(0.5),
        };
        self.heard = Some(heard.min(LOUDEST));
        self.told = None;
    }

    /// The level of the background, root mean square.
    pub(super) fn level(&self) -> f32 {
        self.told.or(self.heard).unwrap_or_default()
    }

    /// Takes the payload of a comfort noise packet.
    pub(super) fn describe(&mut self, payload: &[u8]) {
        let Some((level, spectrum)) = payload.split_first() else { return };
        // RFC 3389, 3.1: "The magnitude of the noise level is packed into the least significant bits of the noise-level byte
        // with the most significant bit unused and always set to 0", in -dBov.
        let level = f32::from(level & 0x7F);
        self.told = Some((32_768.0 * 10.0_f32.powf(-level / 20.0)).min(LOUDEST * 4.0));
        self.reflections = [0.0; MAX_ORDER];
        for (reflection, octet) in self.reflections.iter_mut().zip(spectrum) {
            // 3.2: "k_i = 258*(N_i-127)/32768". Held below one, where the filter is stable.
            *reflection = (258.0 * (f32::from(*octet) - 127.0) / 32_768.0).clamp(-0.95, 0.95);
        }
    }

    /// The next sample.
    pub(super) fn next(&mut self) -> f32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        // Uniform, so its root mean square is 1 / sqrt(3) of its peak.
        let white = (self.random >> 8) as f32 / (1 << 23) as f32 - 1.0;
        // The all-pole lattice; what it adds to the energy is taken off before it.
        let gain = self.reflections.iter().map(|k| 1.0 - k * k).product::<f32>().sqrt();
        let mut forward = white * gain;
        for at in (0..MAX_ORDER).rev() {
            forward -= self.reflections[at] * self.delays[at];
            if at + 1 < MAX_ORDER {
                self.delays[at + 1] = self.delays[at] + self.reflections[at] * forward;
            }
        }
        self.delays[0] = forward;
        // What rings on from another description is held back.
        forward.clamp(-4.0, 4.0) * self.level() * 1.732
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(noise: &mut Noise, out: &mut [i16]) {
        out.iter_mut().for_each(|sample| *sample = noise.next() as i16);
    }

    fn rms(sound: &[i16]) -> f32 {
        (sound.iter().map(|sample| f32::from(*sample).powi(2)).sum::<f32>() / sound.len() as f32).sqrt()
    }

    #[test]
    fn the_noise_has_the_level_of_the_pauses() {
        let mut noise = Noise::new();
        let mut sound = [0_i16; 160];
        for n in 0..500 {
            let level = if n % 50 < 30 { 4_000 } else { 20 };
            sound
                .iter_mut()
                .enumerate()
                .for_each(|(n, sample)| *sample = if n % 2 == 0 { level } else { -level });
            noise.learn(&sound);
        }
        let mut out = [0; 8_000];
        fill(&mut noise, &mut out);
        assert!((15.0..30.0).contains(&rms(&out)), "{}", rms(&out));
    }

    #[test]
    fn the_noise_is_as_described() {
        let mut noise = Noise::new();
        let mut out = [0; 8_000];
        let wanted = 32_768.0 / 1_000.0;
        for spectrum in [&[][..], &[200, 60], &[90, 150, 127, 140]] {
            noise.describe(&[&[60][..], spectrum].concat());
            fill(&mut noise, &mut out);
            assert!((wanted * 0.7..wanted * 1.4).contains(&rms(&out)), "{spectrum:?}: {}", rms(&out));
        }
        for spectrum in [[0; 12], [255; 12]] {
            noise.describe(&[&[60][..], &spectrum].concat());
            fill(&mut noise, &mut out);
            assert!(rms(&out) < wanted * 10.0, "the filter is stable: {}", rms(&out));
        }
        noise.describe(&[60]);
        fill(&mut noise, &mut out);
        noise.describe(&[127]);
        fill(&mut noise, &mut out);
        assert_eq!(rms(&out), 0.0, "nothing is nothing");
        noise.describe(&[]);
    }
}
