//! Programs whose sounds are not there yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine_core::{MediaInput, Playlist};
use media_core::{CollectEnd, Digits, LegId, MediaEvent, PlayEnd, Program, Prompt};

use super::cache::Key;

/// Something to be done, in order.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Tell the leg to run this.
    Run(Program),
    /// Tell the engine.
    Tell(MediaInput),
}

/// What runs on a leg whose program waits: nothing, so that what ran before ends.
const NOTHING: Program = Program { play: None, collect: None };

/// One program that waits.
#[derive(Debug)]
struct Waiting {
    program: Program<Playlist>,
    there: BTreeMap<Key, Arc<Prompt>>,
    missing: BTreeSet<Key>,
}

/// The programs that wait, at most one a leg.
#[derive(Debug, Default)]
pub(super) struct Room(BTreeMap<LegId, Waiting>);

/// The sounds of a playlist.
pub(super) fn keys(playlist: &Playlist) -> impl Iterator<Item = Key> {
    let volume_db = playlist.volume_db;
    playlist.sounds.iter().map(move |audio| Key { audio: audio.clone(), volume_db })
}

impl Room {
    /// A program has come; `there` and `missing` are all of its sounds. It runs, or waits in silence.
    pub(super) fn enter(
        &mut self,
        leg: LegId,
        program: Program<Playlist>,
        there: BTreeMap<Key, Arc<Prompt>>,
        missing: BTreeSet<Key>,
    ) -> Step {
        let waiting = Waiting { program, there, missing };
        if waiting.missing.is_empty() {
            return waiting.run();
        }
        self.0.insert(leg, waiting);
        Step::Run(NOTHING)
    }

    /// A sound has come, or will not.
    pub(super) fn came(
        &mut self,
        leg: LegId,
        key: &Key,
        sound: Result<&Arc<Prompt>, &Arc<str>>,
    ) -> Option<Step> {
        let waiting = self.0.get_mut(&leg)?;
        if !waiting.missing.remove(key) {
            return None;
        }
        match sound {
            Ok(prompt) => {
                waiting.there.insert(key.clone(), Arc::clone(prompt));
                if !waiting.missing.is_empty() {
                    return None;
                }
                self.0.remove(&leg).map(Waiting::run)
            }
            Err(why) => {
                let waiting = self.0.remove(&leg)?;
                unplayable(&waiting.program, why)
            }
        }
    }

    /// What waits ends: another program takes its place, or the leg goes.
    pub(super) fn leave(&mut self, leg: LegId, play: PlayEnd, collect: CollectEnd) -> Vec<Step> {
        let Some(Waiting { program, .. }) = self.0.remove(&leg) else { return Vec::new() };
        let play = program.play.map(|program| ended(program.id, play));
        let collect = program.collect.map(|program| MediaEvent::CollectEnded {
            id: program.id,
            digits: Digits::default(),
            reason: collect,
        });
        play.into_iter().chain(collect).map(|event| Step::Tell(MediaInput::Event(event))).collect()
    }

