//! What a flow needs from the engine before it may run. Its shape is checked where it is read.

use control_api_types::flow::{Flow, Verb};
use control_api_types::{Faults, Sound, Variable};

use serde_json::Value;

use crate::prompt::Prompts;
use crate::queue::Queues;
use crate::variables::{self, escape};

/// Notes every prompt that is not there and every brace without meaning, with its pointer below `pointer`.
pub(crate) fn check_sounds<'a>(
    sounds: impl Iterator<Item = (String, &'a Sound)>,
    pointer: &str,
    prompts: &Prompts,
    faults: &mut Faults,
) {
    for (at, sound) in sounds {
        let at = format!("{pointer}{at}");
        let (member, text) = match sound {
            Sound::Say { say } => {
                prompts.check_say(say, &format!("{at}/say"), faults);
                continue;
            }
            Sound::Prompt { prompt } => ("prompt", prompt.as_str()),
            Sound::Url { url } => ("url", url.as_str()),
            Sound::Tone { .. } => ("tone", ""),
        };
        if variables::is_literal(text) {
            prompts.check(sound, &at, faults);
        } else if let Err(bad) = variables::check(text) {
            faults.push(format!("{at}/{member}"), bad);
        }
    }
}

/// Notes what is not there of all that a flow uses, and every brace without meaning.
pub(crate) fn check(flow: &Flow, pointer: &str, prompts: &Prompts, queues: &Queues, faults: &mut Faults) {
    check_sounds(flow.sounds(), pointer, prompts, faults);
    for (name, step) in &flow.steps {
        let at = format!("{pointer}/steps/{}", escape(name));
        match &step.verb {
            Verb::Set { variables } => {
                for (name, value) in variables {
                    if let Variable::Text(text) = value
                        && let Err(bad) = variables::check(text)
                    {
                        faults.push(format!("{at}/variables/{name}"), bad);
                    }
                }
            }
            Verb::Notify { data } => check_strings(data, &format!("{at}/data"), faults),
            Verb::Bridge { call_id, bridge_id } => {
                for (member, text) in [("call_id", call_id), ("bridge_id", bridge_id)] {
                    if let Some(Err(bad)) = text.as_deref().map(variables::check) {
                        faults.push(format!("{at}/{member}"), bad);
                    }
                }
            }
            Verb::Dial(dial) => {
                let of_target = |n: usize| match dial.to.len() {
                    1 => format!("{at}/to"),
                    _ => format!("{at}/to/{n}"),
                };
                let targets = dial.to.iter().enumerate().flat_map(|(n, target)| {
                    [Some(&target.to), target.trunk.as_ref()].map(|text| (of_target(n), text))
                });
                let others = [("trunk", &dial.trunk), ("from", &dial.from)];
                let others = others.map(|(member, text)| (format!("{at}/{member}"), text.as_ref()));
                for (at, text) in targets.chain(others) {
                    if let Some(Err(bad)) = text.map(|text| variables::check(text)) {
                        faults.push(at, bad);
                    }
                }
            }
            Verb::Transfer { to } => {
                if let Err(bad) = variables::check(to) {
                    faults.push(format!("{at}/to"), bad);
                }
            }
            Verb::Webhook(webhook) => {
                if let Err(bad) = variables::check(&webhook.url) {
                    faults.push(format!("{at}/url"), bad);
                }
            }
            Verb::Enqueue { queue, data } => {
                if variables::is_literal(queue) {
                    if !queues.has(queue) {
                        faults.push(
                            format!("{at}/queue"),
                            format_args!("there is no queue {queue:?}: put it first"),
                        );
                    }
                } else if let Err(bad) = variables::check(queue) {
                    faults.push(format!("{at}/queue"), bad);
                }
                let data = data.iter();
                data.for_each(|data| check_strings(data, &format!("{at}/data"), faults));
            }
            Verb::Dtmf(dtmf) => {
                if let Err(bad) = variables::check(&dtmf.digits) {
                    faults.push(format!("{at}/digits"), bad);
                }
            }
            Verb::Play(_) | Verb::Gather(_) | Verb::Pause { .. } | Verb::Park { .. } => {}
            Verb::Record(_) | Verb::Branch { .. } | Verb::Hangup { .. } => {}
            Verb::Say(say) => prompts.check_say(say, &at, faults),
            Verb::Amd { .. } => {}
        }
    }
}

fn check_strings(data: &Value, at: &str, faults: &mut Faults) {
    variables::strings(data, at, &mut |at, text| {
        if let Err(bad) = variables::check(text) {
            faults.push(at, bad);
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_missing_prompt_and_bad_brace_is_told() {
        let flow = Flow::from_json(&json!({"start": "a", "steps": {
            "a": {"verb": "play", "prompt": "missing"},
            "b": {"verb": "play", "prompt": "hello-{lang}"},
            "c": {"verb": "gather", "max": 1, "play": {"prompt": "gone"}},
            "d": {"verb": "park", "play": {"prompt": "{oops"}},
            "e": {"verb": "set", "variables": {"x": "{", "y": "{x}"}},
            "h": {"verb": "dtmf", "digits": "{no no}"},
            "i": {"verb": "dial", "to": ["{a b}", {"to": "sip:x", "trunk": "{"}, "{ok}"], "from": "{c d}"},
            "j": {"verb": "transfer", "to": "sip:{"},
            "l": {"verb": "enqueue", "queue": "sales", "data": "{no no}"},
            "m": {"verb": "enqueue", "queue": "{sales}"},
            "n": {"verb": "enqueue", "queue": "{no no}"},
            "f": {"verb": "notify", "data": {"list": ["{ok}", "{no no}"]}},
            "g": {"verb": "play", "playlist": [
                {"prompt": "gone"}, {"tone": "busy"}, {"tone": "busy", "country": "xx"}, {"url": "https://a/{b"}]},
        }}))
        .unwrap();
        let mut faults = Faults::default();
        check(&flow, "/flow", &Prompts::default(), &Queues::default(), &mut faults);
        let faults = faults.into_result(Some(())).unwrap_err();
        let at: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(
            at,
            [
                "/flow/steps/a/prompt",
                "/flow/steps/c/play/prompt",
                "/flow/steps/d/play/prompt",
                "/flow/steps/g/playlist/0/prompt",
                "/flow/steps/g/playlist/2/country",
                "/flow/steps/g/playlist/3/url",
                "/flow/steps/e/variables/x",
                "/flow/steps/f/data/list/1",
                "/flow/steps/h/digits",
                "/flow/steps/i/to/0",
                "/flow/steps/i/to/1",
                "/flow/steps/i/from",
                "/flow/steps/j/to",
                "/flow/steps/l/queue",
                "/flow/steps/l/data",
                "/flow/steps/n/queue",
            ]
        );
    }
}
