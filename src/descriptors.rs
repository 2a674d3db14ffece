//! How many files and sockets this process may have open.

use std::io;

use tracing::warn;

/// Raises the limit of open files so that `wanted` clients can be connected beside `own` other files and sockets.
/// Returns how many clients the limit then has room for, at most `wanted`. If the limit cannot be read or raised,
/// returns `wanted`.
pub fn connections(wanted: usize, own: usize) -> usize {
    let limit = match allow((wanted + own) as u64) {
        Ok(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            return wanted;
        }
    };
    let possible = limit.saturating_sub(own).max(1);
    if possible < wanted {
        warn!(
            limit,
            connections = possible,
            "the limit of open files is too low for http.max_connections"
        );
    }
    wanted.min(possible)
}

/// Raises the limit to `wanted`, or as far as that goes without privileges, and returns the limit that holds then. The
/// limit is never lowered.
///
/// # Errors
/// If the kernel, or a sandbox, does not allow it.
fn allow(wanted: u64) -> io::Result<u64> {
    let mut limit = uapi::getrlimit(uapi::c::RLIMIT_NOFILE as _)?;
    if limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        uapi::setrlimit(uapi::c::RLIMIT_NOFILE as _, &limit)?;
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::allow;

    #[test]
    fn the_limit_is_raised_as_far_as_it_goes() {
        let before = allow(0).expect("the limit");
        assert_eq!(allow(before).expect("the limit"), before);
        let most = allow(u64::MAX).expect("the limit");
        assert!(most >= before);
        assert_eq!(allow(10).expect("the limit"), most, "it is never lowered");
    }
}