    /// What waits to play is stopped; what collects beside it goes on as if it had played. `None`: nothing waits.
    pub(super) fn stop(&mut self, leg: LegId) -> Option<Vec<Step>> {
        let Waiting { program, .. } = self.0.remove(&leg)?;
        let stopped =
            program.play.map(|play| Step::Tell(MediaInput::Event(ended(play.id, PlayEnd::Stopped))));
        let collects =
            program.collect.map(|collect| Step::Run(Program { play: None, collect: Some(collect) }));
        Some(stopped.into_iter().chain(collects).collect())
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Tells that what `program` plays is not to be had.
pub(super) fn unplayable(program: &Program<Playlist>, why: &Arc<str>) -> Option<Step> {
    let play = program.play.as_ref()?.id;
    Some(Step::Tell(MediaInput::Unplayable { play, why: Arc::clone(why) }))
}

fn ended(id: u64, reason: PlayEnd) -> MediaEvent {
    MediaEvent::PlayEnded { id, reason, played_ms: 0 }
}

impl Waiting {
    fn run(self) -> Step {
        let there = self.there;
        let resolved = self.program.try_map(|playlist| {
            // Sound: it is run when nothing is missing.
            keys(&playlist)
                .map(|key| there.get(&key).cloned())
                .collect::<Option<media_core::Playlist>>()
                .ok_or(())
        });
        Step::Run(resolved.unwrap_or(NOTHING))
    }
}

#[cfg(test)]
mod tests {
    use engine_core::Audio;
    use media_core::{Codec, Collect, Play};

    use super::*;

    const LEG: LegId = LegId(7);

    fn program(urls: &[&str], collects: bool) -> Program<Playlist> {
        let sounds = urls.iter().map(|url| Audio::Url((*url).into())).collect();
        let playlist = Playlist { sounds, volume_db: 0 };
        let collect = Collect {
            id: 1,
            min: 1,
            max: 1,
            terminators: Default::default(),
            timeout_ms: 5_000,
            inter_digit_ms: 2_000,
        };
        Program {
            play: Some(Play { id: 1, playlist, plays: 1, offset_ms: 0, barge_in: true }),
            collect: collects.then_some(collect),
        }
    }

    fn prompt(octet: u8) -> Arc<Prompt> {
        Arc::new(Prompt::new(Codec::Pcma, vec![octet; 8]))
    }

    fn enter(room: &mut Room, urls: &[&str], collects: bool) -> Step {
        let program = program(urls, collects);
        let missing = keys(&program.play.as_ref().unwrap().playlist).collect();
        room.enter(LEG, program, BTreeMap::new(), missing)
    }

    fn url(url: &str) -> Key {
        Key { audio: Audio::Url(url.into()), volume_db: 0 }
    }

    #[test]
    fn a_program_runs_when_its_last_sound_is_there_in_its_order() {
        let mut room = Room::default();
        assert_eq!(
            enter(&mut room, &["a", "b", "a"], true),
            Step::Run(NOTHING),
            "what ran before ends at once"
        );
        let (a, b) = (prompt(1), prompt(2));
        assert_eq!(room.came(LEG, &url("b"), Ok(&b)), None);
        assert_eq!(room.came(LegId(8), &url("a"), Ok(&a)), None, "another leg");
        let Some(Step::Run(run)) = room.came(LEG, &url("a"), Ok(&a)) else { panic!("it runs") };
        let expected: media_core::Playlist = [a.clone(), b.clone(), a.clone()].into_iter().collect();
        assert_eq!((run.play.unwrap().playlist, run.collect.is_some()), (expected, true));
        assert_eq!((room.came(LEG, &url("a"), Ok(&a)), room.len()), (None, 0));
    }

    #[test]
    fn a_sound_that_is_not_to_be_had_ends_the_play() {
        let mut room = Room::default();
        enter(&mut room, &["a", "b"], false);
        let why: Arc<str> = "HTTP status 404".into();
        let told = room.came(LEG, &url("b"), Err(&why));
        assert_eq!(told, Some(Step::Tell(MediaInput::Unplayable { play: 1, why })));
        assert_eq!(room.came(LEG, &url("a"), Ok(&prompt(1))), None);
    }

    #[test]
    fn stopping_replacing_and_hanging_up_tell_every_end() {
        let play_ended = |reason| Step::Tell(MediaInput::Event(ended(1, reason)));
        let gathered = |reason| {
            let digits = Digits::default();
            Step::Tell(MediaInput::Event(MediaEvent::CollectEnded { id: 1, digits, reason }))
        };
        let mut room = Room::default();
        enter(&mut room, &["a"], true);
        assert_eq!(
            room.leave(LEG, PlayEnd::Hangup, CollectEnd::Hangup),
            [play_ended(PlayEnd::Hangup), gathered(CollectEnd::Hangup)]
        );
        assert_eq!(room.leave(LEG, PlayEnd::Hangup, CollectEnd::Hangup), []);
        assert_eq!(room.stop(LEG), None);
        enter(&mut room, &["a"], false);
        assert_eq!(room.stop(LEG), Some(vec![play_ended(PlayEnd::Stopped)]));
        enter(&mut room, &["a"], true);
        let collects = program(&[], true).collect;
        assert_eq!(
            room.stop(LEG),
            Some(vec![play_ended(PlayEnd::Stopped), Step::Run(Program { play: None, collect: collects })])
        );
        assert_eq!(room.len(), 0);
    }
}
