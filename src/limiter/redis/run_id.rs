//! Which server process answers.

/// The name that a server process gives itself when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunId(Box<str>);

/// Whether the same server process answers as before. Another one may have lost what the one before knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerRun {
    /// It has lost nothing.
    Same,
    /// Redis was restarted, or another server has taken its place.
    Other,
    /// There is none to compare with, or Redis does not say: the user may not use `INFO`.
    Unknown,
}

impl RunId {
    /// The id in the answer to `INFO server`.
    pub(super) fn in_info(info: &str) -> Option<Self> {
        let id = info.lines().find_map(|line| line.strip_prefix("run_id:"))?;
        let id = id.trim();
        (!id.is_empty()).then(|| Self(id.into()))
    }
}

impl ServerRun {
    /// What is to be said of several servers.
    pub(super) fn together(runs: &[Self]) -> Self {
        if runs.contains(&Self::Other) {
            Self::Other
        } else if runs.contains(&Self::Unknown) {
            Self::Unknown
        } else {
            Self::Same
        }
    }

    /// `now` answers, and `before` has answered before.
    pub(super) fn compare(before: Option<&RunId>, now: Option<&RunId>) -> Self {
        match (before, now) {
            (Some(before), Some(now)) if before == now => Self::Same,
            (Some(_), Some(_)) => Self::Other,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_found_among_other_things() {
        let info = "# Server\r\nredis_version:7.0.15\r\nrun_id:0123abcd\r\ntcp_port:6379\r\n";
        assert_eq!(RunId::in_info(info), Some(RunId("0123abcd".into())));
        for other in ["", "# Server\r\n", "run_id:\r\n", "a_run_id:1\r\n"] {
            assert_eq!(RunId::in_info(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_two_that_are_known_can_differ() {
        let [one, other] = ["1", "2"].map(|id| RunId(id.into()));
        for (before, now, expected) in [
            (Some(&one), Some(&one), ServerRun::Same),
            (Some(&one), Some(&other), ServerRun::Other),
            (None, Some(&one), ServerRun::Unknown),
            (Some(&one), None, ServerRun::Unknown),
            (None, None, ServerRun::Unknown),
        ] {
            assert_eq!(ServerRun::compare(before, now), expected);
        }
    }
}
