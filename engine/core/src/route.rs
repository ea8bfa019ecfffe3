//! Where inbound calls go.

use std::net::IpAddr;

use crate::config::Route;
use crate::number;

/// What the rules say about one inbound call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict<'a> {
    Take(&'a Route),
    /// Known source, but nobody at that number here: 404.
    NotFound,
    /// No rule is meant for this source: 403.
    Forbidden,
}

/// The first rule whose criteria all hold. `endpoint` is who calls, if an endpoint does; `from_trunk` tells whether the call
/// comes from an address of that trunk.
pub(crate) fn route<'a>(
    routes: &'a [Route],
    source: IpAddr,
    endpoint: Option<&str>,
    called: &str,
    from_trunk: impl Fn(&str) -> bool,
) -> Verdict<'a> {
    let called = called.strip_prefix('+').unwrap_or(called);
    let mut known = false;
    for route in routes {
        let matches = &route.matches;
        let is_of = |wanted: &str| endpoint.is_some_and(|name| wanted == "*" || wanted == name);
        if matches.source.is_some_and(|network| !network.contains(source))
            || matches.endpoint.as_deref().is_some_and(|wanted| !is_of(wanted))
            || matches.trunk.as_deref().is_some_and(|trunk| !from_trunk(trunk))
        {
            continue;
        }
        known = true;
        if matches.called.as_deref().is_none_or(|pattern| number::matches(pattern, called)) {
            return Verdict::Take(route);
        }
    }
    if known { Verdict::NotFound } else { Verdict::Forbidden }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RouteAction, RouteMatch};

    #[test]
    fn first_match_wins_and_strangers_are_told_from_wrong_numbers() {
        let rule = |trunk: Option<&str>, source: Option<&str>, called: Option<&str>, action| Route {
            matches: RouteMatch {
                trunk: trunk.map(Into::into),
                source: source.map(|network| network.parse().unwrap()),
                endpoint: None,
                called: called.map(Into::into),
            },
            action,
        };
        let routes = [
            rule(Some("jkt"), None, Some("100"), RouteAction::Flow("menu".into())),
            rule(None, Some("10.0.0.0/8"), Some("2*"), RouteAction::Park),
            rule(None, Some("10.0.0.0/8"), Some("+29"), RouteAction::Reject(486)),
        ];
        let check = |source: &str, called: &str, trunk: &str| {
            route(&routes, source.parse().unwrap(), None, called, |name| name == trunk)
        };
        assert_eq!(check("1.1.1.1", "100", "jkt"), Verdict::Take(&routes[0]));
        assert_eq!(check("1.1.1.1", "101", "jkt"), Verdict::NotFound);
        assert_eq!(check("10.1.1.1", "+29", ""), Verdict::Take(&routes[1]));
        assert_eq!(check("10.1.1.1", "100", ""), Verdict::NotFound);
        assert_eq!(check("1.1.1.1", "29", ""), Verdict::Forbidden);
        assert_eq!(route(&[], "::1".parse().unwrap(), None, "1", |_| true), Verdict::Forbidden);
    }

    #[test]
    fn endpoints_are_matched_by_name_or_all_at_once() {
        let rule = |endpoint: Option<&str>, called: &str| Route {
            matches: RouteMatch {
                endpoint: endpoint.map(Into::into),
                called: Some(called.into()),
                ..RouteMatch::default()
            },
            action: RouteAction::Park,
        };
        let routes = [rule(Some("alice"), "1"), rule(Some("*"), "2"), rule(None, "3")];
        let check = |endpoint, called| route(&routes, "::1".parse().unwrap(), endpoint, called, |_| false);
        assert_eq!(check(Some("alice"), "1"), Verdict::Take(&routes[0]));
        assert_eq!(check(Some("bob"), "1"), Verdict::NotFound);
        assert_eq!(check(Some("bob"), "2"), Verdict::Take(&routes[1]));
        assert_eq!(check(Some("bob"), "3"), Verdict::Take(&routes[2]));
        assert_eq!(check(None, "3"), Verdict::Take(&routes[2]));
        assert_eq!(check(None, "2"), Verdict::NotFound);
    }
}
