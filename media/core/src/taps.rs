//! What listens to a leg.

/// Whoever wants the sound of a leg's peer. Each is optional, made by the owner of the leg, and hears every packet time once
/// and in order: decoded, with the gaps concealed.
#[derive(Debug, Default)]
pub(crate) struct Taps {}

impl Taps {
    /// Hands on the next sound, at `rate`.
    pub(crate) fn hear(&mut self, rate: u32, sound: &[i16]) {
        // One line for each tap, in the order of its member.
        let (Self {}, _, _) = (self, rate, sound);
    }
}
